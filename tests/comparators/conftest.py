"""Small comparators, and batches and stores for them."""

from __future__ import annotations

from typing import Any

import torch

from wsseg.comparators import (
    AfterAccumulation,
    AfterCompressedEquivariance,
    AfterCyclicLearning,
    AfterTsskNet,
    AfterUnsupervisedConstraints,
    CrossModality,
    FeatureDecomposition,
    GradCam,
    LayerCam,
    PrototypeCam,
    ReferenceCrs,
    SelfEquivariance,
)
from wsseg.data.spec import Batch, DataSpec
from wsseg.models import Optimisation
from wsseg.models.slice_module import SliceModule

SPEC = DataSpec(
    ("FLAIR", "T1"), {"tumour": (1, 2, 4), "core": (1, 4)}, "axial", None, (32, 32)
).to_dict()
SMALL: dict[type[SliceModule], dict[str, Any]] = {
    AfterAccumulation: {"widths": (4, 8)},
    AfterCyclicLearning: {"widths": (4, 8)},
    AfterCompressedEquivariance: {"widths": (4, 8)},
    AfterTsskNet: {"widths": (4, 8)},
    AfterUnsupervisedConstraints: {"widths": (4, 8)},
    CrossModality: {"widths": (4, 8)},
    FeatureDecomposition: {"widths": (4, 8)},
    GradCam: {"widths": (4, 8)},
    LayerCam: {"widths": (4, 8)},
    PrototypeCam: {"widths": (4, 8), "n_prototypes": 3},
    ReferenceCrs: {"base_width": 4, "n_clusters": 4, "optimisation": Optimisation(1e-3, 0.0, 0.0)},
    SelfEquivariance: {"widths": (4, 8)},
}
KINDS = sorted(SMALL, key=lambda kind: kind.__name__)


def small(kind: type[SliceModule], spec: dict[str, Any] = SPEC) -> SliceModule:
    """Make a small comparator."""
    torch.manual_seed(0)
    return kind(spec, **SMALL[kind])


def batch(slices: int = 4, size: int = 32) -> Batch:
    """Make slices of noise in a square of anatomy, every second one tagged."""
    generator = torch.Generator().manual_seed(0)
    valid = torch.zeros(slices, size, size, dtype=torch.bool)
    valid[:, 2:-2, 4:-4] = True
    return {
        "image": torch.randn(slices, 2, size, size, generator=generator) * valid[:, None],
        "tags": torch.tensor([[1.0, 1.0], [0.0, 0.0]]).repeat(slices // 2, 1),
        "valid": valid,
        "index": torch.arange(slices),
        "case": torch.zeros(slices, dtype=torch.int64),
        "level": torch.zeros(slices, dtype=torch.int64),
    }
