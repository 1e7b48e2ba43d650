"""The text that comes with an exported model: ``docs/README.md``."""

from __future__ import annotations

from wsseg import __version__
from wsseg.data.labels import mask_labels
from wsseg.export.bundle import MOST_SEGMENTS
from wsseg.export.description import steps
from wsseg.models.slice_module import SliceModule

TEXT = """\
# {name}

This model finds {classes} in images of {modalities}. wsseg {version} exported it as a
[MONAI bundle](https://docs.monai.io/en/stable/mb_specification.html). Its network judges
{axis}slices one by one; what comes before and after is the code of wsseg, so masks are those of
`wsseg predict`.

It is meant for research. It is no medical device. Masks have to be looked at by somebody who can
judge them.

| label in masks | class |
| ---: | --- |
| 0 | background |
{labels}

## Running it

```bash
pip install ".[{extras}]"  # in a clone of wsseg
cd {name}
python -m monai.bundle run --config_file configs/inference.json \\
    --dataset_dir IMAGES --output_dir OUT
```

`IMAGES` is an image, a folder or a table, as `wsseg predict` takes it. `OUT/masks` then holds a
mask on the voxels of each image. One image that cannot be used stops the run.

## MONAI Label and 3D Slicer

Copy this folder into the folder `model` of MONAI Label's app `monaibundle`, and install wsseg into
the environment of the server.

```bash
monailabel apps --download --name monaibundle --output apps
mkdir apps/monaibundle/model
cp -r {name} apps/monaibundle/model/
monailabel start_server --app apps/monaibundle --studies IMAGES \\
    --conf models {name} --conf zoo_source ngc --conf skip_trainers true
```

`--conf zoo_source ngc` keeps the server from asking GitHub for other models, which would end it
where there is no network. `IMAGES` holds a file for each case, `ID.nii.gz`; files in folders below
it are not seen. In 3D Slicer, the module MONAI Label then offers `{name}` under *Auto
Segmentation*, with the threshold, the strength of border refinement and the size of the smallest
component as options. *Submit Label* saves a corrected mask as
`IMAGES/labels/final/ID.nii.gz`.{numbers}{several}

## The other files

| file below `models` | what it holds |
| --- | --- |
| `model.onnx` | the network as ONNX, any number and size of slices |
| `model.pt2` | the same for `torch.export.load`, without wsseg |
| `model.safetensors` | the weights, with what `model.json` says as metadata |
| `model.pt` | the weights, as MONAI reads them |
| `model.json` | modalities, classes, labels, normalisation: all that another program needs |

The network takes `image` and `valid`, and returns `probability`; `model.json` says their shapes.
Around it, a program in another language has to do the following:

{steps}
"""

SEVERAL = """

An image in MONAI Label is one file, but this model takes several modalities. Where the names are
those of BraTS, the others are found in the folder of that file, also through a link. So give
`IMAGES` a link to one modality of each case, named by the case:

```bash
mkdir IMAGES
for case in BRATS_FOLDER/*; do
    ln -s "$(realpath "$case"/*_flair.nii.gz)" IMAGES/"$(basename "$case")".nii.gz
done
```

Otherwise name a table of all images as `dataset_dir` in `configs/inference.json`. A file that holds
all modalities as channels also works."""

TOO_HIGH = """

**The labels are too high for that module**, which counts segments from 1: correct the masks of
`wsseg predict` instead."""

UNUSED = """
Leave the segments called *unused* empty: the module counts segments from 1, and they keep the
numbers of the others."""


def guide(module: SliceModule, name: str) -> str:
    """Return the text.

    Args:
        module: The module.
        name: Name of the model.
    """
    spec = module.spec
    labels = sorted((number, label) for label, number in mask_labels(spec.classes).items())
    return TEXT.format(
        name=name,
        classes=", ".join(spec.classes),
        modalities="colour pictures" if spec.in_colour else ", ".join(spec.modalities),
        version=__version__,
        axis="" if spec.plan.unit == "px" else f"{spec.axis} ",
        labels="\n".join(f"| {number} | {label} |" for number, label in labels),
        extras="export,pretrained" if spec.of_pictures else "export",
        numbers=_of_numbers([number for number, _ in labels]),
        several=SEVERAL if len(spec.modalities) > 1 and not spec.in_colour else "",
        steps="\n".join(f"{n}. {step}" for n, step in enumerate(steps(spec, module.threshold), 1)),
    )


def _of_numbers(labels: list[int]) -> str:
    if max(labels) > MOST_SEGMENTS:
        return TOO_HIGH
    return UNUSED if max(labels) > len(labels) else ""
