"""The LightningModule: a CAM network trained on tags, and the reconstruction beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torchmetrics.classification import BinaryAccuracy

from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.cam_network import CamNetwork, CamOutput
from wsseg.models.encoders import build_encoder
from wsseg.models.inclusion import containers, nest
from wsseg.models.losses import (
    classification_loss,
    cluster_loss,
    reconstruction_loss,
    suppression_loss,
)
from wsseg.models.reconstruction import ReconstructionNetwork, mask_patches, modality_channel
from wsseg.models.schedules import annealed_adamw, follow
from wsseg.models.sides import network_input, see, shows_both_sides, with_asymmetry


class CamModule(pl.LightningModule):
    """Class activation maps from image-level tags.

    Alone it is plain CAM. With the ``ClusterReSupervision`` callback, batches carry a cluster map
    and the CAM is pulled to it; the callback takes its embeddings from the reconstruction network.
    All that is evaluated, clustered or shipped comes from a slow average of the CAM network's
    weights (a mean teacher; Tarvainen and Valpola, NeurIPS 2017): single epochs wander.
    """

    threshold: float = 0.5
    """A pixel is predicted where its probability exceeds this. Fixed in advance, for every data
    set: it is the value to which the cluster loss calibrates the maps."""
    smallest_component: float = 0.1

    def __init__(
        self,
        spec: dict[str, Any],
        encoder: str = "unet",
        widths: Sequence[int] = (16, 32, 64, 96),
        embedding_widths: Sequence[int] = (16, 32, 64),
        mask_ratio: float = 0.1,
        mask_patch_size: int = 4,
        target_modality: str | None = None,
        symmetry: bool = True,
        classification_weight: float = 1.0,
        suppression_weight: float = 1.0,
        cluster_weight: float = 1.0,
        reconstruction_weight: float = 0.5,
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        teacher_decay: float = 0.98,
        augmentation: SliceAugmentation | None = None,
    ) -> None:
        """Build the networks.

        Args:
            spec: The data specification, ``MRISliceDataModule.spec.to_dict()``. It fixes the
                number of modalities and classes and travels in the checkpoint.
            encoder: Name of the CAM network's encoder, a key of ``wsseg.models.ENCODERS``.
            widths: Channels of each level of a "unet" encoder, finest first.
            embedding_widths: Channels of each level of the reconstruction network, finest first;
                the first is the size of a pixel's embedding.
            mask_ratio: Share of patches that reconstruction must fill in.
            mask_patch_size: Side of such a patch, in pixels.
            target_modality: The modality whose patches are masked; by default one is drawn for
                every slice.
            symmetry: Let network and clusters see how the two sides of a slice differ. For organs
                that are symmetric left to right, such as the brain; sagittal slices show one side
                only, and there it does nothing.
            classification_weight: Weight of the tag losses.
            suppression_weight: Weight of the activation in untagged slices.
            cluster_weight: Weight of the cluster maps.
            reconstruction_weight: Weight of the reconstruction; 0 builds no reconstruction
                network, and the CAM network's own features are the embeddings.
            lr: Peak learning rate of AdamW, see ``one_cycle``.
            weight_decay: Weight decay of AdamW.
            teacher_decay: How much of the averaged weights every step keeps, see :func:`follow`.
            augmentation: Random changes of training batches; by default ``SliceAugmentation()``.

        Raises:
            ValueError: If ``encoder`` or ``target_modality`` is unknown.
        """
        super().__init__()
        self.save_hyperparameters(ignore=["augmentation"])
        self.spec = DataSpec.from_dict(spec)
        modalities = len(self.spec.modalities)
        self.containers = containers(self.spec.classes)
        self.symmetric = symmetry and shows_both_sides(self.spec)
        self.target_channel = (
            None
            if target_modality is None
            else modality_channel(target_modality, self.spec.modalities)
        )
        self.network = CamNetwork(
            build_encoder(encoder, (3 if self.symmetric else 1) * modalities, widths),
            len(self.spec.classes),
        )
        self.teacher = AveragedModel(
            self.network, multi_avg_fn=partial(follow, decay=teacher_decay), use_buffers=True
        ).requires_grad_(False)
        self.reconstruction = (
            ReconstructionNetwork(modalities, embedding_widths) if reconstruction_weight else None
        )
        self.to(memory_format=torch.channels_last)
        self.augmentation = augmentation or SliceAugmentation()
        self.tag_accuracy = BinaryAccuracy()  # over all tags of all slices

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return the probability of every class at every pixel.

        Args:
            image: Normalised slices, [B, M, H, W].
            valid: Pixels that hold anatomy, [B, H, W] bool.

        Returns:
            [B, C, H, W] in [0, 1]; 0 outside anatomy. No class is more probable than one that
            contains it.
        """
        return nest(probability(self._look(image, valid).cam, valid), self.containers)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Add up the weighted losses of one augmented batch."""
        view = self.augmentation(with_asymmetry(batch) if self.symmetric else batch)
        output = self.network(network_input(view), view["valid"])
        losses = {
            "classification": classification_loss(output.slice_logits, view["tags"]),
            "suppression": suppression_loss(output.cam, view["valid"], view["tags"]),
        }
        if "cluster_map" in view:
            losses["cluster"] = cluster_loss(output.cam, view["valid"], view["cluster_map"])
        if self.reconstruction is not None:
            losses["reconstruction"] = self._reconstruct(view)
        total = torch.stack([self.hparams[f"{k}_weight"] * v for k, v in losses.items()]).sum()
        self.log("train/loss", total, prog_bar=True, batch_size=len(batch["index"]))
        self.log_dict(
            {f"train/{name}": loss for name, loss in losses.items()},
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=len(batch["index"]),
        )
        return total

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Let the teacher follow."""
        self.teacher.update_parameters(self.network)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``probability`` [B, C, H, W] and log how well tags are predicted."""
        output = self._look(batch["image"], batch["valid"])
        self.tag_accuracy(output.slice_logits.mean(dim=0).sigmoid(), batch["tags"])
        self.log("val/tag_accuracy", self.tag_accuracy, batch_size=len(batch["index"]))
        found = probability(output.cam, batch["valid"])
        return {"probability": nest(found, self.containers)}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``probability`` [B, C, H, W]; ``CaseEvaluation`` scores it."""
        return {"probability": self(batch["image"], batch["valid"])}

    def embed_pixels(self, batch: Batch, activation: bool = True) -> PixelEmbeddings:
        """Embed every pixel of a batch for the clustering callback.

        Args:
            batch: The slices.
            activation: Whether the class activation is needed; it is the costlier half.
        """
        image, valid = batch["image"], batch["valid"]
        seen = see(image, valid, self.symmetric)
        features = None if self.reconstruction is None else self.reconstruction(image).features
        cam: Tensor | None = None
        if activation or features is None:
            output: CamOutput = self.teacher(seen, valid)
            cam = torch.sigmoid(output.cam)
            features = output.features if features is None else features
        return PixelEmbeddings(
            features=features,
            activation=cam,
            valid=valid,
            tags=batch["tags"],
            index=batch["index"],
            group=batch["case"],
            stratum=batch["level"],
            asymmetry=seen[:, image.shape[1] :] if self.symmetric else None,
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, its learning rate warmed up and then annealed over the whole run."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return annealed_adamw(
            trained,
            self.hparams["lr"],
            self.hparams["weight_decay"],
            self.trainer.estimated_stepping_batches,
        )

    def _look(self, image: Tensor, valid: Tensor) -> CamOutput:
        output: CamOutput = self.teacher(see(image, valid, self.symmetric), valid)
        return output

    def _reconstruct(self, view: Batch) -> Tensor:
        assert self.reconstruction is not None
        masked = mask_patches(
            view["image"],
            self.hparams["mask_ratio"],
            self.hparams["mask_patch_size"],
            self.target_channel,
        )
        image = self.reconstruction(masked).image
        return reconstruction_loss(image, view["image"], view["valid"])


def probability(cam: Tensor, valid: Tensor) -> Tensor:
    """Turn logits [B, C, H, W] into probabilities, 0 where there is no anatomy [B, H, W]."""
    return torch.sigmoid(cam) * valid[:, None]
