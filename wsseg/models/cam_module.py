"""The module of the first stage: a CAM network trained on tags, and a reconstruction beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsseg.clustering import Asymmetry, Deviation, PixelEmbeddings, View
from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.spec import Batch, DataSpec, containers, nest
from wsseg.models.cam_network import CamOutput
from wsseg.models.encoders import build_encoder, check_levels, usual_encoder
from wsseg.models.losses import (
    classification_loss,
    cluster_loss,
    reconstruction_loss,
    suppression_loss,
)
from wsseg.models.network_input import input_channels, slice_input
from wsseg.models.options import Finishing, Optimisation
from wsseg.models.pixel_network import build_cam_network
from wsseg.models.reconstruction import ReconstructionNetwork, mask_patches
from wsseg.models.slice_module import SliceModule, SlicePrediction
from wsseg.utils.errors import check_option
from wsseg.utils.targets import CLUSTER_MAP, CORRECTED, with_corrected


class CamModule(SliceModule):
    """Class activation maps (CAM) from image-level tags.

    Alone it is plain CAM. With the ``ClusterReSupervision`` callback, batches carry a cluster map
    and the CAM is pulled to it; the callback takes its embeddings from the reconstruction network.
    The teacher makes all that is evaluated, clustered or shipped, since the weights of single
    epochs vary too much.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = CamModule(spec.to_dict(), widths=(8, 16), embedding_widths=(8, 16))
        >>> image, valid = torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32, dtype=torch.bool)
        >>> module(image, valid).shape  # the probability of each class at each pixel
        torch.Size([4, 1, 32, 32])
    """

    takes_unknown_tags = True
    takes_corrections = True

    def __init__(
        self,
        spec: dict[str, Any],
        encoder: str | None = None,
        widths: Sequence[int] = (16, 32, 64, 96),
        embedding_widths: Sequence[int] = (16, 32, 64),
        symmetry: bool | None = None,
        mask_ratio: float = 0.0,
        cluster_weight: float = 1.0,
        reconstruction_weight: float = 0.5,
        optimisation: Optimisation = Optimisation(),
        finishing: Finishing = Finishing(),
        augmentation: SliceAugmentation | None = None,
    ) -> None:
        """Build the networks.

        Args:
            spec: The data specification, ``MRISliceDataModule.spec.to_dict()``. It fixes the
                number of modalities and classes and travels in the checkpoint.
            encoder: Name of the CAM network's encoder, a key of ``wsseg.models.ENCODERS``. By
                default "unet", but "pretrained" for pictures, whose features are fixed, so
                that no reconstruction network is built.
            widths: Channels of each level of a "unet" encoder, finest first.
            embedding_widths: Channels of each level of the reconstruction network, finest first;
                the first is the size of a pixel's embedding.
            symmetry: Let network and clusters see how the two sides of a slice differ, as suits
                organs that are symmetric left to right, such as the brain; sagittal slices show one
                side only, and there it does nothing. By default as the plan of the data says.
            mask_ratio: Share of patches of 4x4 pixels that are masked in the input of the
                reconstruction network, in one modality drawn for every slice. The paper masks; it
                gained nothing here (experiments/results), hence 0.
            cluster_weight: Weight of the cluster maps; the losses of the tags have a weight of 1.
            reconstruction_weight: Weight of the reconstruction; 0 builds no reconstruction
                network, and the CAM network's own features are the embeddings.
            optimisation: How the weights are trained and averaged.
            finishing: What is done to the predicted masks of a case.
            augmentation: Random changes of training batches; by default ``SliceAugmentation()``.

        Raises:
            InputError: ``encoder`` is unknown, an option is out of range, or there are more levels
                than slices can be halved for.
        """
        check_option(0 <= mask_ratio <= 1, "model.mask_ratio", mask_ratio, "from 0 to 1")
        weights = {"cluster": cluster_weight, "reconstruction": reconstruction_weight}
        for name, weight in weights.items():
            check_option(0 <= weight < math.inf, f"model.{name}_weight", weight, "at least 0")
        data = DataSpec.from_dict(spec)
        check_levels("--model.embedding_widths", embedding_widths, data.size)
        channels = input_channels(data, symmetry)
        encoder = encoder or usual_encoder(data)
        built = build_encoder(encoder, channels, widths, data.size, data.plan.scales)
        super().__init__(
            build_cam_network(built, len(data.classes)),
            spec,
            symmetry=symmetry,
            optimisation=optimisation,
            finishing=finishing,
            augmentation=augmentation,
        )
        self.containers = containers(data.classes)
        self.mask_ratio = mask_ratio
        self.weights = weights
        self.reconstruction = (
            ReconstructionNetwork(len(data.modalities), embedding_widths)
            if reconstruction_weight and not built.fixed
            else None
        )
        self.to(memory_format=torch.channels_last)

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return the losses of tags, targets (of clusters or a person, if any) and embeddings."""
        output = self.network(seen, batch["valid"])
        self.said_of_tags = output.slice_logits.detach().mean(dim=0).sigmoid()
        losses = {
            "classification": classification_loss(output.slice_logits, batch["tags"]),
            "suppression": suppression_loss(output.cam, batch["valid"], batch["tags"]),
        }
        corrected = batch.get(CORRECTED)
        target = batch.get(CLUSTER_MAP, corrected)
        if target is not None:
            target = with_corrected(target, corrected)
            losses["cluster"] = cluster_loss(output.cam, batch["valid"], target)
        losses |= self.embedding_losses(batch)
        return {name: self.weights.get(name, 1.0) * loss for name, loss in losses.items()}

    def embedding_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the embeddings learn, which no tag may change: none if none are trained."""
        if self.reconstruction is None:
            return {}
        reconstructed = self.reconstruction(mask_patches(batch["image"], self.mask_ratio))
        loss = reconstruction_loss(reconstructed, batch["image"], batch["valid"])
        return {"reconstruction": loss}

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices; no class is more probable than one that contains it."""
        output: CamOutput = network(seen, valid)
        probability = nest(torch.sigmoid(output.cam), self.containers)
        return SlicePrediction(probability, output.slice_logits.mean(dim=0).sigmoid())

    @property
    def clusters_within_slices(self) -> bool:
        """Whether clusters are formed within each slice, if the callback is not told otherwise."""
        return self.spec.of_pictures and self.spec.cell is None

    @property
    def cluster_views(self) -> list[View]:
        """What clusterings see beside the features, if the callback is not told otherwise."""
        views = [(Asymmetry(), self.symmetric), (Deviation(), self.spec.plan.comparable)]
        return [view for view, holds in views if holds]

    def embed_pixels(
        self, batch: Batch, activation: bool = True, features: bool = True
    ) -> PixelEmbeddings:
        """Embed every pixel of a batch for the clustering callback.

        Args:
            batch: The slices.
            activation: Whether the class activation is needed; it is the costlier half.
            features: Whether the features are needed.
        """
        image, valid = batch["image"], batch["valid"]
        cam: Tensor | None = None
        embedding = image[:, :0]
        if activation or (features and self.reconstruction is None):
            output: CamOutput = self.teacher(slice_input(image, valid, self.symmetric), valid)
            cam, embedding = torch.sigmoid(output.cam), output.features
        if features and self.reconstruction is not None:
            embedding = self.reconstruction.embed(image)
        return PixelEmbeddings(
            features=embedding,
            activation=cam,
            valid=valid,
            tags=batch["tags"],
            index=batch["index"],
            case=batch["case"],
            level=batch["level"],
            image=image,
        )
