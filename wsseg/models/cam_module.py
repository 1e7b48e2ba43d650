"""The LightningModule: a CAM network trained on tags, and the reconstruction beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wsseg.clustering import Asymmetry, Deviation, PixelEmbeddings, View
from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.spec import Batch
from wsseg.models.cam_network import CamNetwork, CamOutput
from wsseg.models.encoders import build_encoder, check_levels
from wsseg.models.inclusion import containers, nest
from wsseg.models.losses import (
    classification_loss,
    cluster_loss,
    reconstruction_loss,
    suppression_loss,
)
from wsseg.models.network_input import batch_input
from wsseg.models.reconstruction import ReconstructionNetwork, mask_patches, modality_channel
from wsseg.models.slice_module import SliceModule, SlicePrediction


class CamModule(SliceModule):
    """Class activation maps from image-level tags.

    Alone it is plain CAM. With the ``ClusterReSupervision`` callback, batches carry a cluster map
    and the CAM is pulled to it; the callback takes its embeddings from the reconstruction network.
    All that is evaluated, clustered or shipped comes from the teacher, since the weights of single
    epochs vary too much.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        encoder: str = "unet",
        widths: Sequence[int] = (16, 32, 64, 96),
        embedding_widths: Sequence[int] = (16, 32, 64),
        mask_ratio: float = 0.0,
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
        sharpening: float = 1.0,
        smallest_component: float = 0.1,
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
            mask_ratio: Share of patches masked in the input of the reconstruction network. The
                paper masks; it gained nothing here (experiments/results), hence 0.
            mask_patch_size: Side of such a patch, in pixels.
            target_modality: The modality whose patches are masked; by default one is drawn for
                every slice.
            symmetry: Let network and clusters see how the two sides of a slice differ. For organs
                that are symmetric left to right, such as the brain; sagittal slices show one side
                only, and there it does nothing.
            classification_weight: Weight of the tag losses.
            suppression_weight: Weight of the loss on activation in untagged slices.
            cluster_weight: Weight of the cluster maps.
            reconstruction_weight: Weight of the reconstruction; 0 builds no reconstruction
                network, and the CAM network's own features are the embeddings.
            lr: Peak learning rate of AdamW (linear warm-up, then cosine decay to 0).
            weight_decay: Weight decay of AdamW.
            teacher_decay: Share of the averaged weights that every step keeps.
            sharpening: Strength of border refinement by each patient's own intensities; 0 leaves
                borders as predicted.
            smallest_component: Predicted components, connected in 3-D, below this share of the
                volume of the case's largest one are dropped; 0 keeps all, for diseases of many
                small lesions such as multiple sclerosis.
            augmentation: Random changes of training batches; by default ``SliceAugmentation()``.

        Raises:
            ValueError: ``encoder`` or ``target_modality`` is unknown, ``sharpening`` or
                ``smallest_component`` is out of range, or there are more levels than slices can be
                halved for.
        """
        super().__init__(spec, smallest_component, augmentation, sharpening, symmetry)
        check_levels("--model.embedding_widths", embedding_widths, self.spec.size)
        modalities = len(self.spec.modalities)
        self.containers = containers(self.spec.classes)
        self.target_channel = (
            None
            if target_modality is None
            else modality_channel(target_modality, self.spec.modalities)
        )
        built = build_encoder(encoder, self.input_channels, widths, self.spec.size)
        self.adopt(CamNetwork(built, self.num_classes), teacher_decay)
        self.reconstruction = (
            ReconstructionNetwork(modalities, embedding_widths) if reconstruction_weight else None
        )
        self.to(memory_format=torch.channels_last)

    def predict(self, image: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices with the teacher; no class is more probable than one that contains it."""
        output: CamOutput = self.teacher(self.input_of(image, valid), valid)
        probability = torch.sigmoid(output.cam) * valid[:, None]
        tags = output.slice_logits.mean(dim=0).sigmoid()
        return SlicePrediction(nest(probability, self.containers), tags)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Add up the weighted losses of one augmented batch."""
        view = self.augment(batch)
        output = self.network(batch_input(view), view["valid"])
        losses = {
            "classification": classification_loss(output.slice_logits, view["tags"]),
            "suppression": suppression_loss(output.cam, view["valid"], view["tags"]),
        }
        if "cluster_map" in view:
            losses["cluster"] = cluster_loss(output.cam, view["valid"], view["cluster_map"])
        if self.reconstruction is not None:
            losses["reconstruction"] = self._reconstruct(view)
        return self.add_up(
            {name: self.hparams[f"{name}_weight"] * loss for name, loss in losses.items()}, view
        )

    @property
    def cluster_views(self) -> list[View]:
        """What clusterings see beside the features, if the callback is not told otherwise."""
        return [Asymmetry(), Deviation()] if self.symmetric else [Deviation()]

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
            output: CamOutput = self.teacher(self.input_of(image, valid), valid)
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

    def _reconstruct(self, view: Batch) -> Tensor:
        assert self.reconstruction is not None
        masked = mask_patches(
            view["image"],
            self.hparams["mask_ratio"],
            self.hparams["mask_patch_size"],
            self.target_channel,
        )
        return reconstruction_loss(self.reconstruction(masked), view["image"], view["valid"])
