"""``wsseg predict``: masks for raw images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path


def predict(
    *,
    ckpt_path: Path,
    input: Path,  # noqa: A002 (the name of the option)
    output: Path,
    layout: str | None = None,
    device: str = "auto",
    batch_size: int = 32,
    threshold: float | None = None,
    refinement: float | None = None,
    smallest_component: float | None = None,
    probabilities: bool = False,
    dicom_seg: bool = False,
) -> list[Path]:
    """Write a mask and a picture for every case of raw images, and a table of all.

    The checkpoint knows modalities, normalisation, slicing and classes; nothing is prepared by
    hand. Cases whose images cannot be used are named together at the end and stop no other case.

    ``masks`` holds label maps on the voxels of each case's first modality: NIfTI for volumes, PNG
    for pictures. Labels are the data set's own numbers; where nested classes overlap the innermost
    one shows. ``pictures`` shows each prediction. ``cases.csv`` has the size of each class in each
    case, ``labels.txt`` and ``labels.ctbl`` tell ITK-SNAP and 3D Slicer the names and colours.

    Args:
        ckpt_path: Checkpoint that ``wsseg fit`` wrote.
        input: Folder of one case or of many, a file that lists cases, an image, or a folder of
            images that each make a case.
        output: Folder to write to; files of an earlier prediction are replaced.
        layout: How the images are listed or named: table, folders, datalist, brats, decathlon or
            lgg. By default detected.
        device: Where to compute: auto, cpu, cuda, cuda:1, ...
        batch_size: Slices per forward pass.
        threshold: Probability above which a voxel belongs to a class; by default the
            checkpoint's own.
        refinement: Strength of border refinement by each patient's own intensities; 0 leaves
            borders as predicted. By default the checkpoint's own.
        smallest_component: Least volume of a component of a mask, as a share of the largest one's;
            0 keeps all. By default the checkpoint's own.
        probabilities: Whether to write the probabilities of the network, too.
        dicom_seg: Whether to write DICOM segmentations, too; all images must be DICOM.

    Returns:
        The masks, in the order of the cases.

    Raises:
        InputError: The checkpoint or the images cannot be used.
    """
    # Imported here, so that the help needs no torch.
    from wsseg.checkpoints.loading import load_module
    from wsseg.prediction.checks import check_options
    from wsseg.prediction.inference import choose_device
    from wsseg.prediction.run import predict_cases
    from wsseg.prediction.writing import Extras
    from wsseg.utils.errors import InputError

    module = load_module(ckpt_path).to(choose_device(device))
    check_options(batch_size, threshold, refinement, smallest_component)
    if threshold is not None:
        module.threshold = threshold
    if module.spec.cell is not None and refinement:
        raise InputError(
            f"--refinement {refinement:g}: cells of compressed pictures have no finer "
            "borders; leave it out"
        )
    given = {"refinement": refinement, "smallest_component": smallest_component}
    changed = {name: value for name, value in given.items() if value is not None}
    module.finishing = replace(module.finishing, **changed)
    extras = Extras(probabilities, dicom_seg)
    return predict_cases(module, Path(input), Path(output), layout, batch_size, extras)
