"""The callback that clusters the pixels of the training set and adds cluster maps to batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from wsseg.clustering.adapter import ClassifierAdapter
from wsseg.clustering.checks import check_known, check_pixels, check_same_slices
from wsseg.clustering.clusters import Clusters
from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.kmeans import load_faiss
from wsseg.clustering.map_refresh import RegionRefresh
from wsseg.clustering.options import ClusteringOptions
from wsseg.clustering.refresh import Refresh
from wsseg.clustering.scorers import EvidenceScorer, Scorer, check_scorer
from wsseg.clustering.slices import TrainingSlices
from wsseg.clustering.source import EmbeddingSource, check_batch
from wsseg.clustering.table import ClusterTable
from wsseg.clustering.views import View, check_views
from wsseg.utils.distributed import current_collective
from wsseg.utils.errors import InputError
from wsseg.utils.isolation import common_buffers, evaluating, untouched_generators
from wsseg.utils.lightning import LightningCallback, is_last_epoch, join_metrics
from wsseg.utils.map_keeper import MapKeeper
from wsseg.utils.targets import CLUSTER_MAP, resize, to_targets


class ClusterReSupervision(LightningCallback):
    """Clusters the pixels of the training set, and adds cluster maps to training batches.

    It works with any LightningModule that has ``embed_pixels(batch) -> PixelEmbeddings`` and whose
    training batches are dictionaries with an ``index`` [B] (ids of the slices). After the warm-up
    every training batch also has a ``cluster_map`` [B, C, H, W] for the module's loss: 1 where the
    class is, 0 where it is not, -1 where that is unknown. Maps are added before ``training_step``;
    augmentation that moves pixels must move them as well, and therefore belongs there.

    With ``adapter=ClassifierAdapter()`` it also works with classifiers of images that have and do
    nothing of this, see :class:`~wsseg.clustering.adapter.ClassifierAdapter`.

    The README beside this file says what else a module and a data set may provide for better maps,
    and what is logged under ``clusters/`` after each refresh. Checkpoints contain the clusters and
    the maps; a resumed run continues with them.

    Attributes:
        clusters: The clusters of the last refresh, None before the first.
        maps: Keeps the maps; see :meth:`lookup`.
        report: Numbers that were logged of the last refresh, by name.
        table: What the last refresh found of each cluster; None before the first, and of clusters
            within slices.

    Example:
        >>> callback = ClusterReSupervision(clustering=ClusteringOptions(n_clusters=8))
        >>> callback.warmup_epochs, callback.clusters is None
        (1, True)
    """

    def __init__(
        self,
        warmup_epochs: int = 1,
        every_n_epochs: int = 1,
        clustering: ClusteringOptions = ClusteringOptions(),  # noqa: B008 - it is frozen
        scorer: Scorer | None = None,
        views: Sequence[View] | None = None,
        embed: Callable[[Any, Any], PixelEmbeddings] | None = None,
        adapter: ClassifierAdapter | None = None,
        dataloader: Callable[[], Any] | None = None,
        folder: str | None = None,
    ) -> None:
        """Set when and how to cluster.

        Args:
            warmup_epochs: Epochs before the first maps; 0 makes them before training.
            every_n_epochs: Epochs from one refresh to the next.
            clustering: How clusters are formed and their scores become maps.
            scorer: Scores the clusters by tags; ``EvidenceScorer()`` by default.
            views: Extra columns that some clusterings see beside the features, such as
                ``Asymmetry()``; by default the ``cluster_views`` of the module, if it has any.
            embed: ``embed(pl_module, batch)``, for modules without ``embed_pixels``. Like the
                latter it gets batches on the device, without ``on_after_batch_transfer``, which
                may augment; if that hook normalises, normalise here too.
            adapter: For classifiers of images, whose module, batches and ``training_step`` then
                stay as they are. No maps are kept: they are made of each batch.
            dataloader: Function that returns a loader of the training slices without augmentation,
                for data sets that augment; by default the trainer's loader. Its order is not used;
                slices that its sampler never draws are not clustered.
            folder: Folder of maps during training; by default ``cluster_maps`` in the trainer's
                root folder. Only files that the callback made are deleted.

        Raises:
            InputError: A value is out of range.
        """
        super().__init__()
        for name, value, least in (
            ("warmup_epochs", warmup_epochs, 0),
            ("every_n_epochs", every_n_epochs, 1),
        ):
            if not value >= least:
                raise InputError(f"ClusterReSupervision: {name} {value}: must be at least {least}")
        self.warmup_epochs = warmup_epochs
        self.every_n_epochs = every_n_epochs
        if not isinstance(clustering, ClusteringOptions):
            raise InputError(
                f"ClusterReSupervision: clustering {clustering!r}: must be ClusteringOptions(...)"
            )
        self.clustering = clustering
        self.scorer = check_scorer(scorer or EvidenceScorer())
        self.views = None if views is None else check_views(views)
        if embed is not None and adapter is not None:
            raise InputError("ClusterReSupervision: embed and adapter are both given; give one")
        if clustering.within_slices and adapter is not None:
            raise InputError(
                "ClusterReSupervision: clustering.within_slices works with embed_pixels only; "
                "leave it or the adapter out"
            )
        self.embed = embed
        self.adapter = adapter
        self.dataloader = dataloader
        self.maps = MapKeeper(folder)
        self.clusters: Clusters | None = None
        self.report: dict[str, float] = {}
        self.table: ClusterTable | None = None
        self._restored: dict[str, Any] = {}  # clusters of a checkpoint, before training starts
        self._epoch = -1  # the epoch that the maps were made for, -1 without maps
        self._data: str | None = None  # digest of the slices that the maps are of, if known
        self._fitted_until = 0  # global step at which a training with this object ended

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Check that the module can be clustered; restore the maps, or make the first."""
        if trainer.global_step < self._fitted_until:  # another training begins
            self._forget()
        collective = current_collective(trainer.strategy.root_device)
        if self.adapter is None:
            self.maps.open(trainer, collective)
        checking = collective.together("embedding the first slices")
        with checking, evaluating(pl_module), untouched_generators():
            load_faiss()  # so that its absence is reported now, not after the warm-up
            slices = self._slices(trainer)
            check_known(slices.known)
            if slices.streamed and self.adapter is None and collective.size > 1:
                raise InputError(
                    "several processes cannot share out an iterable data set to map its slices; "
                    "give ClusterReSupervision(dataloader=...) a DataLoader over a data set with a "
                    "length"
                )
            source = EmbeddingSource(slices, trainer, pl_module, self.embed, self.adapter)
            if self.adapter is not None:
                for batch in source.batches(range(min(2, len(source)))):
                    self.adapter.attach(pl_module, batch, self._targets, collective.size > 1)
                    break
            first = check_pixels(source, self.clustering.n_clusters)
        check_same_slices(slices, first, collective)
        with collective.together("restoring the cluster maps"):
            self._restore(slices, pl_module)
        if not collective.rank:
            self._warn_if_never_due(trainer.max_epochs)
        self._refresh_if_due(trainer, pl_module, trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Make up for the refresh that follows validation, after which a checkpoint was saved."""
        self._refresh_if_due(trainer, pl_module, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Refresh the maps for the next epoch, if there is one; else log their numbers again."""
        join_metrics(trainer)
        former = self._epoch
        if not is_last_epoch(trainer):
            self._refresh_if_due(trainer, pl_module, trainer.current_epoch + 1)
        if self._epoch == former:
            again = {name: value for name, value in self.report.items() if "seconds" not in name}
            self._log(again, trainer, pl_module)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add cluster maps to the batch, at the resolution of its ``image`` if it has one."""
        if self.adapter is not None:
            return
        check_batch(batch)
        if self.maps.file is None:
            return
        relevance = self.maps.file.lookup(batch["index"])
        image = batch.get("image")
        if isinstance(image, Tensor):
            relevance = resize(relevance, *image.shape[-2:])
        batch[CLUSTER_MAP] = self._thresholded(relevance).to(batch["index"].device)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Delete the folder of maps; the maps stay in memory, compressed."""
        self._close(trainer)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Delete the folder of maps; the maps stay in memory, compressed."""
        if self.maps.folder is not None:
            trainer.strategy.barrier()  # the last hooks of other processes may still read the maps
        self._close(trainer)

    def lookup(self, index: Tensor) -> Tensor | None:
        """Return the targets of slices, during training and afterwards.

        Args:
            index: Ids of the slices, [B] int64; see :meth:`MapKeeper.lookup`.

        Returns:
            [B, C, h, w], 0, 1 or -1 to ignore a pixel; None while there are no maps, and with an
            adapter.
        """
        relevance = self.maps.lookup(index)
        return None if relevance is None else self._thresholded(relevance)

    def state_dict(self) -> dict[str, Any]:
        """Return clusters and maps for a checkpoint."""
        adapter = {} if self.adapter is None else self.adapter.state_dict()
        if self._epoch < 0 and not adapter:
            return {}
        clusters = self._restored if self.clusters is None else self.clusters.state_dict()
        maps = self.maps.state_dict()
        state: dict[str, Any] = {"epoch": self._epoch, "data": self._data}
        state |= {"clusters": clusters, "maps": maps}
        if self.table is not None:
            state["table"] = self.table.state_dict()
        return {**state, "adapter": adapter} if adapter else state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load clusters and maps of a checkpoint; they are used when training starts.

        Raises:
            InputError: An earlier version of wsseg wrote them.
        """
        if not state_dict:
            return
        if "clusters" not in state_dict or "frozen" in state_dict:
            raise InputError(
                "the checkpoint's clusters were written by an earlier version of wsseg; use that "
                "version, or train again"
            )
        self._fitted_until, self.clusters = 0, None
        self._epoch, self._data = state_dict["epoch"], state_dict["data"]
        self._restored = state_dict["clusters"]
        table = state_dict.get("table")  # earlier versions had none
        self.table = None if table is None else ClusterTable.from_state(table)
        self.maps.load_state_dict(state_dict["maps"])
        if self.adapter is not None:
            self.adapter.load_state_dict(state_dict.get("adapter", {}))

    def divides_slices(self, pl_module: Any) -> bool:
        """Return whether maps come from regions of each slice, not from clusters of all of them.

        Args:
            pl_module: The module that is trained.
        """
        if self.clustering.within_slices is None:
            return self.adapter is None and getattr(pl_module, "clusters_within_slices", False)
        return self.clustering.within_slices

    def _refresh_if_due(self, trainer: Any, pl_module: Any, epoch: int) -> None:
        """Refresh the maps if those that an epoch needs have not been made yet."""
        within = self.divides_slices(pl_module)
        due = self._latest_due(epoch)
        if due <= self._epoch or (within and self._epoch >= 0):
            return
        collective = current_collective(trainer.strategy.root_device)
        slices = self._slices(trainer)
        source = EmbeddingSource(slices, trainer, pl_module, self.embed, self.adapter)
        views = self._views_for(pl_module)
        shared = self.maps.folder, collective
        refresh: Refresh | RegionRefresh
        if within:
            refresh = RegionRefresh(source, self.scorer, *shared)
        else:
            refresh = Refresh(source, self.clustering, self.scorer, views, *shared)
        with common_buffers(pl_module, collective), evaluating(pl_module), untouched_generators():
            self.clusters, file = refresh.run(self.clusters, self.maps.file)
        if file is not None:
            self.maps.keep(file)
        self._epoch, self.report, self.table = due, refresh.report, refresh.table
        found = self.report.get("relevant_area", self.report.get("relevant_clusters"))
        if found == 0 and collective.rank == 0:
            warnings.warn(
                "no pixel of a tagged slice is relevant, so the cluster maps are empty; give "
                "features that separate the classes from other tissue, raise warmup_epochs until "
                "the activation shows them, or lower clustering.smoothing where objects are only a "
                "few pixels wide",
                stacklevel=2,
            )
        self._log(self.report, trainer, pl_module)

    @staticmethod
    def _log(report: dict[str, float], trainer: Any, pl_module: Any) -> None:
        named = {f"clusters/{name}": value for name, value in report.items()}
        pl_module.log_dict(named, batch_size=1, sync_dist=trainer.world_size > 1)

    def _latest_due(self, epoch: int) -> int:
        """Return the last epoch, up to this one, that needs new maps; -1 if there is none."""
        since = epoch - self.warmup_epochs
        return -1 if since < 0 else epoch - since % self.every_n_epochs

    def _warn_if_never_due(self, epochs: int | None) -> None:
        """Warn if training ends before the first refresh is due."""
        if epochs is None or epochs < 0 or self.maps.file is not None:
            return
        if self._latest_due(epochs - 1) < 0:
            warnings.warn(
                f"max_epochs {epochs}, warmup_epochs {self.warmup_epochs}: no cluster map is ever "
                "made; raise max_epochs or lower warmup_epochs",
                stacklevel=2,
            )

    def _slices(self, trainer: Any) -> TrainingSlices:
        slices = TrainingSlices(
            trainer.train_dataloader if self.dataloader is None else self.dataloader()
        )
        if self.adapter is not None:  # attributes of other data sets mean something else
            slices.known = None
        return slices

    def _targets(self, slices: PixelEmbeddings) -> tuple[Tensor, Tensor] | None:
        """Return cluster maps of a batch and the clusters' confidence, for the adapter."""
        if self.clusters is None:
            return None
        targets = self._thresholded(self.clusters.relevance(slices))
        return targets, self.clusters.confidence.to(targets.device)

    def _thresholded(self, relevance: Tensor) -> Tensor:
        return to_targets(relevance, self.scorer.low, self.scorer.high)

    def _views_for(self, pl_module: Any) -> Sequence[View]:
        """Return the views of the constructor, or else those of the module."""
        return getattr(pl_module, "cluster_views", ()) if self.views is None else self.views

    def _restore(self, slices: TrainingSlices, pl_module: Any) -> None:
        """Restore clusters and maps of a checkpoint, unless this run has other slices."""
        data = None if slices.known is None else slices.known.digest()
        if self._epoch >= 0 and None not in (data, self._data) and data != self._data:
            warnings.warn(
                "the checkpoint's cluster maps were made of other slices or tags than this run "
                "has; they are discarded and will be made again",
                stacklevel=2,
            )
            self._forget()
        self._data = data
        if self._restored:
            self.clusters = Clusters.from_state(self._restored, self._views_for(pl_module))
            self._restored = {}
        self.maps.restore()

    def _forget(self) -> None:
        """Discard clusters and maps."""
        self.maps.forget()
        if self.adapter is not None:
            self.adapter.forget()
        self.clusters, self.table, self._restored = None, None, {}
        self._data, self._epoch = None, -1

    def _close(self, trainer: Any) -> None:
        attached = self.adapter is not None and self.adapter.detach()
        if attached or self.maps.folder is not None:
            self._fitted_until = trainer.global_step
            self.maps.close()


def clusterings_of(trainer: Any) -> list[ClusterReSupervision]:
    """Return the callbacks of a trainer that cluster.

    Args:
        trainer: The Lightning trainer.
    """
    return [each for each in trainer.callbacks if isinstance(each, ClusterReSupervision)]
