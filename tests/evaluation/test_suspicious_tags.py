"""Wrong tags are found by real trainings, and read back from the file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.conftest import write_store
from tests.training import quiet_trainer
from wsseg import CamModule, MRISliceDataModule
from wsseg.clustering import ClusteringOptions, ClusterReSupervision
from wsseg.comparators import GradCam
from wsseg.evaluation import SuspiciousTags
from wsseg.evaluation.confident_learning import CONTRADICTED, doubts, separation
from wsseg.evaluation.suspicious_tags import (
    SUSPICIOUS_FILE,
    SuspiciousTag,
    probabilities,
    read_suspicious,
    write_suspicious,
)
from wsseg.utils.errors import InputError

WRONG = {("a", 2), ("b", 5), ("d", 3)}  # case and row of the training slices with a wrong tag


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which every second slice shows a square, and three tags say the opposite."""
    root = write_store(tmp_path_factory.mktemp("data") / "store", size=16)
    manifest = json.loads((root / "manifest.json").read_text())
    for case in manifest["cases"]:
        for row, (tag,) in enumerate(case["tags"]):
            if (case["id"], row) in WRONG:
                case["tags"][row] = [1 - tag]
    (root / "manifest.json").write_text(json.dumps(manifest))
    return root


def train(store: Path, folder: Path, epochs: int, resume: str | None = None, **changed: Any) -> Any:
    torch.manual_seed(0)
    data = MRISliceDataModule(str(store), batch_size=4)
    module = CamModule(data.spec.to_dict(), widths=(4, 8), embedding_widths=(4, 8))
    trainer = quiet_trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        limit_val_batches=0,
        **{"callbacks": [SuspiciousTags()], **changed},
    )
    trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    return trainer


def test_wrong_tags_are_found(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = train(store, tmp_path, epochs=12)
    found = read_suspicious(tmp_path) or []
    listed = {(each.case, each.slice - 10) for each in found}
    assert len(listed) >= 2
    assert listed <= WRONG
    assert [each.doubt for each in found] == sorted((each.doubt for each in found), reverse=True)
    tags = {case.id: case.tags for case in trainer.datamodule.splits["train"]}
    assert all(each.tag == tags[each.case][each.slice - 10, 0] for each in found)
    said = capsys.readouterr().out
    assert f"tags that look wrong: {len(found)} of 30, " in said
    assert str(tmp_path / SUSPICIOUS_FILE) in said


def test_a_resumed_run_counts_the_epochs_before(store: Path, tmp_path: Path) -> None:
    whole = train(store, tmp_path / "whole", epochs=2)
    half = train(store, tmp_path / "half", epochs=1)
    half.save_checkpoint(tmp_path / "half.ckpt")
    rest = train(store, tmp_path / "rest", epochs=2, resume=str(tmp_path / "half.ckpt"))
    counts = [each.callbacks[0].state_dict()["sums"][:, 0] for each in (whole, half, rest)]
    assert counts[0].sum() == 2 * 30
    assert counts[1].sum() == 30
    assert torch.equal(counts[2], counts[0])


def test_slices_that_were_never_seen_are_left_out(store: Path, tmp_path: Path) -> None:
    trainer = train(store, tmp_path, epochs=1, limit_train_batches=2)
    assert (trainer.callbacks[0].state_dict()["sums"][:, 0] > 0).sum() == 8
    assert read_suspicious(tmp_path) is not None


def test_unknown_tags_train_and_are_not_suspicious(store: Path, tmp_path: Path) -> None:
    manifest = json.loads((store / "manifest.json").read_text())
    for row in range(3):
        manifest["cases"][0]["tags"][row] = [None]
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    clustering = ClusterReSupervision(
        warmup_epochs=1, clustering=ClusteringOptions(n_clusters=4, n_clusterings=2)
    )
    trainer = train(copy, tmp_path / "run", epochs=3, callbacks=[SuspiciousTags(), clustering])
    assert all(value.isfinite().all() for value in trainer.lightning_module.state_dict().values())
    maps = clustering.lookup(torch.arange(6))
    assert maps is not None
    assert (maps[:3] == -1).all()
    assert (maps[4] == 0).all(), "it is not tagged"
    found = read_suspicious(tmp_path / "run")
    assert found is not None
    assert not [each for each in found if each.case == "a" and each.slice < 13]
    data = MRISliceDataModule(str(copy))
    module = GradCam(data.spec.to_dict(), widths=(4, 8))
    with pytest.raises(InputError, match="some tags are unknown, and GradCam needs all of them"):
        quiet_trainer(max_epochs=1).fit(module, data)


def test_nothing_is_written_of_a_trial(store: Path, tmp_path: Path) -> None:
    train(store, tmp_path, epochs=1, fast_dev_run=True)
    assert read_suspicious(tmp_path) is None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [SuspiciousTag("bén, 2", 7, "cyst", 1, 0.125, 1.5)]
    write_suspicious(rows, tmp_path)
    assert read_suspicious(tmp_path) == rows
    assert (tmp_path / SUSPICIOUS_FILE).read_text().startswith("case,slice,class,tag,probability,")


@pytest.mark.parametrize("content", ["", "case,slice\na,b\n", "\udcff\n"])
def test_other_files_are_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / SUSPICIOUS_FILE
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    assert not read_suspicious(tmp_path)


def test_slices_beside_are_asked_where_this_tells_more() -> None:
    rng = np.random.default_rng(0)
    case, place = np.arange(600) // 20, np.arange(600) % 20
    for true, better in (((place > 5) & (place < 14), True), (place % 2 == 1, False)):
        said = np.where(true, 0.6, 0.4) + rng.uniform(-0.3, 0.3, 600)
        found = probabilities(np.stack((np.ones(600), said), 1), case, true[:, None] * 1.0)[:, 0]
        assert (separation(found, true) > separation(said, true)) == better
        assert (found == said).all() != better


def test_doubt_compares_with_both_means() -> None:
    rng = np.random.default_rng(0)
    tagged = np.arange(400) % 2 == 1
    true = tagged.copy()
    wrong = rng.choice(400, 40, replace=False)
    true[wrong] ^= True
    # Sure of untagged slices, less of tagged ones: 0.5 would be no threshold.
    probability = np.where(true, 0.4, 0.05) + rng.uniform(-0.05, 0.05, 400)
    doubt = doubts(probability, tagged)
    assert set(np.argsort(-doubt)[:40]) == set(wrong)
    assert not set(np.flatnonzero(doubt >= CONTRADICTED)) - set(wrong)
    assert np.allclose(doubts(1 - probability, ~tagged), doubt), "classes are treated alike"


@pytest.mark.parametrize(
    ("probability", "tagged"),
    [([0.2, 0.9], [True, True]), ([0.2, 0.9], [False, False]), ([0.2, 0.9], [True, False])],
)
def test_a_network_that_knows_nothing_contradicts_nothing(
    probability: list[float], tagged: list[bool]
) -> None:
    assert not doubts(np.array(probability), np.array(tagged)).any()
