"""One patient's tumour: foci, necrotic core, enhancing rim, oedema along the white matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsseg.phantom.atlas import Atlas
from wsseg.phantom.deformation import Anatomy, Focus, HeadShape
from wsseg.phantom.noise import Grid, Mask, Volume, smooth_noise, soft_step

NECROTIC, OEDEMA, ENHANCING = 1, 2, 4
"""Labels of BraTS; 1 is also the non-enhancing core."""


@dataclass(frozen=True)
class Plan:
    """What kind of tumour a patient has.

    Attributes:
        foci: At least one.
        enhancing: Whether the core takes up contrast agent (most high-grade tumours do).
        hollow: Radius of the necrotic part relative to the core, 0 to 0.85.
        roughness: Amplitude of the boundary's distortion relative to the radius.
    """

    foci: tuple[Focus, ...]
    enhancing: bool
    hollow: float
    roughness: float


@dataclass(frozen=True)
class Tumour:
    """Soft weights [X, Y, Z] in [0, 1] of the tumour's parts; they sum to at most 1.

    Attributes:
        necrotic: Necrotic or non-enhancing core.
        enhancing: Enhancing rim.
        oedema: Oedema and infiltration.
        severity: How strongly oedema changes the tissue, mild at its border.
    """

    necrotic: Volume
    enhancing: Volume
    oedema: Volume
    severity: Volume

    @property
    def labels(self) -> NDArray[np.uint8]:
        """BraTS label of every voxel: the strongest part where tumour outweighs the rest."""
        parts = np.stack([self.necrotic, self.oedema, self.enhancing])
        names = np.array([NECROTIC, OEDEMA, ENHANCING], dtype=np.uint8)
        return np.asarray(np.where(parts.sum(0) > 0.5, names[parts.argmax(0)], 0), dtype=np.uint8)


def _draw_focus(
    centre: NDArray[np.float64], radius: float, reach: float, rng: np.random.Generator
) -> Focus:
    stretch = np.exp(0.16 * np.clip(rng.standard_normal(3), -1.8, 1.8))
    push = float(rng.uniform(0.1, 0.55))
    return Focus(centre, radius, push, stretch / stretch.prod() ** (1 / 3), reach)


def plan_tumour(atlas: Atlas, head: HeadShape, rng: np.random.Generator) -> Plan:
    """Draw number, places, sizes and kind of a patient's foci."""
    enhancing = bool(rng.random() < 0.72)
    radius = float(rng.uniform(9, 22))
    reach = float(rng.uniform(9, 24) if enhancing else rng.uniform(5, 14))
    seat = atlas.seats[rng.integers(len(atlas.seats))]
    foci = [_draw_focus(head.to_patient(seat), radius, reach, rng)]
    for _ in range(int(rng.choice(3, p=[0.76, 0.17, 0.07]))):
        offsets = np.linalg.norm(atlas.seats - seat, axis=1)
        near = atlas.seats[(offsets > radius + 4) & (offsets < radius + 22)]
        place = head.to_patient(near[rng.integers(len(near))])
        share = rng.uniform(0.3, 0.6)
        foci.append(_draw_focus(place, max(4.0, share * radius), share * reach, rng))
    hollow = float(rng.uniform(0.4, 0.88)) if enhancing else 0.0
    return Plan(tuple(foci), enhancing, hollow, float(rng.uniform(0.1, 0.24)))


def _level(grid: Grid, focus: Focus) -> Volume:
    """Ellipsoidal distance from the focus in units of its radius."""
    terms = [
        ((axis - np.float32(c)) / np.float32(s * focus.radius)) ** 2
        for axis, c, s in zip(grid.axes, focus.centre, focus.stretch, strict=True)
    ]
    return np.asarray(np.sqrt(terms[0] + terms[1] + terms[2]), dtype=np.float32)


def _beyond(grid: Grid, plan: Plan) -> tuple[Volume, Volume]:
    """Per voxel, of the nearest focus: depth below its surface and (surface distance) / reach.

    Both in mm and in units of reach respectively; depth is positive inside the core.
    """
    levels = [_level(grid, focus) for focus in plan.foci]
    depth = np.max([(1 - a) * f.radius for a, f in zip(levels, plan.foci, strict=True)], axis=0)
    ratio = np.min(
        [(a - 1) * f.radius / f.reach for a, f in zip(levels, plan.foci, strict=True)], axis=0
    )
    return depth, ratio


def grow_tumour(anatomy: Anatomy, plan: Plan, rng: np.random.Generator) -> Tumour:
    """Grow the planned tumour in the patient's (already displaced) tissue.

    Args:
        anatomy: The patient's tissues.
        plan: Kind and places.
        rng: Source of the irregular boundaries.

    Returns:
        Soft weights of the tumour's parts, 0 outside the brain and in fluid spaces.
    """
    grid = anatomy.grid
    main = plan.foci[0]
    coarse, fine = smooth_noise(grid, 9.0, rng), smooth_noise(grid, 4.5, rng)
    wobble = plan.roughness * main.radius * (coarse + 0.45 * fine)
    depth, ratio = _beyond(grid, plan)
    solid = np.clip(1.25 - 1.25 * anatomy.ventricle, 0, 1) * anatomy.brain
    core = soft_step(depth + wobble, 0.5) * solid
    rim = (1 - plan.hollow) * main.radius * (1 + 0.5 * smooth_noise(grid, 7.0, rng))
    inner = soft_step(depth + 0.6 * wobble - np.maximum(rim, 1.5), 0.6)
    patchy = soft_step(1.2 - smooth_noise(grid, 5.0, rng), 0.2)
    dead = 1 - (1 - inner) * patchy if plan.enhancing else np.ones_like(inner)
    path = _blur(np.clip(anatomy.white + 0.28 * anatomy.grey, 0.12, 1), 1.6 / grid.spacing)
    margin = path - np.maximum(ratio, 0) + 0.2 * (smooth_noise(grid, 9.0, rng) + 0.3 * fine)
    spread = soft_step(margin, 0.035) * (1 - core) * (anatomy.white + anatomy.grey)
    oedema = spread * anatomy.brain * _reached(core, core + spread)
    severity = np.clip(0.62 + 0.9 * margin, 0.5, 1.0).astype(np.float32)
    return Tumour(core * dead, core * (1 - dead), oedema, severity)


def _blur(volume: Volume, sigma: float) -> Volume:
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(volume, sigma), dtype=np.float32)


def _reached(core: Volume, whole: Volume) -> Mask:
    """Where the tumour is connected to a core: oedema has no islands of its own."""
    from scipy import ndimage

    labels, count = ndimage.label(whole > 0.15)
    rooted = np.zeros(count + 1, dtype=np.bool_)
    rooted[np.unique(labels[core > 0.5])] = True
    rooted[0] = True  # faint skirts, below what anyone would outline
    return np.asarray(rooted[labels], dtype=np.bool_)
