"""Cluster-Re-Supervision as its authors published it, batch by batch."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.comparators.base import Comparator
from wsseg.comparators.paired_maps import (
    PairedMaps,
    training_tag_shares,
    weighted_cross_entropy,
    wrong_channel_loss,
)
from wsseg.comparators.reference_losses import (
    cluster_batch,
    cluster_loss,
    reconstruction_target,
    standardise_slices,
)
from wsseg.comparators.reference_network import ReferenceNetwork
from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.spec import Batch
from wsseg.models.reconstruction import mask_patches, modality_channel
from wsseg.models.slice_module import SlicePrediction

RATE_EPOCHS, RATE_DECAY = 20, 0.9


class ReferenceCrs(Comparator):
    """The authors' recipe, with its own network, optimiser and losses.

    Z. Kuang, Z. Yan, H. Zhou, L. Yu, "Cluster-Re-Supervision: Bridging the Gap Between Image-Level
    and Pixel-Wise Labels for Weakly Supervised Medical Image Segmentation", IEEE Journal of
    Biomedical and Health Informatics 27(10), 2023; details that the paper leaves open are those of
    the public code. Every batch is clustered afresh; clusters that vote for a class in untagged
    slices are pushed to 0, others that vote for it to 1.

    Four switches repair what is known to be wrong with the loss; all are off by default.
    ``experiments/reference/README.md`` says what is faithful here and what is adapted.
    """

    class_weights: Tensor

    def __init__(
        self,
        spec: dict[str, Any],
        base_width: int = 64,
        target_modality: str | None = None,
        mask_ratio: float = 0.01,
        mask_patch_size: int = 4,
        n_clusters: int = 10,
        cluster_weight: float = 0.1,
        reconstruction_weight: float = 0.1,
        bounded_loss: bool = False,
        inside_cluster: bool = False,
        tagged_only: bool = False,
        anatomy_only: bool = False,
        lr: float = 1e-5,
        teacher_decay: float = 0.0,
        sharpening: float = 0.0,
        smallest_component: float = 0.1,
        augmentation: SliceAugmentation | None = None,
    ) -> None:
        """Build the network.

        Args:
            spec: The data specification.
            base_width: Channels of the finest of five levels; each level doubles them.
            target_modality: The modality that is masked and reconstructed; by default the last.
            mask_ratio: Share of its patches that are masked.
            mask_patch_size: Side of such a patch, in pixels.
            n_clusters: Clusters of a batch.
            cluster_weight: Weight of the cluster loss.
            reconstruction_weight: Weight of the reconstruction.
            bounded_loss: Repair: keep maps away from 0 and 1 in the cluster loss, since a pixel of
                exactly 0 gets a gradient millions of times that of any other.
            inside_cluster: Repair: count a cluster's own pixels only, since all others are a
                constant, and they drown the pooled logits.
            tagged_only: Repair: push relevant clusters to 1 in tagged slices only.
            anatomy_only: Repair: cluster anatomy only, since background takes most clusters.
            lr: Learning rate of Adam, multiplied by 0.9 every 20 epochs.
            teacher_decay: 0, as published: predict with the last weights.
            sharpening: Strength of border refinement by each patient's own intensities, as in
                wsseg's own modules; 0, as published, leaves borders as predicted.
            smallest_component: Predicted components, connected in 3-D, below this share of the
                volume of the case's largest one are dropped; 0 keeps all.
            augmentation: Random changes of training batches.

        Raises:
            ValueError: There is no such modality, or a value is out of range.
        """
        super().__init__(
            spec,
            lr=lr,
            teacher_decay=teacher_decay,
            sharpening=sharpening,
            smallest_component=smallest_component,
            augmentation=augmentation,
        )
        modalities = self.spec.modalities
        self.target_channel = modality_channel(
            modalities[-1] if target_modality is None else target_modality, modalities
        )
        self.register_buffer("class_weights", torch.full((self.num_classes, 2), 0.5))

    def build_network(self) -> nn.Module:
        """Make the authors' network."""
        modalities = len(self.spec.modalities)
        return ReferenceNetwork(modalities, self.num_classes, self.hparams["base_width"])

    def on_fit_start(self) -> None:
        """Weigh background and class by their frequency in the training tags."""
        tagged = training_tag_shares(self.trainer, self.num_classes)
        self.class_weights.copy_(torch.stack((tagged, 1 - tagged), dim=1))

    def losses(self, view: Batch) -> dict[str, Tensor]:
        """Suppression, classification, clusters and reconstruction."""
        image, valid, tags = view["image"], view["valid"], view["tags"]
        h = self.hparams
        masked = mask_patches(
            standardise_slices(image, valid),
            h["mask_ratio"],
            h["mask_patch_size"],
            self.target_channel,
        )
        output = self.network(masked)
        with torch.autocast(image.device.type, enabled=False):
            cam, logits = output.maps.cam.float(), output.maps.logits.float()
            clusters = self.judge_clusters(output.features, cam, valid, tags)
            target = reconstruction_target(image[:, self.target_channel], valid)
            return {
                "suppression": wrong_channel_loss(cam, tags),
                "classification": torch.stack(
                    [weighted_cross_entropy(each, tags, self.class_weights) for each in logits]
                ).sum(),
                "cluster": h["cluster_weight"] * clusters,
                "reconstruction": h["reconstruction_weight"]
                * F.l1_loss(output.reconstruction.float(), target),
            }

    def judge_clusters(self, features: Tensor, cam: Tensor, valid: Tensor, tags: Tensor) -> Tensor:
        """Cluster the pixels of a batch and return the loss of their clusters.

        Args:
            features: [B, D, H, W].
            cam: [B, C, 2, H, W].
            valid: [B, H, W] bool.
            tags: [B, C], 0 or 1.
        """
        h = self.hparams
        k = h["n_clusters"]
        labels = cluster_batch(features, valid, k, self.global_step, anatomy_only=h["anatomy_only"])
        return cluster_loss(
            cam,
            labels,
            tags,
            self.class_weights,
            k,
            bounded=h["bounded_loss"],
            inside=h["inside_cluster"],
            tagged_only=h["tagged_only"],
        )

    def predict_with(self, network: nn.Module, image: Tensor, valid: Tensor) -> SlicePrediction:
        """See :meth:`Comparator.predict_with`."""
        maps: PairedMaps = network(standardise_slices(image, valid)).maps
        tags = maps.logits.float().mean(dim=0).softmax(dim=2)[..., 1]
        return SlicePrediction(maps.cam[:, :, 1].float(), tags)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam with a learning rate that falls in steps, as published."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.hparams["lr"])
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, RATE_EPOCHS, RATE_DECAY)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule}}
