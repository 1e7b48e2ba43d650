"""MONAI transforms and inferer of an exported model: what ``wsseg predict`` does, in three steps.

The steps between are MONAI's: an image is one tensor [M + 1, H, W, S] of S slices, whose last
channel is 1 where there is body.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.inferers.inferer import Inferer
from monai.transforms.io.dictionary import SaveImaged
from monai.transforms.transform import MapTransform
from torch import Tensor

from wsseg.data.geometry import Geometry
from wsseg.data.labels import label_map
from wsseg.data.layouts import CaseFiles
from wsseg.data.readers import read_header
from wsseg.export.cases import case_of, cases_to_predict
from wsseg.export.description import CaseFinisher, read_spec
from wsseg.prediction.finishing import finish
from wsseg.prediction.output import save_mask
from wsseg.prediction.raw import RawCase, masks_on_source, read_raw_case

Data = Mapping[Hashable, Any]
CASE = "wsseg_case"  # entry of a tensor's meta data: what the way back to the image needs, as JSON


class ReadCased(MapTransform):
    """Read a case and cut it into normalised slices, as the plan of the training data says."""

    def __init__(
        self, keys: KeysCollection, model: str | Path, cases: str | Path | None = None
    ) -> None:
        """Set which model the slices are for.

        Args:
            keys: Entries that name images; see :func:`~wsseg.export.cases.case_of`.
            model: ``models/model.json`` of the exported model.
            cases: Table or folder in which the other modalities of an image are looked for.
        """
        super().__init__(keys)
        self.spec = read_spec(model)
        self.cases = cases

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return the data with a tensor [M + 1, H, W, S] in place of each image.

        Raises:
            InputError: An image cannot be used.
        """
        found = dict(data)
        for key in self.key_iterator(found):
            files = case_of(found[key], self.spec, self.cases)
            found[key] = as_tensor(read_raw_case(files, self.spec))
        return found


class SlicesInferer(Inferer):
    """Run a network over the slices of cases."""

    def __init__(self, batch_size: int = 32) -> None:
        """Set how much memory it may take.

        Args:
            batch_size: Slices per forward pass.
        """
        super().__init__()
        self.batch_size = batch_size

    def __call__(
        self, inputs: Tensor, network: Callable[[Tensor], Tensor], *_: Any, **__: Any
    ) -> Tensor:
        """Return probabilities [B, C, H, W, S] of cases [B, M + 1, H, W, S]."""
        parts = _plain(inputs).split(self.batch_size, dim=-1)
        return torch.cat([network(part) for part in parts], dim=-1)


class FinishMasksd(MapTransform):
    """Turn probabilities into a label map on the voxels of the image, with borders refined."""

    def __init__(
        self, keys: KeysCollection, finisher: CaseFinisher, image_key: str = "image"
    ) -> None:
        """Set how masks are finished.

        Args:
            keys: Entries that hold probabilities [C, H, W, S].
            finisher: What masks are finished by.
            image_key: Entry that :class:`ReadCased` has made.
        """
        super().__init__(keys)
        self.finisher = finisher
        self.image_key = image_key

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return the data with labels [1, X, Y, Z] in place of probabilities."""
        found = dict(data)
        for key in self.key_iterator(found):
            found[key] = self.labels_of(found[key], found[self.image_key])
        return found

    def labels_of(self, probability: Tensor, slices: Tensor) -> MetaTensor:
        """Return the labels [1, X, Y, Z] of a case.

        Args:
            probability: [C, H, W, S].
            slices: [M + 1, H, W, S], with the meta data that :class:`ReadCased` gives.
        """
        image, valid = _split(slices.cpu())
        drawn = _plain(probability).cpu().movedim(-1, 0).contiguous()
        finished = finish(self.finisher, drawn, image, valid)
        meta = slices.meta if isinstance(slices, MetaTensor) else {}
        place = json.loads(meta[CASE])
        geometry = _geometry(place["geometry"])
        masks = masks_on_source(finished, self.finisher.threshold, geometry)
        labels = label_map(masks, self.finisher.spec.classes)
        return MetaTensor(
            torch.from_numpy(np.ascontiguousarray(labels))[None],
            affine=torch.tensor(place["affine"], dtype=torch.float64),
            meta={name: meta[name] for name in (CASE, "filename_or_obj")},
        )


class SaveMaskd(SaveImaged):  # MONAI Label leaves out transforms of this kind: it has a writer
    """Write label maps as ``wsseg predict`` writes them."""

    def __init__(self, keys: KeysCollection, output_dir: str | Path) -> None:
        """Set where to.

        Args:
            keys: Entries that hold labels [1, X, Y, Z].
            output_dir: Folder, below which ``masks`` holds a file for each case.
        """
        super().__init__(keys, output_dir=output_dir, print_log=False)
        self.folder = Path(output_dir)

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Write them, and return the data as it is."""
        for key in self.key_iterator(dict(data)):
            labels = data[key]
            place = json.loads(labels.meta[CASE])
            header = read_header(Path(place["path"]), place["id"])
            save_mask(np.asarray(labels.array[0]), header, self.folder, place["id"])
        return dict(data)


def dataset_of(
    source: str | Path, model: str | Path, output: str | Path
) -> list[dict[str, CaseFiles]]:
    """List the items of a MONAI data set; see :func:`~wsseg.export.cases.cases_to_predict`.

    Args:
        source: Folder, table or image.
        model: ``models/model.json`` of the exported model.
        output: Folder for the masks.
    """
    return [{"image": case} for case in cases_to_predict(source, read_spec(model), output)]


def as_tensor(case: RawCase) -> MetaTensor:
    """Return a case as one tensor [M + 1, H, W, S] with the way back to the image.

    Args:
        case: The case.
    """
    slices = torch.cat((case.image, case.valid[:, None].float()), dim=1)
    affine = case.source.affine
    place = {
        "id": case.id,
        "path": str(case.path),
        "affine": affine.tolist(),
        "geometry": asdict(case.geometry),
    }
    meta = {  # with these names MONAI and MONAI Label find the way back to the image
        "filename_or_obj": str(case.path),
        "original_affine": affine,
        "spatial_shape": np.asarray(case.source.shape),
        CASE: json.dumps(place),
    }
    return MetaTensor(slices.movedim(0, -1), meta=meta)


def _split(slices: Tensor) -> tuple[Tensor, Tensor]:
    """Return image [S, M, H, W] and body [S, H, W] of [M + 1, H, W, S]."""
    stack = _plain(slices).movedim(-1, 0)
    return stack[:, :-1].contiguous(), stack[:, -1] > 0.5


def _plain(tensor: Tensor) -> Tensor:
    return tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor


def _geometry(plain: dict[str, Any]) -> Geometry:
    """Rebuild a geometry from what JSON makes of it."""
    parts: dict[str, Any] = {
        name: tuple(each) if isinstance(each, list) else each for name, each in plain.items()
    }
    parts["orientation"] = tuple(map(tuple, plain["orientation"]))
    return Geometry(**parts)
