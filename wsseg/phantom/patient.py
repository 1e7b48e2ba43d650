"""One synthetic patient, from its seed and number alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsseg.phantom.artefacts import acquire
from wsseg.phantom.atlas import load_atlas
from wsseg.phantom.contrast import PHANTOM_MODALITIES, render
from wsseg.phantom.deformation import deform, draw_head_shape
from wsseg.phantom.findings import draw_findings
from wsseg.phantom.lesion import grow_tumour, plan_tumour
from wsseg.phantom.noise import Grid


@dataclass(frozen=True)
class Patient:
    """What is written for one case.

    Attributes:
        images: For each modality, int16 [X, Y, Z], 0 outside the brain.
        labels: uint8 [X, Y, Z]: 0, or 1 (necrotic core), 2 (oedema), 4 (enhancing).
        affine: Voxel-to-world matrix [4, 4], RAS+, mm.
    """

    images: dict[str, NDArray[np.int16]]
    labels: NDArray[np.uint8]
    affine: NDArray[np.float64]


def make_patient(seed: int, number: int, spacing: float) -> Patient:
    """Make a patient; the same arguments give the same voxels.

    Every stage draws from its own stream, so a change to one leaves the others as they were.

    Args:
        seed: Seed of the whole data set.
        number: Which patient of it.
        spacing: Voxel size in mm.

    Returns:
        Images, labels and affine.

    Example:
        >>> patient = make_patient(seed=0, number=3, spacing=8.0)
        >>> patient.images["flair"].shape, sorted(set(patient.labels.ravel().tolist()))
        ((24, 28, 23), [0, 1, 2, 4])
    """
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence([seed, number]).spawn(9)]
    shape_rng, plan_rng, warp_rng, growth_rng, findings_rng, *image_rngs = streams
    atlas, grid = load_atlas(), Grid(spacing)
    head = draw_head_shape(shape_rng)
    plan = plan_tumour(atlas, head, plan_rng)
    anatomy = deform(atlas, grid, head, plan.foci, warp_rng)
    tumour = grow_tumour(anatomy, plan, growth_rng)
    findings = draw_findings(anatomy, findings_rng)
    images = {
        modality: acquire(
            render(modality, anatomy, plan, tumour, findings, rng), grid, anatomy.brain, rng
        )
        for modality, rng in zip(PHANTOM_MODALITIES, image_rngs, strict=True)
    }
    return Patient(images, tumour.labels, grid.affine)
