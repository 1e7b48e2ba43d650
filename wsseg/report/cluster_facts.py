"""The section on clusters: what each looks like, and why it was called what it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from wsseg.checkpoints.clusters import cluster_state, clusters_of
from wsseg.clustering import Clusters, ClusterTable, EvidenceScorer
from wsseg.clustering.scorers import excess
from wsseg.clustering.table import ClusterRow
from wsseg.data.dataset import SliceDataset
from wsseg.report.pictures import Figure, figure
from wsseg.report.run_folder import RunFolder
from wsseg.utils.sampling import evenly_spaced
from wsseg.visualisation.cluster_pictures import DECISION_COLOURS, ClusteredSlices

MOST_CLUSTERS = 48  # that have pictures, of all classes together: the page stays small
MOST_OF_A_CLASS = 12
FEWEST_OF_A_CLASS = 6
REJECTED_SHARE = 3  # of the clusters shown, one in so many is not relevant
PICTURES_OF_A_CLUSTER = 3
SLICES_SEARCHED = 24  # tagged training slices, of which those with most of a cluster are shown
SEARCHED_TOGETHER = 8
STANDS_OUT = 0.5  # standard deviations from the mean of the body, from which a modality is named
NO_TABLE = (
    "The checkpoint holds clusters but no table of them: an earlier version of wsseg wrote it. "
    "Train again to see the table."
)


@dataclass(frozen=True)
class ShownCluster:
    """A cluster with its pictures.

    Attributes:
        row: What was measured and decided.
        looks: What its pixels look like.
        reason: Why it was called what it was.
        figures: Training slices with its pixels marked.
    """

    row: ClusterRow
    looks: str
    reason: str
    figures: list[Figure]


@dataclass(frozen=True)
class ClassClusters:
    """The clusters as one class sees them.

    Attributes:
        name: The class.
        counts: Number of clusters by decision.
        shown: Some of them, the most relevant first.
        rows: All of them, the most relevant first.
    """

    name: str
    counts: dict[str, int]
    shown: list[ShownCluster]
    rows: list[ClusterRow]


@dataclass(frozen=True)
class ClusterFacts:
    """The section on clusters.

    Attributes:
        lacking: Why something is not shown, and what to do.
        clusterings: Number of clusterings.
        clusters: Number of clusters of each.
        epoch: Epoch for which the maps were made, from 1.
        low: Up to this relevance a cluster is irrelevant.
        high: Above this relevance it is relevant.
        scorer: Name of the scorer.
        classes: The clusters by class.
    """

    lacking: str
    clusterings: int = 0
    clusters: int = 0
    epoch: int = 0
    low: float = 0.0
    high: float = 0.0
    scorer: str = ""
    classes: list[ClassClusters] = field(default_factory=list)


def cluster_facts(run: RunFolder) -> ClusterFacts:
    """Collect what is known of the clusters of a run.

    Args:
        run: The run.
    """
    state = cluster_state(run.checkpoint)
    if not state:
        return ClusterFacts(_no_clusters(run))
    if not state["clusters"]:
        return ClusterFacts(
            "Each picture was divided into regions of its own instead of clusters of the whole "
            "data set, so there is no table of clusters. The cluster maps below show which "
            "regions of some pictures were relevant."
        )
    if "table" not in state:
        return ClusterFacts(NO_TABLE)
    table = ClusterTable.from_state(state["table"])
    clusters = clusters_of(run.checkpoint, run.module)
    lacking = run.lacking and f"There are no pictures of clusters. {run.lacking}"
    if clusters is None:
        lacking = "There are no pictures of clusters, since the run has views of its own."
    scorer, options = _scorer(run)
    power = float(options.get("focus_power", EvidenceScorer.focus_power))
    rows = table.rows(list(run.spec.classes))
    classes = []
    for number, name in enumerate(run.spec.classes):
        of_class = sorted(
            (row for row in rows if row.class_name == name), key=lambda row: -row.relevance
        )
        slices = None if clusters is None else _clustered(run, clusters, number)
        chosen = choose(of_class, len(run.spec.classes))
        shown = [
            _show(run, row, slices, reason_of(row, power) if scorer == "EvidenceScorer" else "")
            for row in chosen
        ]
        counts = {kind: sum(r.decision == kind for r in of_class) for kind in DECISION_COLOURS}
        classes.append(ClassClusters(name, counts, shown, of_class))
    clusterings, count, _ = table.relevance.shape
    epoch = int(state["epoch"]) + 1
    return ClusterFacts(lacking, clusterings, count, epoch, table.low, table.high, scorer, classes)


def choose(rows: Sequence[ClusterRow], classes: int) -> list[ClusterRow]:
    """Choose clusters that tell most about a class.

    Of the relevant ones, these are the largest of each clustering in turn, since clusterings find
    the same tissue again; the most relevant is first. Of the others, these are the ones that came
    closest, and those that the network takes most for the class.

    Args:
        rows: Those of a class, the most relevant first.
        classes: Number of classes that share the page.
    """
    most = max(FEWEST_OF_A_CLASS, min(MOST_OF_A_CLASS, MOST_CLUSTERS // classes))
    relevant = in_turn([row for row in rows if row.decision == "relevant"])
    others = [row for row in rows if row.decision != "relevant"]
    room = min(len(others), max(most - len(relevant), most // REJECTED_SHARE))
    closest = others[: -(-room // 2)]
    active = sorted(others[len(closest) :], key=lambda row: -row.activation)
    shown = sorted(relevant[: most - room], key=lambda row: -row.relevance)
    return shown + closest + active[: room - len(closest)]


def in_turn(rows: Sequence[ClusterRow]) -> list[ClusterRow]:
    """Sort clusters by size, those of all clusterings in turn."""
    number: Counter[int] = Counter()
    places = {}
    for row in sorted(rows, key=lambda row: -row.size):
        places[row] = (number[row.clustering], row.clustering)
        number[row.clustering] += 1
    return sorted(rows, key=lambda row: places[row])


def reason_of(row: ClusterRow, focus_power: float = EvidenceScorer.focus_power) -> str:
    """Say why :class:`EvidenceScorer` and the thresholds called a cluster what they did.

    Args:
        row: The cluster.
        focus_power: Exponent of the focus in the score.

    Example:
        >>> row = ClusterRow(0, 3, "cyst", 0.1, 9, 4.0, 0.5, 0.9, 0.1, 0.0, 0.0, "irrelevant")
        >>> reason_of(row)
        'It is no more frequent in slices with the tag than in others.'
        >>> reason_of(row._replace(purity=0.8, focus=0.2, score=0.02, relevance=0.05))
        'Above all, it spreads over slices (focus 0.20). It is 4.0 times as frequent with the tag.'
    """
    if not row.slices:
        return "It occurs in no slice with the tag."
    rarity = float(excess(torch.tensor(row.purity)))
    if not rarity:
        return "It is no more frequent in slices with the tag than in others."
    place = max(row.focus, 0.0) ** focus_power
    times = row.purity / max(1 - row.purity, 1e-3)
    ratio = f"{times:.1f}" if times < 10 else f"{times:.0f}" if times < 100 else "over 100"
    frequent = f"{ratio} times as frequent with the tag"
    if row.decision == "relevant":
        return f"It is {frequent}, and has a focus of {row.focus:.2f}."
    rest = row.score / max(rarity * place, 1e-6)  # activation, and the outer class if there is one
    weakest = min((rarity, "rarity"), (place, "place"), (rest, "rest"))[1]
    if weakest == "rarity":
        return f"Above all, it is only {frequent}."
    if weakest == "place":
        return f"Above all, it spreads over slices (focus {row.focus:.2f}). It is {frequent}."
    return (
        f"Above all, the network sees little there (activation {row.activation:.2f}), or it is as "
        f"frequent in an outer class. It is {frequent}."
    )


def looks_of(distances: Sequence[float], modalities: Sequence[str]) -> str:
    """Say how bright a cluster is in the modalities in which it stands out.

    Args:
        distances: From the mean of the body, in standard deviations, by modality.
        modalities: Their names.

    Example:
        >>> looks_of([1.84, -0.7, 0.1], ["FLAIR", "T1", "T2"])
        'bright in FLAIR (+1.8), dark in T1 (-0.7)'
    """
    order = np.argsort(-np.abs(distances), kind="stable")
    named = [n for n in order if abs(distances[n]) >= STANDS_OUT]
    words = [
        f"{'bright' if distances[n] > 0 else 'dark'} in {modalities[n]} ({distances[n]:+.1f})"
        for n in named[:3]
    ]
    return ", ".join(words) or "of medium brightness everywhere"


def _no_clusters(run: RunFolder) -> str:
    first = run.setting("model", "init_args", "targets", "init_args", "checkpoint")
    if first:
        return (
            f"This run has no clusters: it learned from the masks of the first stage, {first}. "
            "The report of the folder of that run shows its clusters."
        )
    callbacks = run.setting("trainer", "callbacks") or []
    named = any("ClusterReSupervision" in str(one.get("class_path")) for one in callbacks)
    if named:
        return "No refresh was due yet; train for more epochs than warmup_epochs."
    return "This run has no clusters: it was trained without ClusterReSupervision."


def _scorer(run: RunFolder) -> tuple[str, dict[str, Any]]:
    """Return the name of the scorer and its options."""
    for callback in run.setting("trainer", "callbacks") or []:
        scorer = (callback.get("init_args") or {}).get("scorer")
        if scorer:
            return scorer["class_path"].rpartition(".")[2], scorer.get("init_args") or {}
    return "EvidenceScorer", {}


def _clustered(run: RunFolder, clusters: Clusters, class_: int) -> ClusteredSlices | None:
    """Assign the pixels of some training slices that are tagged with a class to their clusters."""
    if run.store is None:
        return None
    data = SliceDataset(run.store, run.splits["train"])
    tagged = (data.tags[:, class_] > 0.5).nonzero()[:, 0]
    rows = tagged[evenly_spaced(len(tagged), SLICES_SEARCHED)].tolist()
    if not rows:
        return None
    batch = data.__getitems__(rows)
    labels = []
    module: Any = run.module
    with torch.inference_mode():
        for start in range(0, len(rows), SEARCHED_TOGETHER):
            part = {key: value[start : start + SEARCHED_TOGETHER] for key, value in batch.items()}  # type: ignore[index]
            labels.append(clusters.label_maps(module.embed_pixels(part, activation=False)))
    pixel = run.spec.pixel or (1.0, 1.0)
    return ClusteredSlices(
        batch["image"].numpy(),
        batch["valid"].numpy(),
        torch.cat(labels).numpy(),
        pixel[0] / pixel[1],
    )


def _show(
    run: RunFolder, row: ClusterRow, slices: ClusteredSlices | None, reason: str
) -> ShownCluster:
    if slices is None:
        return ShownCluster(row, "", reason, [])
    where = row.clustering, row.cluster
    colour = DECISION_COLOURS[row.decision]
    pictures = slices.pictures(*where, count=PICTURES_OF_A_CLUSTER, colour=colour)
    looks = looks_of(slices.intensities(*where).tolist(), run.spec.modalities)
    title = f"pixels of cluster {row.clustering + 1}.{row.cluster + 1}"
    return ShownCluster(
        row, looks if pictures else "", reason, [figure(p, title) for p in pictures]
    )
