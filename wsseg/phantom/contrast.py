"""What each MR sequence shows of a patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsseg.phantom.deformation import Anatomy
from wsseg.phantom.findings import Findings
from wsseg.phantom.lesion import Plan, Tumour
from wsseg.phantom.noise import Grid, Volume, smooth_noise

PHANTOM_MODALITIES = ("t1", "t1ce", "t2", "flair")


@dataclass(frozen=True)
class Contrast:
    """Mean intensities of one sequence; 1 is about healthy white matter in T1.

    Oedema, gliosis and the two kinds of core are near grey matter in some sequences on purpose:
    no single threshold separates them from it.
    """

    grey: float
    white: float
    fluid: float
    oedema: float
    necrotic: float
    solid: float
    enhancing: float
    gliosis: float
    vessel: float
    remnant: float


CONTRASTS = {
    "t1": Contrast(0.78, 1.0, 0.40, 0.78, 0.58, 0.68, 0.74, 0.80, 0.75, 1.05),
    "t1ce": Contrast(0.80, 1.0, 0.42, 0.80, 0.60, 0.72, 1.50, 0.82, 1.75, 1.35),
    "t2": Contrast(0.70, 0.52, 1.45, 0.98, 1.20, 1.02, 0.86, 0.96, 0.45, 1.0),
    "flair": Contrast(0.93, 0.78, 0.34, 1.24, 0.88, 1.18, 1.12, 1.28, 0.70, 1.2),
}

JITTER = Contrast(0.035, 0.025, 0.08, 0.06, 0.14, 0.08, 0.12, 0.07, 0.15, 0.15)
"""Standard deviation over patients of each of the above."""


def draw_contrast(modality: str, rng: np.random.Generator) -> Contrast:
    """Draw one patient's version of a sequence (protocols and scanners differ)."""
    means, spreads = CONTRASTS[modality], JITTER
    drawn = {
        name: float(mean + getattr(spreads, name) * np.clip(rng.standard_normal(), -1.7, 1.7))
        for name, mean in vars(means).items()
    }
    return Contrast(**drawn)


def _mix(image: Volume, weight: Volume, target: NDArray[np.floating] | float) -> Volume:
    """Replace a share of the image: partial volume."""
    return np.asarray(image + weight * (target - image), dtype=np.float32)


def _texture(grid: Grid, amplitude: float, scale: float, rng: np.random.Generator) -> Volume:
    return np.asarray(1 + np.float32(amplitude) * smooth_noise(grid, scale, rng))


def _healthy(anatomy: Anatomy, contrast: Contrast, rng: np.random.Generator) -> Volume:
    """Normal tissue with regional differences (nuclei, cortex types, myelination, flow)."""
    grid = anatomy.grid
    grey = contrast.grey * _texture(grid, 0.045, 14.0, rng)
    white = contrast.white * _texture(grid, 0.03, 18.0, rng)
    fluid = contrast.fluid * _texture(grid, 0.12, 10.0, rng)
    return np.asarray(
        anatomy.grey * grey + anatomy.white * white + anatomy.fluid * fluid, dtype=np.float32
    )


def render(
    modality: str,
    anatomy: Anatomy,
    plan: Plan,
    tumour: Tumour,
    findings: Findings,
    rng: np.random.Generator,
) -> Volume:
    """Compose the ideal image of one sequence, before the scanner's artefacts.

    Args:
        modality: One of `PHANTOM_MODALITIES`.
        anatomy: Healthy tissues.
        plan: Kind of tumour.
        tumour: The tumour's parts.
        findings: Benign findings.
        rng: Source of this patient's contrasts and textures.

    Returns:
        Image [X, Y, Z], about 1 in white matter.
    """
    grid, contrast = anatomy.grid, draw_contrast(modality, rng)
    uneven, speckle = smooth_noise(grid, 6.0, rng), smooth_noise(grid, 2.2, rng)
    image = _healthy(anatomy, contrast, rng)
    image = _mix(image, findings.gliosis, contrast.gliosis * (1 + 0.04 * uneven))
    image = _mix(image, findings.cavity, contrast.fluid)
    oedema = contrast.oedema * (1 + 0.06 * uneven + 0.02 * speckle)
    image = _mix(image, tumour.oedema * tumour.severity, oedema)
    core = contrast.necrotic if plan.enhancing else contrast.solid
    image = _mix(image, tumour.necrotic, core * (1 + 0.09 * uneven + 0.05 * speckle))
    image = _mix(image, tumour.enhancing, contrast.enhancing * (1 + 0.10 * uneven + 0.06 * speckle))
    image = _mix(image, findings.vessel, contrast.vessel)
    return _mix(image, findings.remnant, contrast.remnant)
