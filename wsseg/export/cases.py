"""Finds the files of cases for a bundle, as ``wsseg predict`` finds them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from wsseg.data.labels import mask_labels
from wsseg.data.layouts import CaseFiles, ImageFile
from wsseg.data.readers import stem
from wsseg.data.spec import DataSpec
from wsseg.prediction.checks import check_targets, warn_of_pixels
from wsseg.prediction.label_files import write_label_files
from wsseg.prediction.sources import find_raw_cases
from wsseg.utils.errors import InputError, attempt, first_of

Source = CaseFiles | str | os.PathLike[str] | Sequence[str]


def cases_to_predict(source: Path | str, spec: DataSpec, output: Path | str) -> list[CaseFiles]:
    """Find all cases of a source, and make the folder for their masks ready.

    Args:
        source: Folder, table or image, as of ``wsseg predict --input``.
        spec: The data specification of the model.
        output: Folder for the masks, and for the names and colours of their labels.

    Returns:
        The cases; none, with a warning, if the source does not exist, since programs look at a
        bundle before they give it images. There is a warning of those that lack a modality, too.

    Raises:
        InputError: The source holds no case, or a mask would replace a file that no prediction
            wrote.
    """
    source, output = Path(source), Path(output)
    if not source.exists():
        warnings.warn(f"{source}: does not exist; give --dataset_dir", stacklevel=2)
        return []
    cases, lacking = find_raw_cases(source, None, spec)
    if not cases:
        raise InputError(first_of(list(map(str, lacking))))
    check_targets(source, cases, output, {})
    warn_of_pixels(cases, spec)
    for fault in lacking:
        warnings.warn(f"{fault}; it is left out", stacklevel=2)
    write_label_files(mask_labels(spec.classes), output)
    return list(cases)


def case_of(source: Source, spec: DataSpec, elsewhere: Path | str | None = None) -> CaseFiles:
    """Return the case that an image belongs to.

    Servers of images hand out one file of a case. If it does not hold all modalities, the others
    are looked for in its folder, and then in a table or a folder of cases.

    Args:
        source: The case; or a file for each modality, in the order of the channels; or one file.
        spec: The data specification of the model.
        elsewhere: Table or folder with the other modalities of one file.

    Raises:
        InputError: A modality is missing.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> case_of(["ann_t1.nii.gz", "ann_flair.nii.gz"], spec).images["FLAIR"].path.name
        'ann_flair.nii.gz'
    """
    if isinstance(source, CaseFiles):
        return source
    if not isinstance(source, str | os.PathLike):
        return _listed([Path(path) for path in source], spec)
    path = Path(source)
    alone = attempt(find_raw_cases, path, None, spec)
    if not isinstance(alone, InputError) and len(alone[0]) == 1:
        return alone[0][0]
    for place in (path.parent, *([] if elsewhere is None else [Path(elsewhere)])):
        found = attempt(find_raw_cases, place, None, spec)
        cases = () if isinstance(found, InputError) else found[0]
        for case in cases:
            if any(each.exists() and each.samefile(path) for each in case.paths if path.exists()):
                return case
    fault = alone if isinstance(alone, InputError) else first_of(list(map(str, alone[1])))
    raise InputError(str(fault))


def _listed(paths: Sequence[Path], spec: DataSpec) -> CaseFiles:
    if len(paths) != len(spec.modalities):
        raise InputError(
            f"{paths[0] if paths else 'no file'}: comes with {len(paths)} files, but the model "
            f"takes {', '.join(spec.modalities)}; give a file for each of them in this order"
        )
    images = map(ImageFile, paths)
    return CaseFiles(stem(paths[0]), dict(zip(spec.modalities, images, strict=True)))
