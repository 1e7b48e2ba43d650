"""What a program in any language must know to use an exported network: ``models/model.json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wsseg import __version__
from wsseg.data.anatomy import SIZE_MULTIPLE
from wsseg.data.labels import mask_labels
from wsseg.data.normalisation import CLIP_PERCENTILES
from wsseg.data.spec import DataSpec
from wsseg.export.network import SETTINGS, settings_of
from wsseg.models.options import Finishing, from_plain
from wsseg.models.slice_module import SliceModule
from wsseg.utils.documents import read_document

LEAST_SIDE = 3 * SIZE_MULTIPLE  # pixels; the deepest level of every network then has two
INPUTS, OUTPUT = ("image", "valid"), "probability"

NORMALISING = {
    "zscore": (
        "For each image and modality, clip the values inside the body to their percentiles "
        f"{CLIP_PERCENTILES[0]:g} and {CLIP_PERCENTILES[1]:g}, subtract the mean of these, and "
        "divide by their standard deviation."
    ),
    "window": "Clip to low and high, subtract the mean and divide by the deviation (`scales`).",
    "picture": "Clip to low and high, subtract the mean and divide by the deviation (`scales`).",
}
BODY = {
    "nonzero": "all that differs from the background, with its holes filled in every slice",
    "threshold": "all that is denser or brighter than air, with its holes filled in every slice",
    "whole": "every pixel",
}
DIRECTIONS = {
    "axial": "rows from anterior to posterior, columns from the patient's right to left",
    "coronal": "rows from superior to inferior, columns from the patient's right to left",
    "sagittal": "rows from superior to inferior, columns from anterior to posterior",
}


@dataclass(frozen=True)
class CaseFinisher:
    """What the masks of a case are finished by; see :func:`wsseg.prediction.finishing.finish`.

    Attributes:
        spec: The data specification.
        threshold: Probability above which a pixel belongs to a class.
        finishing: What is done to masks.
    """

    spec: DataSpec
    threshold: float
    finishing: Finishing


def describe(module: SliceModule) -> dict[str, Any]:
    """Describe a module as plain values, which JSON can hold.

    Args:
        module: The module.
    """
    spec, labels = module.spec, mask_labels(module.spec.classes)
    plan = spec.plan.to_dict()
    slices: dict[str, Any] = {"height": f"{SIZE_MULTIPLE}*n", "width": f"{SIZE_MULTIPLE}*n"}
    return {
        "wsseg": __version__,
        "modalities": list(spec.modalities),
        "classes": {name: list(values) for name, values in spec.classes.items()},
        "labels": labels,
        "threshold": module.threshold,
        "finishing": asdict(module.finishing),
        "axis": spec.axis,
        "spacing_mm": spec.spacing,
        "longest_side": spec.plan.longest_side,
        "pixel_mm_in_training": None if spec.pixel is None else list(spec.pixel),
        "size_in_training": list(spec.size),
        "size_multiple": SIZE_MULTIPLE,
        "least_side": LEAST_SIDE,
        "normalisation": plan["normalisation"],
        "scales": [
            {"modality": name, **scale._asdict()}
            for name, scale in zip(spec.modalities, spec.plan.scales, strict=False)
        ],
        "body": plan["body"],
        "plan": plan,
        "inputs": {
            "image": {
                "shape": ["batch", len(spec.modalities), *slices.values()],
                "dtype": "float32",
                "channels": list(spec.modalities),
                "meaning": "normalised slices, 0 outside the body",
            },
            "valid": {
                "shape": ["batch", *slices.values()],
                "dtype": "bool",
                "meaning": "pixels that hold the body",
            },
        },
        "outputs": {
            OUTPUT: {
                "shape": ["batch", len(spec.classes), *slices.values()],
                "dtype": "float32",
                "channels": list(spec.classes),
                "meaning": "probability of each class at each pixel, 0 outside the body",
            }
        },
        "steps": steps(spec, module.threshold),
        **settings_of(module),
    }


def steps(spec: DataSpec, threshold: float) -> list[str]:
    """Say in whole sentences what is to be done to raw images, and to what the network returns.

    Args:
        spec: The data specification.
        threshold: Probability above which a pixel belongs to a class.
    """
    found = [
        "Take the picture as it is shown."
        if spec.plan.unit == "px"
        else f"Cut the volume into {spec.axis} slices, {DIRECTIONS[spec.axis]}.",
        f"The body is {BODY[spec.plan.body]}.",
        NORMALISING[spec.plan.normalisation],
    ]
    if spec.spacing is not None:
        found.append(f"Resample slices to pixels of {spec.spacing:g} mm.")
    if spec.plan.longest_side is not None:
        found.append(
            f"Resample slices so that the longer side has {spec.plan.longest_side} pixels."
        )
    height, width = spec.size
    found += [
        f"Crop or pad slices around the middle of the body to {height} x {width} pixels, or more, "
        f"in multiples of {SIZE_MULTIPLE}, if the body is larger.",
        "Set pixels outside the body to 0.",
        f"A pixel belongs to a class if its probability exceeds {threshold:g}.",
        "Border refinement and the removal of specks (`finishing`) are not part of the network; "
        "the MONAI bundle and `wsseg predict` do them.",
    ]
    return found


def read_finisher(
    model: Path | str,
    threshold: float | None = None,
    refinement: float | None = None,
    smallest_component: float | None = None,
) -> CaseFinisher:
    """Read from a description how masks are finished.

    Args:
        model: ``models/model.json`` of an exported model.
        threshold: Probability above which a pixel belongs to a class; by default the model's own.
        refinement: See :class:`~wsseg.models.options.Finishing`; by default the model's own.
        smallest_component: Likewise.

    Raises:
        InputError: The file cannot be read, or an option is out of range.
    """
    description = read_document(Path(model))
    given = {"refinement": refinement, "smallest_component": smallest_component}
    # Slicer's panel of options may return numbers as text.
    changed = {name: float(value) for name, value in given.items() if value is not None}
    return CaseFinisher(
        read_spec(model),
        description["threshold"] if threshold is None else float(threshold),
        from_plain(Finishing, {**description["finishing"], **changed}),
    )


def read_spec(model: Path | str) -> DataSpec:
    """Read the data specification of an exported model.

    Args:
        model: ``models/model.json`` of the model.
    """
    return DataSpec.from_dict(read_document(Path(model))[SETTINGS]["spec"])
