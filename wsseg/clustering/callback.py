"""The callback that clusters a training set's pixels and gives batches their cluster maps."""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wsseg.clustering.checks import check_batch, check_common, check_known, check_pixels
from wsseg.clustering.embeddings import PixelEmbeddings, check_embeddings
from wsseg.clustering.kmeans import load_faiss
from wsseg.clustering.map_folder import MapFolder, close_map_folder, open_map_folder
from wsseg.clustering.refresh import Clusters, Refresh, Settings
from wsseg.clustering.scorers import EvidenceScorer, Scorer
from wsseg.clustering.source import EmbeddingSource
from wsseg.clustering.store import ClusterMaps
from wsseg.clustering.targets import resize, to_targets
from wsseg.utils.distributed import current_collective
from wsseg.utils.errors import InputError
from wsseg.utils.isolation import common_buffers, evaluating, untouched_generators
from wsseg.utils.lightning import LightningCallback, is_last_epoch, join_metrics


class ClusterReSupervision(LightningCallback):
    """Clusters the pixels of the training set and pulls activations to the relevant clusters.

    Works with any LightningModule that has ``embed_pixels(batch) -> PixelEmbeddings`` and whose
    training batches are dictionaries with an ``index`` [B] (the slice's id). After the warm-up
    every training batch also carries ``cluster_map`` [B, C, H, W]: 1 where the class is, 0 where
    it is not, -1 where the clusters do not say. Maps are looked up when the batch is on its
    device, so augmentation that moves pixels belongs into ``training_step``.

    It makes use of what it is offered. If the data set has tensors ``index`` [N] and ``tags``
    [N, C], untagged slices are not embedded for their maps, which are 0. If it also has ``case``
    [N] (the patient, whole numbers) and ``depth`` [N] (where a slice lies along the patient, in
    pixels), maps are smoothed from slice to slice, too. And ``embed_pixels(batch, activation=True,
    features=True)``, or with either of the two, is told (False) when it may leave the activation
    None, or the features without channels and the asymmetry None. It runs in inference mode.

    A checkpoint holds the clusters and the maps; a resumed run continues with them.

    After each refresh it logs, below ``clusters/``: ``relevant_clusters`` (for each clustering and
    class), ``support`` (effective number of patients that these come from), ``peak`` (votes that a
    class typically reaches in a tagged slice), ``relevant_area`` and ``churn`` (shares of the
    pixels of tagged slices that are relevant, and whose target has changed), ``every_n_epochs``
    (the interval from now on), and the ``seconds_`` of each stage.

    Attributes:
        settings: What refreshes are told.
        clusters: Those of the last refresh, None before the first.
        maps: Its maps while training goes on; :meth:`lookup` works afterwards, too.
        report: What was logged of it, by name.
    """

    def __init__(
        self,
        n_clusters: int = 64,
        n_clusterings: int = 4,
        warmup_epochs: int = 1,
        every_n_epochs: int = 1,
        last_refresh_epoch: int | None = None,
        steady: float = 0.05,
        evidence_slices: int = 128,
        sample_size: int = 50_000,
        iterations: int = 20,
        scorer: Scorer | None = None,
        smoothing: float = 1.0,
        low: float | None = None,
        high: float | None = None,
        dominance: float = 0.7,
        soft_targets: bool = False,
        momentum: float = 0.0,
        seed: int = 0,
        batch_key: str = "cluster_map",
        embed: Callable[[Any, Any], PixelEmbeddings] | None = None,
        dataloader: Callable[[], Any] | None = None,
        folder: str | None = None,
    ) -> None:
        """Set when to cluster and how.

        Args:
            n_clusters: Clusters per clustering (K).
            n_clusterings: Clusterings of different seeds whose scores are averaged (R). Every
                second one also sees the asymmetry, two of every four what is out of place, if the
                module gives asymmetry and appearance.
            warmup_epochs: Epochs before the first maps; 0 makes them before training.
            every_n_epochs: Epochs from one refresh of the maps to the next.
            last_refresh_epoch: No refresh for epochs after this one (counted from 0).
            steady: ``every_n_epochs`` doubles after a refresh that changes less than this share of
                the relevant area; 0 never doubles it.
            evidence_slices: Maximum number of slices used to form and score clusters.
            sample_size: Maximum number of pixels for k-means. More gain nothing: with K of 64 on
                MRI intensities, 50,000 and 200,000 leave the same variance within clusters (0.787
                and 0.783).
            iterations: Lloyd steps of k-means. The variance left within clusters is 0.83 after 5
                and 0.78 after 20.
            scorer: Scores the clusters; ``EvidenceScorer()`` by default.
            smoothing: Width in pixels of the Gaussian that smooths the averaged scores, within
                slices and, where it is known how they lie, from slice to slice; up to twice that
                where clusters separate lesions poorly.
            low: Pixels whose relevance is at most this are targets of 0, from 0 to ``high``; the
                scorer's by default.
            high: Pixels whose relevance exceeds this are targets of 1, above 0 and at most 1; the
                scorer's by default.
            dominance: Regions of a slice whose relevance nowhere reaches this share (from 0 to 1)
                of the slice's best are targets of 0; 0 keeps all regions.
            soft_targets: Make the relevance itself the target there, instead of 0 and 1.
            momentum: Weight of the old relevance when maps are refreshed, in [0, 1).
            seed: Chooses the sampled slices and starts k-means.
            batch_key: Where batches carry the map.
            embed: ``embed(pl_module, batch)``, for modules without ``embed_pixels``. Batches come
                as the loader makes them, on the device: ``on_after_batch_transfer`` is not called,
                since it may augment; what it normalises is to be normalised here.
            dataloader: Returns a loader over the training slices without augmentation, for data
                sets that augment; its order is not used. By default the trainer's own. Slices that
                its sampler never draws are not clustered.
            folder: Where maps are kept during training; by default ``cluster_maps`` in the
                trainer's ``default_root_dir``. Only what the callback put there is deleted.

        Raises:
            InputError: A value is out of range.
        """
        super().__init__()
        scorer = scorer or EvidenceScorer()
        low = scorer.low if low is None else low
        high = scorer.high if high is None else high
        for name, wrong, range_ in (
            ("n_clusters", n_clusters < 1, "at least 1"),
            ("n_clusterings", n_clusterings < 1, "at least 1"),
            ("warmup_epochs", warmup_epochs < 0, "at least 0"),
            ("every_n_epochs", every_n_epochs < 1, "at least 1"),
            ("steady", not 0 <= steady <= 1, "from 0 to 1"),
            ("evidence_slices", evidence_slices < 2, "at least 2"),
            ("sample_size", sample_size < n_clusters, "at least n_clusters"),
            ("iterations", iterations < 1, "at least 1"),
            ("smoothing", smoothing < 0, "at least 0"),
            ("low", not 0 <= low <= high, f"from 0 to high, {high:g}, and is {low:g}"),
            ("high", not 0 < high <= 1, "above 0, at most 1"),
            ("dominance", not 0 <= dominance <= 1, "from 0 to 1"),
            ("momentum", not 0 <= momentum < 1, "at least 0 and below 1"),
        ):
            if wrong:
                raise InputError(f"ClusterReSupervision: {name} must be {range_}")
        self.warmup_epochs = warmup_epochs
        self.every_n_epochs = every_n_epochs
        self.last_refresh_epoch = last_refresh_epoch
        self.steady = steady
        self.soft_targets = soft_targets
        self.batch_key = batch_key
        self.settings = Settings(
            scorer=scorer,
            n_clusters=n_clusters,
            n_clusterings=n_clusterings,
            evidence_slices=evidence_slices,
            sample_size=sample_size,
            iterations=iterations,
            smoothing=smoothing,
            low=low,
            high=high,
            dominance=dominance,
            momentum=momentum,
            seed=seed,
        )
        self.clusters: Clusters | None = None
        self.maps: ClusterMaps | None = None
        self.report: dict[str, float] = {}
        self._embed = embed
        self._dataloader = dataloader
        self._folder = folder
        self._epoch = -1  # the epoch that the maps were made for
        self._interval = every_n_epochs  # from there to the next refresh
        self._map_folder: MapFolder | None = None
        self._packed: dict[str, Any] = {}  # the maps while there is no file of them
        self._data: str | None = None  # which slices they are of, if that is known
        self._fitted_until = 0  # the step that this object's own training got to

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Check that the module can be clustered; restore the maps, or make the first."""
        if trainer.global_step < self._fitted_until:  # a training of another trainer begins
            self._forget()
        collective = current_collective(trainer.strategy.root_device)
        self._map_folder = open_map_folder(trainer, self._folder, collective)
        checking = collective.together("embedding the first slices")
        with checking, evaluating(pl_module), untouched_generators():
            load_faiss()  # now, rather than when it is needed and perhaps missing
            source = self._source(trainer, pl_module)
            check_known(source.known)
            first = check_pixels(source, self.settings.n_clusters)
        check_common(source, first, collective)
        with collective.together("restoring the cluster maps"):
            self._recognise(source)
            self._restore()
        self._warn_of_no_map(trainer.max_epochs, collective.rank)
        self._prepare(trainer, pl_module, trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Catch up: a checkpoint written during validation is older than its epoch's refresh."""
        self._prepare(trainer, pl_module, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Refresh the maps for the next epoch, if there is one."""
        join_metrics(trainer)
        if not is_last_epoch(trainer):
            self._prepare(trainer, pl_module, trainer.current_epoch + 1)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Give the batch its cluster maps, at the resolution of its ``image`` if it has one."""
        check_batch(batch)
        if self.maps is None:
            return
        relevance = self.maps.lookup(batch["index"])
        image = batch.get("image")
        if isinstance(image, Tensor):
            relevance = resize(relevance, *image.shape[-2:])
        batch[self.batch_key] = self._targets(relevance).to(batch["index"].device)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Clear the folder."""
        self._close(trainer)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Clear the folder; the maps stay in memory, packed, for a checkpoint or more epochs."""
        self._close(trainer)

    def lookup(self, index: Tensor) -> Tensor | None:
        """Return the targets of slices.

        Args:
            index: [B] int64, ids of slices.

        Returns:
            [B, C, h, w] in [0, 1] or -1 for pixels to ignore, such as all of a slice that is not
            trained on; None while there are no maps. After training the first process still has
            them, and unpacks them each time, so ask for many at once.
        """
        if self.maps is not None:
            return self._targets(self.maps.lookup_known(index))
        if not self._packed or not len(self._packed["maps"]):
            return None
        with tempfile.TemporaryDirectory() as folder:
            return self._targets(self._unpack(Path(folder)).lookup_known(index))

    def state_dict(self) -> dict[str, Any]:
        """Return clusters and maps as tensors, numbers and lists."""
        if self.clusters is None:
            return {}
        packed = self._packed if self.maps is None else self._pack(self.maps)
        # With these, the clusters alone can map any slice.
        settings = {name: getattr(self.settings, name) for name in ("low", "dominance")}
        return {
            "epoch": self._epoch,
            "interval": self._interval,
            "data": self._data,
            **settings,
            **packed,
            **vars(self.clusters),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over clusters and maps; the file is made when training starts."""
        if not state_dict:
            return
        self._fitted_until = 0
        self._epoch = state_dict["epoch"]
        self._interval = state_dict["interval"]
        self._data = state_dict["data"]
        self._packed = {key: state_dict[key] for key in ("version", "shape", "maps")}
        self.clusters = Clusters.of(state_dict)

    def _prepare(self, trainer: Any, pl_module: Any, epoch: int) -> None:
        """Refresh the maps if those for an epoch have not been made yet."""
        due = self._latest_due(epoch)
        if due <= self._epoch:
            return
        assert self._map_folder is not None
        collective = current_collective(trainer.strategy.root_device)
        source = self._source(trainer, pl_module)
        work = Refresh(source, self.settings, self._map_folder, collective)
        old = self.maps
        with common_buffers(pl_module, collective), evaluating(pl_module), untouched_generators():
            self.clusters, self.maps = work.run(self.clusters, old)
        if old is not None and self._map_folder.rank == 0:
            old.remove()
        self._epoch, self.report = due, work.report
        if self._is_steady():
            self._interval *= 2
        work.report["every_n_epochs"] = self._interval
        if work.report["relevant_area"] == 0 and collective.rank == 0:
            warnings.warn(
                "no pixel of a tagged slice is relevant, so the cluster maps are empty; give "
                "features that separate the classes from other tissue, or raise warmup_epochs "
                "until the activation shows them",
                stacklevel=2,
            )
        named = {f"clusters/{name}": value for name, value in work.report.items()}
        pl_module.log_dict(named, batch_size=1, sync_dist=collective.size > 1)

    def _latest_due(self, epoch: int) -> int:
        """Return the last epoch up to this one that begins with new maps; -1 if there is none."""
        if self.last_refresh_epoch is not None:
            epoch = min(epoch, self.last_refresh_epoch)
        first = self.warmup_epochs if self._epoch < 0 else self._epoch
        since = epoch - first
        return -1 if since < 0 else epoch - since % self._interval

    def _warn_of_no_map(self, epochs: int | None, rank: int) -> None:
        """Warn if training is over before the first map is due."""
        if epochs is None or epochs < 0 or self.maps is not None or rank:
            return
        if self._latest_due(epochs - 1) < 0:
            last = self.last_refresh_epoch
            until = "" if last is None else f", last_refresh_epoch {last}"
            warnings.warn(
                f"max_epochs {epochs}, warmup_epochs {self.warmup_epochs}{until}: no cluster map "
                "is ever made; raise max_epochs or lower warmup_epochs",
                stacklevel=2,
            )

    def _is_steady(self) -> bool:
        """Return whether the last refresh changed little; the first one has nothing to change."""
        relevant, changed = (self.report.get(name, 0.0) for name in ("relevant_area", "churn"))
        return "churn" in self.report and changed < self.steady * relevant

    def _source(self, trainer: Any, pl_module: Any) -> EmbeddingSource:
        loader = trainer.train_dataloader if self._dataloader is None else self._dataloader()
        if self._embed is None and not callable(getattr(pl_module, "embed_pixels", None)):
            raise InputError(
                f"{type(pl_module).__name__} has no embed_pixels(batch) -> PixelEmbeddings; add "
                "it, or give ClusterReSupervision(embed=...) a function (pl_module, batch)"
            )
        embed = partial(self._embed, pl_module) if self._embed else pl_module.embed_pixels
        told = inspect.signature(embed).parameters

        def embed_batch(batch: Any, **wanted: bool) -> PixelEmbeddings:
            check_batch(batch)
            asked = {part: wish for part, wish in wanted.items() if part in told}
            batch = pl_module.transfer_batch_to_device(batch, pl_module.device, 0)
            batch = trainer.precision_plugin.convert_input(batch)
            with torch.inference_mode(), trainer.precision_plugin.forward_context():
                return check_embeddings(embed(batch, **asked))

        return EmbeddingSource(loader, embed_batch)

    def _targets(self, relevance: Tensor) -> Tensor:
        settings = self.settings
        return to_targets(relevance, settings.low, settings.high, self.soft_targets)

    def _pack(self, maps: ClusterMaps) -> dict[str, Any]:
        """Return the maps for a checkpoint; the process that owns the folder does it."""
        if self._packed.get("version") != maps.version:
            owner = self._map_folder is not None and self._map_folder.rank == 0
            packed = maps.pack() if owner else torch.empty(0, dtype=torch.uint8)
            self._packed = {"version": maps.version, "shape": list(maps.shape), "maps": packed}
        return self._packed

    def _recognise(self, source: EmbeddingSource) -> None:
        """Forget clusters and maps of other slices, whose ids mean other images."""
        data = None if source.known is None else source.known.digest()
        if self._packed and None not in (data, self._data) and data != self._data:
            warnings.warn(
                "the checkpoint's cluster maps were made of other slices or tags than this run "
                "has; they are discarded and will be made again",
                stacklevel=2,
            )
            self._forget()
        self._data = data

    def _forget(self) -> None:
        """Start over, without clusters and maps."""
        self._packed, self.clusters, self.maps, self._data = {}, None, None, None
        self._epoch, self._interval = -1, self.every_n_epochs

    def _restore(self) -> None:
        """Write packed maps to the folder again."""
        if self._packed and self._map_folder is not None:
            self.maps = self._unpack(self._map_folder.path, self._map_folder.rank == 0)

    def _unpack(self, folder: Path, owner: bool = True) -> ClusterMaps:
        """Return the packed maps as a file, which their owner makes."""
        count, classes, height, width = self._packed["shape"]
        shape = (count, classes, height, width)
        maps = ClusterMaps(folder, shape, self._packed["version"])
        if owner:
            maps.unpack(self._packed["maps"])
        return maps

    def _close(self, trainer: Any) -> None:
        if self._map_folder is None:
            return
        self._fitted_until = trainer.global_step
        if self.maps is not None:
            self._packed = self._pack(self.maps)
        self.maps = None
        if self._map_folder.rank == 0:
            close_map_folder(self._map_folder)
        self._map_folder = None
