"""Pictures of any size for checkpoints that take compressed ones."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from wsseg.compression.grids import build_encoder, encode
from wsseg.compression.windows import opened
from wsseg.data.layouts import CaseFiles, ImageFile
from wsseg.data.readers import COLOURS, read_header
from wsseg.data.readers.header import PICTURE_AFFINE, Grid, Header
from wsseg.data.spec import DataSpec
from wsseg.data.volumes import CaseImages
from wsseg.models.pretrained import PretrainedEncoder
from wsseg.prediction.raw import RawCase, raw_case_of, read_raw_case
from wsseg.utils.errors import InputError


class Compressor:
    """Reads pictures as a checkpoint that was trained on grids takes them.

    Attributes:
        spec: The data specification of the checkpoint.
        device: Where pictures are encoded.
    """

    def __init__(self, spec: DataSpec, device: torch.device) -> None:
        """Take a specification; the network that encodes is made when it is needed.

        Args:
            spec: The data specification of the checkpoint.
            device: Where to encode.
        """
        self.spec = spec
        self.device = device

    @cached_property
    def encoder(self) -> PretrainedEncoder:
        """The network that encodes."""
        return build_encoder().to(self.device)

    def check(self, case: CaseFiles) -> CaseFiles:
        """Refuse a case that cannot be predicted, as its headers tell, and return it.

        Raises:
            InputError: It is no picture, or was compressed in another way.
        """
        path = case.paths[0]
        if len({image.path for image in case.images.values()}) > 1:
            raise InputError(f"{path} (case {case.id}): has several images; name one picture each")
        if self._is_compressed(case):
            return case
        with opened(path, case.id):
            return case

    def read(self, case: CaseFiles) -> RawCase:
        """Read a picture, or its grid, as slices.

        Raises:
            InputError: It cannot be used.
        """
        path, spec = case.paths[0], self.spec
        if self._is_compressed(case):
            images = {name: ImageFile(path, n) for n, name in enumerate(spec.modalities)}
            return read_raw_case(replace(case, images=images), spec)
        assert spec.cell is not None
        with opened(path, case.id) as picture:
            grid = Grid(spec.cell, *picture.size, "")
            cells = encode(picture, spec.cell, self.encoder).astype(np.float32)
        header = Header(
            (grid.size[1], grid.size[0], 1),
            PICTURE_AFFINE,
            len(cells),
            "px",
            grid.names(len(cells)),
            grid=grid,
        )
        volumes = tuple(plane.T[..., None] for plane in cells)
        colours = {name: ImageFile(path, n) for n, name in enumerate(COLOURS)}
        return raw_case_of(CaseImages(volumes, header), replace(case, images=colours), spec)

    def _is_compressed(self, case: CaseFiles) -> bool:
        """Tell whether the image of a case is a grid; refuse one of other cells."""
        path = case.paths[0]
        if path.suffix.lower() not in (".tif", ".tiff"):
            return False
        try:
            header = read_header(path, case.id)
        except InputError:  # what cannot be read as a whole may still be read in windows
            return False
        if header.grid is not None and header.names != self.spec.modalities:
            raise InputError(
                f"{path} (case {case.id}): has cells of {header.grid.cell} pixels, but the "
                f"checkpoint takes {self.spec.cell}; name the picture itself"
            )
        return header.grid is not None
