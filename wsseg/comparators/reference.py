"""Cluster-Re-Supervision as its authors published it, batch by batch."""

from __future__ import annotations

import math
from typing import Any

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

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
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.options import Finishing, Optimisation
from wsseg.models.reconstruction import mask_patches
from wsseg.models.slice_module import SliceModule, SlicePrediction
from wsseg.utils.errors import check_option

RATE_EPOCHS, RATE_DECAY = 20, 0.9


class ReferenceCrs(SliceModule):
    """The authors' recipe, with its own network, optimiser and losses.

    Z. Kuang, Z. Yan, H. Zhou, L. Yu, "Cluster-Re-Supervision: Bridging the Gap Between Image-Level
    and Pixel-Wise Labels for Weakly Supervised Medical Image Segmentation", IEEE Journal of
    Biomedical and Health Informatics 27(10), 2023; details that the paper leaves open are those of
    the public code. Every batch is clustered afresh; clusters that vote for a class in untagged
    slices are pushed to 0, others that vote for it to 1.

    Four switches repair what is known to be wrong with the loss; all are off by default.
    ``experiments/reference/README.md`` says what is faithful here and what is adapted.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = ReferenceCrs(spec.to_dict(), base_width=2)
        >>> module(torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32, dtype=torch.bool)).shape
        torch.Size([4, 1, 32, 32])
    """

    class_weights: Tensor

    def __init__(
        self,
        spec: dict[str, Any],
        base_width: int = 64,
        mask_ratio: float = 0.01,
        n_clusters: int = 10,
        cluster_weight: float = 0.1,
        reconstruction_weight: float = 0.1,
        bounded_loss: bool = False,
        inside_cluster: bool = False,
        tagged_only: bool = False,
        anatomy_only: bool = False,
        optimisation: Optimisation = Optimisation(lr=1e-5, weight_decay=0.0, teacher_decay=0.0),
        finishing: Finishing = Finishing(refinement=0.0),
        augmentation: SliceAugmentation | None = None,
    ) -> None:
        """Build the network.

        Args:
            spec: The data specification.
            base_width: Channels of the finest of five levels; each level doubles them.
            mask_ratio: Share of the last modality's patches that are masked. That modality is
                reconstructed.
            n_clusters: Clusters of a batch.
            cluster_weight: Weight of the cluster loss.
            reconstruction_weight: Weight of the reconstruction.
            bounded_loss: Repair: keep maps away from 0 and 1 in the cluster loss, since a pixel of
                exactly 0 gets a gradient millions of times that of any other.
            inside_cluster: Repair: count a cluster's own pixels only, since all others are a
                constant, and they drown the pooled logits.
            tagged_only: Repair: push relevant clusters to 1 in tagged slices only.
            anatomy_only: Repair: cluster anatomy only, since background takes most clusters.
            optimisation: How the weights are trained: by Adam, whose learning rate is multiplied by
                0.9 every 20 epochs. As published, the last weights predict.
            finishing: What is done to the predicted masks of a case. As published, borders are not
                refined.
            augmentation: Random changes of training batches; by default ``SliceAugmentation()``.

        Raises:
            InputError: An option is out of range.
        """
        check_option(0 <= mask_ratio <= 1, "model.mask_ratio", mask_ratio, "from 0 to 1")
        check_option(n_clusters >= 1, "model.n_clusters", n_clusters, "at least 1")
        check_option(base_width >= 1, "model.base_width", base_width, "at least 1")
        for name, weight in (
            ("cluster_weight", cluster_weight),
            ("reconstruction_weight", reconstruction_weight),
        ):
            check_option(0 <= weight < math.inf, f"model.{name}", weight, "at least 0")
        super().__init__(
            self.build_network(DataSpec.from_dict(spec), base_width),
            spec,
            optimisation=optimisation,
            finishing=finishing,
            augmentation=augmentation,
        )
        self.register_buffer("class_weights", torch.full((self.num_classes, 2), 0.5))

    @staticmethod
    def build_network(spec: DataSpec, base_width: int) -> nn.Module:
        """Make the authors' network."""
        return ReferenceNetwork(len(spec.modalities), len(spec.classes), base_width)

    def on_fit_start(self) -> None:
        """Weigh background and class by their frequency in the training tags."""
        super().on_fit_start()
        tagged = training_tag_shares(self.trainer, self.num_classes)
        self.class_weights.copy_(torch.stack((tagged, 1 - tagged), dim=1))

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return suppression, classification, clusters and reconstruction of the last modality."""
        valid, tags = batch["valid"], batch["tags"]
        h = self.hparams
        slices, last = standardise_slices(seen, valid), seen.shape[1] - 1
        output = self.network(mask_patches(slices, h["mask_ratio"], last))
        with torch.autocast(seen.device.type, enabled=False):
            cam, logits = output.maps.cam.float(), output.maps.logits.float()
            clusters = self.judge_clusters(output.features, cam, valid, tags)
            target = reconstruction_target(seen[:, last], valid)
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

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices by the product of the maps of both heads."""
        maps: PairedMaps = network(standardise_slices(seen, valid)).maps
        tags = maps.logits.float().mean(dim=0).softmax(dim=2)[..., 1]
        return SlicePrediction(maps.cam[:, :, 1].float(), tags)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return Adam with a learning rate that falls in steps, as published."""
        optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=self.optimisation.lr,
            weight_decay=self.optimisation.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, RATE_EPOCHS, RATE_DECAY)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule}}
