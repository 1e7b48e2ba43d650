"""The patients themselves: anatomy, tumour, benign findings, mass effect."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from wsseg.phantom.atlas import load_atlas
from wsseg.phantom.contrast import PHANTOM_MODALITIES
from wsseg.phantom.deformation import HeadShape, deform
from wsseg.phantom.findings import draw_findings
from wsseg.phantom.lesion import Focus, Plan, grow_tumour, plan_tumour
from wsseg.phantom.noise import Grid
from wsseg.phantom.patient import Patient, make_patient

AVERAGE = HeadShape(np.eye(3), atrophy=0.0)
FOCUS = Focus(np.array([30.0, -20.0, 25.0]), 14.0, 0.5, np.ones(3), 15.0)


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return [make_patient(seed=1, number=n, spacing=4.0) for n in range(8)]


def test_atlas_fractions_sum_to_one_inside_the_brain() -> None:
    atlas = load_atlas()
    total = atlas.tissues[:3].sum(0)
    np.testing.assert_allclose(total[atlas.brain > 0], 1, atol=1e-3)
    assert total[atlas.brain == 0].max() == 0
    assert np.all(atlas.tissues[3] <= atlas.tissues[2])


def test_the_anatomy_is_where_the_atlas_has_it() -> None:
    """The ventricles of an undistorted head lie on the midline and are small."""
    anatomy = deform(load_atlas(), Grid(2.0), AVERAGE, [], np.random.default_rng(0))
    x = np.broadcast_to(anatomy.grid.axes[0], anatomy.brain.shape)
    assert abs(np.average(x, weights=anatomy.ventricle)) < 3
    assert 5 < anatomy.ventricle.sum() * 0.008 < 60
    assert 1.4e3 < anatomy.brain.sum() * 0.008 < 2.4e3


def test_images_are_skull_stripped_and_share_one_brain(patients: list[Patient]) -> None:
    for patient in patients:
        assert tuple(patient.images) == PHANTOM_MODALITIES
        brain = patient.images["t1"] > 0
        for image in patient.images.values():
            assert image.dtype == np.int16
            np.testing.assert_array_equal(image > 0, brain)
        assert not brain[[0, -1]].any()
        assert not brain[:, [0, -1]].any()
        assert not patient.labels[~brain].any()


def test_labels_are_those_of_brats(patients: list[Patient]) -> None:
    seen = np.unique(np.concatenate([np.unique(p.labels) for p in patients]))
    assert patients[0].labels.dtype == np.uint8
    np.testing.assert_array_equal(seen, [0, 1, 2, 4])


def test_every_patient_has_slices_with_and_without_tumour(patients: list[Patient]) -> None:
    for patient in patients:
        brain = (patient.images["t1"] > 0).any((0, 1))
        tagged = (patient.labels > 0).any((0, 1))
        assert 0.1 < tagged.sum() / brain.sum() < 0.8


def test_patients_differ_and_repeat(patients: list[Patient]) -> None:
    again = make_patient(seed=1, number=3, spacing=4.0)
    np.testing.assert_array_equal(again.labels, patients[3].labels)
    for modality in PHANTOM_MODALITIES:
        np.testing.assert_array_equal(again.images[modality], patients[3].images[modality])
    assert np.any(patients[2].images["t1"] != patients[3].images["t1"])
    assert np.any(make_patient(2, 3, 4.0).images["t1"] != patients[3].images["t1"])


def test_voxels_do_not_depend_on_the_threads_of_the_linear_algebra() -> None:
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    with limits(1):
        one = make_patient(3, 0, 4.0)
    with limits(2):
        two = make_patient(3, 0, 4.0)
    np.testing.assert_array_equal(one.labels, two.labels)
    for modality in PHANTOM_MODALITIES:
        np.testing.assert_array_equal(one.images[modality], two.images[modality])


def test_the_same_patient_at_another_voxel_size() -> None:
    """Anatomy and tumour are defined in mm: halving the voxels keeps their place and volume."""
    coarse, fine = (make_patient(5, 0, spacing) for spacing in (4.0, 2.0))
    small = (fine.labels > 0).reshape(48, 2, 56, 2, 46, 2).mean((1, 3, 5)) > 0.5
    large = coarse.labels > 0
    assert 2 * (small & large).sum() / (small.sum() + large.sum()) > 0.85


def test_all_tumour_is_connected_to_a_core() -> None:
    for number in range(4):
        labels = make_patient(7, number, 4.0).labels
        parts, count = ndimage.label(labels > 0, np.ones((3, 3, 3)))
        cored = set(np.unique(parts[(labels == 1) | (labels == 4)])) - {0}
        stray = sum((parts == part).sum() for part in range(1, count + 1) if part not in cored)
        assert stray <= 0.03 * (labels > 0).sum()


def test_a_mass_pushes_tissue_outward_but_not_the_skull() -> None:
    atlas, grid = load_atlas(), Grid(4.0)
    free = deform(atlas, grid, AVERAGE, [], np.random.default_rng(0))
    pushed = deform(atlas, grid, AVERAGE, [FOCUS], np.random.default_rng(0))
    np.testing.assert_array_equal(free.brain, pushed.brain)
    x = np.broadcast_to(grid.axes[0], grid.shape)
    near = np.abs(grid.axes[1] - FOCUS.centre[1]) < 15  # the coronal slab of the mass
    before, after = (np.average(x, weights=a.ventricle * near) for a in (free, pushed))
    assert after < before - 0.5  # mm: the ventricles give way to the left


def test_oedema_prefers_white_matter() -> None:
    atlas, grid = load_atlas(), Grid(2.0)
    anatomy = deform(atlas, grid, AVERAGE, [FOCUS], np.random.default_rng(0))
    tumour = grow_tumour(anatomy, Plan((FOCUS,), True, 0.7, 0.1), np.random.default_rng(1))
    oedema = tumour.labels == 2
    around = ndimage.binary_dilation(tumour.labels > 0, iterations=4) & (tumour.labels == 0)
    assert anatomy.white[oedema].mean() > anatomy.white[around & anatomy.brain].mean() + 0.1


@pytest.mark.parametrize("enhancing", [True, False])
def test_only_an_enhancing_tumour_has_a_rim(enhancing: bool) -> None:
    anatomy = deform(load_atlas(), Grid(4.0), AVERAGE, [FOCUS], np.random.default_rng(0))
    plan = Plan((FOCUS,), enhancing, 0.6 if enhancing else 0.0, 0.1)
    labels = grow_tumour(anatomy, plan, np.random.default_rng(1)).labels
    assert (4 in labels) is enhancing
    assert 1 in labels


def test_parts_of_a_tumour_never_outweigh_the_voxel() -> None:
    atlas, grid, rng = load_atlas(), Grid(4.0), np.random.default_rng(2)
    plan = plan_tumour(atlas, AVERAGE, rng)
    anatomy = deform(atlas, grid, AVERAGE, plan.foci, rng)
    tumour = grow_tumour(anatomy, plan, rng)
    total = tumour.necrotic + tumour.enhancing + tumour.oedema
    assert total.min() >= 0
    assert total.max() <= 1 + 1e-5


def test_benign_findings_lie_in_most_slices_of_the_brain() -> None:
    anatomy = deform(load_atlas(), Grid(4.0), AVERAGE, [], np.random.default_rng(0))
    findings = [draw_findings(anatomy, np.random.default_rng(n)) for n in range(5)]
    brain = anatomy.brain.any((0, 1))
    for kind in ("gliosis", "vessel"):
        share = [(getattr(f, kind) > 0.4).any((0, 1)).sum() / brain.sum() for f in findings]
        assert np.mean(share) > 0.3
    assert any((f.cavity > 0.5).any() for f in findings)
    for finding in findings:
        for weight in vars(finding).values():
            assert 0 <= weight.min() <= weight.max() <= 1 + 1e-5
            assert not weight[~anatomy.brain].any()
