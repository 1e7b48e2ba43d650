"""The data module: a slice store served as training, validation and test batches."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from wsseg.data.corrections import CorrectedSliceDataset, find_corrections, read_corrections
from wsseg.data.dataset import SliceDataset
from wsseg.data.hashes import hash_image
from wsseg.data.loading import SliceLoader, slice_loader, training_loader
from wsseg.data.masked import MaskedSliceDataset, masks_of
from wsseg.data.spec import DataSpec
from wsseg.data.store import CaseSlices, SliceStore
from wsseg.utils.errors import InputError

# Pictures that an epoch serves at least, each of a small set several times: too few steps learn
# nothing, and the number of epochs does not depend on the size of a set.
FEWEST_PICTURES = 256


class MRISliceDataModule(pl.LightningDataModule):
    """Serves the slices of a prepared store.

    Training batches hold image-level tags only. Validation and test batches also hold the true
    masks where the store has them.

    Example:
        >>> data = MRISliceDataModule(getfixture("tiny_store"), batch_size=4)
        >>> [case.id for case in data.splits["train"]]
        ['a', 'b', 'c', 'd']
        >>> data.setup("fit")
        >>> batch = next(iter(data.train_dataloader()))
        >>> batch["image"].shape, "mask" in batch
        (torch.Size([4, 2, 32, 32]), False)
    """

    def __init__(
        self,
        root: str,
        fold: int = 0,
        batch_size: int = 16,
        eval_batch_size: int = 32,
        num_workers: int = 0,
        corrections: str | None = None,
    ) -> None:
        """Open the store; the splits are laid out in :meth:`setup`.

        Args:
            root: Slice store written by ``wsseg prepare``.
            fold: Which of the store's splits to use.
            batch_size: Training slices per batch and process.
            eval_batch_size: Validation and test slices per batch and process.
            num_workers: Loader processes. The default reads in the main process, which beats
                workers for memory-mapped slices (no copy between processes).
            corrections: Folder with masks of training cases that a person has corrected, named as
                ``wsseg predict`` names them; each is believed in all its slices and classes.

        Raises:
            InputError: There is no store at ``root``, or it has no such fold, or a number is out of
                range.
        """
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("num_workers", num_workers, 0),
        ):
            if value < least:
                raise InputError(f"--data.{name} {value}: must be at least {least}")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.fold = fold
        self.corrections = corrections
        self.store = SliceStore(Path(root))
        self.spec: DataSpec = self.store.spec
        self.splits = self.store.split(fold)
        self.train_set: SliceDataset | None = None
        self.val_set: SliceDataset | None = None
        self.test_set: SliceDataset | None = None
        self._order_seed: int | None = None
        self._corrected = ""  # hash of the corrected masks that are learnt from
        self._learnt_from = {case.source for case in self.splits["train"]}

    def setup(self, stage: str) -> None:
        """Lay out the splits that a stage needs.

        Args:
            stage: "fit", "validate", "test" or "predict".

        Raises:
            InputError: A split is empty, training lacks tagged or untagged slices, or a corrected
                mask cannot be used.
        """
        if stage == "fit":
            self.train_set = self._training_set()
            self._check_tags(self.train_set.tags)
        if stage in ("fit", "validate") and (self.splits["val"] or stage == "validate"):
            self.val_set = self._evaluation_set("val")
        if stage == "test":
            self.test_set = self._evaluation_set("test")

    def train_dataloader(self) -> SliceLoader:
        """Return the shuffled training batches of this process."""
        if self._order_seed is None:
            self._order_seed = torch.initial_seed() % 2**32
        trainer, training = self.trainer, _ready(self.train_set)
        fewest = FEWEST_PICTURES if self.spec.of_pictures else 1
        return training_loader(
            training,
            self.batch_size,
            self.num_workers,
            seed=self._order_seed,
            epoch=trainer.current_epoch if trainer else 0,
            repeats=-(-fewest // len(training)),
            replicas=trainer.world_size if trainer else 1,
            rank=trainer.global_rank if trainer else 0,
        )

    def val_dataloader(self) -> SliceLoader | list[SliceLoader]:
        """Return the validation batches in store order, or nothing if the split is empty."""
        if self.val_set is None:
            return []
        return slice_loader(self.val_set, self.eval_batch_size, self.num_workers)

    def test_dataloader(self) -> SliceLoader:
        """Return the test batches in store order."""
        return slice_loader(_ready(self.test_set), self.eval_batch_size, self.num_workers)

    def state_dict(self) -> dict[str, Any]:
        """Return the seed of the training order, so that a resumed run keeps to it.

        Also the hashes of the training cases, by which :func:`trained_on` knows them again, and of
        those that any checkpoint was trained on that this run continues or learns from.
        """
        return {
            "order_seed": self._order_seed,
            "trained_on": sorted(self._learnt_from),
            "corrected": self._corrected,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the training order of a checkpoint, and what it was trained on."""
        self._order_seed = state_dict["order_seed"]
        self._learnt_from |= set(state_dict.get("trained_on", ()))
        if self.train_set is not None and state_dict.get("corrected", "") != self._corrected:
            warnings.warn(
                f"--data.corrections {self.corrections}: the corrected masks are not those that "
                "this run began with; give the original ones, or start a new run",
                stacklevel=2,
            )

    def learns_from(self, checkpoint: Mapping[str, Any]) -> None:
        """Count the training cases of a checkpoint, by its content, as those of this run, too."""
        self._learnt_from |= _sources(checkpoint)

    def _cases(self, split: str) -> list[CaseSlices]:
        cases = self.splits[split]
        if not cases:
            raise InputError(
                f"{self.store.root}: fold {self.fold} has no {split} case; choose another "
                "--data.fold, or prepare the store with more cases, or with a larger --val_fraction"
            )
        return cases

    def _training_set(self) -> SliceDataset:
        cases = self._cases("train")
        if self.corrections is None:
            return SliceDataset(self.store, cases)
        folder = Path(self.corrections)
        found = find_corrections(folder, self.store, self.fold)
        masks = read_corrections(found, self.store)
        parts = [f"{case} {hash_image(path, case)}" for case, path in sorted(found.items())]
        self._corrected = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        if self.trainer is None or self.trainer.is_global_zero:
            print(f"corrected masks: {len(masks)}, from {folder}", flush=True)
        return CorrectedSliceDataset(self.store, cases, masks)

    def _evaluation_set(self, split: str) -> SliceDataset:
        cases = self._cases(split)
        masks = masks_of(self.store)
        scored = [case for case in cases if case.id in masks]
        if not scored:
            return SliceDataset(self.store, cases)
        if len(scored) < len(cases):
            warnings.warn(
                f"{self.store.root}: {len(cases) - len(scored)} of {len(cases)} {split} cases "
                "have no mask and are not scored",
                stacklevel=2,
            )
        return MaskedSliceDataset(self.store, scored)

    def _check_tags(self, tags: torch.Tensor) -> None:
        for name, column in zip(self.spec.classes, tags.T, strict=True):
            tagged, untagged = int((column > 0.5).sum()), int((column <= 0.5).sum())
            for count, kind in ((tagged, "tagged"), (untagged, "untagged")):
                if count == 0:
                    raise InputError(
                        f"{self.store.root}: no training slice of fold {self.fold} is {kind} "
                        f"`{name}`; training needs tagged and untagged slices, prepare the store "
                        "with more cases or other slices"
                    )


def data_of(trainer: pl.Trainer) -> MRISliceDataModule:
    """Return the data module that a trainer works with.

    Raises:
        InputError: It was given loaders, or a data module of another kind.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, MRISliceDataModule):
        raise InputError(
            f"a slice store is needed, got {type(data).__name__}; give the trainer an "
            "MRISliceDataModule"
        )
    return data


def check_tags_known(trainer: pl.Trainer, method: str) -> None:
    """Refuse to train on a store in which tags are unknown.

    Args:
        trainer: Its data are looked at if they are those of a store.
        method: Name of what cannot train on them.

    Raises:
        InputError: A tag of a training slice is unknown.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, MRISliceDataModule) or data.train_set is None:
        return
    if bool(data.train_set.tags.isnan().any()):
        raise InputError(
            f"{data.store.root}: some tags are unknown, and {method} needs all of them; prepare a "
            "store without these cases"
        )


def check_nothing_corrected(trainer: pl.Trainer, method: str) -> None:
    """Refuse corrected masks.

    Args:
        trainer: Its data are looked at if they are those of a store.
        method: Name of what does not learn from them.

    Raises:
        InputError: The data have corrected masks.
    """
    data = getattr(trainer, "datamodule", None)
    if isinstance(data, MRISliceDataModule) and data.corrections is not None:
        raise InputError(
            f"--data.corrections {data.corrections}: {method} learns from tags only; leave the "
            "option out, or train experiments/quickstart.yaml or experiments/segmentation.yaml"
        )


def trained_on(checkpoint: Mapping[str, Any], cases: Sequence[CaseSlices]) -> list[str]:
    """Return which cases a checkpoint was trained on, by name.

    Args:
        checkpoint: Its content.
        cases: The cases, of any store.
    """
    known = _sources(checkpoint)
    return [case.id for case in cases if case.source in known]


def _sources(checkpoint: Mapping[str, Any]) -> set[str]:
    # Lightning keeps a data module's state under the name of its class, perhaps a subclass.
    states = [state for state in checkpoint.values() if isinstance(state, Mapping)]
    return {source for state in states for source in state.get("trained_on", ())}


def _ready(dataset: SliceDataset | None) -> SliceDataset:
    if dataset is None:
        raise RuntimeError("MRISliceDataModule.setup(stage) must run before its loaders are made")
    return dataset
