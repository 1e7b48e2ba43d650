"""Whether there is space on the disk for a training, before it starts."""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning import LightningModule, Trainer

from wsseg.clustering.callback import clusterings_of
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.utils.files import check_space

SIDE_BY_SIDE = 2  # new maps and checkpoints are written before the former ones are deleted
OF_OPTIMISER = 2  # numbers that Adam keeps of each weight


def check_space_of_run(trainer: Trainer, module: LightningModule, data: MRISliceDataModule) -> None:
    """Refuse to start a training whose cluster maps and checkpoints do not fit on the disk.

    Args:
        trainer: The trainer.
        module: The module.
        data: The data.

    Raises:
        InputError: Fewer bytes are free in the run's folder than they take.
    """
    weights = sum(tensor.nbytes for tensor in module.state_dict().values())
    trained = sum(weight.nbytes for weight in module.parameters() if weight.requires_grad)
    size = weights + OF_OPTIMISER * trained
    if clusterings_of(trainer):
        height, width = data.spec.size
        slices = sum(len(case.tags) for case in data.splits["train"])
        size += slices * len(data.spec.classes) * height * width  # a byte for each pixel
    check_space(Path(trainer.default_root_dir), SIDE_BY_SIDE * size, "the training")
