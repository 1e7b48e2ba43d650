"""The second stages after the literature: their losses, their windows, and that they learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from tests.comparators.test_chance import SPEC, slices
from tests.training import quiet_trainer
from wsseg.checkpoints.loading import load_module
from wsseg.comparators import AfterCrossTaskSupervision, AfterTwoStageFemur
from wsseg.comparators.after_cross_task_supervision import (
    certainty,
    cross_task_loss,
    signed_distance,
)
from wsseg.comparators.after_two_stage_femur import OUTSIDE_LOGIT, enlarge, paste, windows
from wsseg.data.spec import Batch
from wsseg.segmentation import SegmentationModule


def with_target(first: int) -> tuple[Batch, torch.Tensor]:
    batch, mask = slices(first)
    batch["target"] = mask.float()
    batch["target"][:, :, :, :2] = -1
    batch["drawn"] = torch.zeros(len(mask), dtype=torch.bool)
    return batch, mask


@pytest.mark.parametrize("kind", [AfterCrossTaskSupervision, AfterTwoStageFemur])
def test_a_tiny_training_is_better_than_chance_and_comes_back(
    kind: type[SegmentationModule], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = kind(SPEC, widths=(8, 8, 16))
    batches = [with_target(first)[0] for first in range(0, 32, 8)]
    trainer = quiet_trainer(max_epochs=8, default_root_dir=tmp_path)
    trainer.fit(module, DataLoader(batches, batch_size=None))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = load_module(tmp_path / "last.ckpt")
    assert type(again) is kind
    batch, mask = with_target(1000)
    with torch.no_grad():
        probability = again.eval()(batch["image"], batch["valid"])
    inside, outside = probability[mask].mean(), probability[~mask].mean()
    assert inside > outside + 0.2


def test_distances_are_those_found_pixel_by_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(2, 1, 9, 7, generator=generator) > 0.8).float()
    counted = torch.rand(2, 1, 9, 7, generator=generator) > 0.2
    got = signed_distance(target, counted, reach=3)
    for b, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(9), torch.arange(7)):
        if not counted[b, 0, y, x]:
            assert got[b, 0, y, x] == 0
            continue
        own = target[b, 0, y, x]
        steps = [
            max(abs(int(y) - v), abs(int(x) - u))
            for v in range(9)
            for u in range(7)
            if counted[b, 0, v, u] and target[b, 0, v, u] != own
        ]
        distance = min([3, *steps]) / 3
        assert got[b, 0, y, x] == pytest.approx(distance if own else -distance)


def test_tasks_teach_each_other_by_how_sure_they_are() -> None:
    one, other = torch.rand(2, 2, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    one, other = one.requires_grad_(), other.requires_grad_()
    valid = torch.rand(2, 2, 4) > 0.3
    got, summed = cross_task_loss(one, other, valid), 0.0
    for b, c, y, x in torch.cartesian_prod(*map(torch.arange, one.shape)):
        if valid[b, y, x]:
            p, q = one[b, c, y, x].item(), other[b, c, y, x].item()
            sure = [float(certainty(torch.tensor(each))) for each in (p, q)]
            summed += sum(sure) / 2 * (p - q) ** 2
    assert got.item() == pytest.approx(summed / (int(valid.sum()) * 3), rel=1e-4)
    got.backward()
    assert one.grad is not None
    expected = certainty(other.detach()) * (one - other).detach() * valid[:, None]
    torch.testing.assert_close(one.grad, expected / (valid.sum() * 3), atol=1e-6, rtol=1e-3)


def test_windows_hold_what_is_found_and_stay_inside() -> None:
    found = torch.zeros(4, 16, 32, dtype=torch.bool)
    found[0, 3:9, 0:5] = True
    found[1, 14:16, 30:32] = True
    found[2] = True
    centre, side = windows(found)
    assert side[2:].tolist() == [1.0, 1.0], "all of it, and nothing"
    for number in (0, 1):
        rows, columns = found[number].nonzero(as_tuple=True)
        for axis, places, length in ((0, columns, 32), (1, rows, 16)):
            low = (centre[number, axis] - side[number] + 1) / 2 * length
            high = (centre[number, axis] + side[number] + 1) / 2 * length
            assert -1e-5 <= low <= places.min()
            assert places.max() + 1 <= high <= length + 1e-5


def test_what_is_enlarged_is_put_back_in_its_place() -> None:
    smooth = torch.linspace(-1, 1, 32).expand(1, 1, 32, 32)
    centre, side = torch.tensor([[0.25, -0.5]]), torch.tensor([0.5])
    back = paste(enlarge(smooth, centre, side), centre, side)
    held = back != OUTSIDE_LOGIT
    assert held[0, 0, :16, 12:28].all()
    assert held.sum() == 16 * 16
    torch.testing.assert_close(back[held], smooth[held], atol=0.03, rtol=0)
