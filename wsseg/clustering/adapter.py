"""Lets the callback work on somebody else's classifier, which stays as it is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.clustering.batch_reading import Entry, are_ids, check_image, read_entry, to_tags
from wsseg.clustering.cam_layers import CONTRACT
from wsseg.clustering.cam_shape import cam_shape, shape_loss
from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.image_features import FrozenLayer, image_features
from wsseg.clustering.watching import Seen, WatchedLayers, find_layers, run
from wsseg.utils.errors import InputError
from wsseg.utils.isolation import evaluating

Targets = Callable[[PixelEmbeddings], tuple[Tensor, Tensor] | None]
"""Makes cluster maps [B, C, h, w] of embeddings, and says how sure the clusters are of each class
[C]; returns None while there are no clusters."""


class ClassifierAdapter:
    """Lets the callback work on a classifier of images that stays as it is.

    Module, batches and ``training_step`` need no change: while the module trains, hooks see the
    image that its network is given and the class activation map (CAM) that it makes of it. Of the
    same image clusters make a cluster map, and ``loss_weight`` times the
    :func:`~wsseg.clustering.cam_shape.shape_loss` is added to what ``training_step`` returns. The
    image may therefore have been augmented in any way, and slices need no ids.

    Networks that pool their last feature map by the mean and end in a linear layer need no options,
    nor do those that pool a CAM themselves, by the mean or the maximum. Batches need none if they
    are tuples of image and label, or dictionaries with usual names.

    Example:
        >>> head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), head)
        >>> ClassifierAdapter().cam(network, torch.rand(4, 3, 16, 16)).shape
        torch.Size([4, 2, 16, 16])
    """

    def __init__(
        self,
        features: str | None = None,
        cam: str | None = None,
        classifier: str | None = None,
        image: Entry = None,
        tags: Entry = None,
        background: int | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        """Set what cannot be found, or is found wrongly.

        Args:
            features: Layer whose output [B, D, h, w] is clustered, with the weights that it has
                when training starts; name one if these are pretrained. By default local means and
                contrasts of the image are clustered.
            cam: Layer that returns the last feature map, or the CAM itself, [B, C, h, w].
            classifier: Linear layer that makes class logits of the last feature map; by default the
                last one that is given as many features as ``cam`` returns, if any.
            image: Where images [B, M, H, W] stand in a batch: a key, a position, or a function of
                the batch.
            tags: Likewise for class ids [B], or 0 or 1 for each class [B, C].
            background: Number of the output which means that no class is there. If class ids name
                one of two classes, it is 0.
            loss_weight: Weight of the loss that is added to the loss of ``training_step``.

        Raises:
            InputError: ``classifier`` is given without ``cam``, or the weight is negative.
        """
        if classifier is not None and cam is None:
            raise InputError(
                "ClassifierAdapter: classifier is given without cam; name the layer that returns "
                "the last feature map, too"
            )
        if not loss_weight >= 0:
            raise InputError(f"ClassifierAdapter: loss_weight {loss_weight}: must be at least 0")
        self.features, self.layer, self.classifier = features, cam, classifier
        self.image, self.tags, self.background = image, tags, background
        self.loss_weight = loss_weight
        self._layers: WatchedLayers | None = None
        self._frozen: FrozenLayer | None = None  # None if the image itself is clustered
        self._restored: Mapping[str, Tensor] = {}  # its weights of a checkpoint, before attach()
        self._guessed: int | None = None  # the background class of the training, if none is given
        self._detach: Callable[[], None] | None = None

    def cam(self, module: nn.Module, image: Tensor) -> Tensor:
        """Return the CAM of images, also after training, or of a module without the callback.

        Training finds out by itself that class id 0 of two means that nothing is there. A new
        adapter does not know it: give it ``background=0``, or what :meth:`state_dict` returned,
        which the callback writes into checkpoints, lest the CAM has a channel for "nothing".

        Args:
            module: The module, or a network.
            image: [B, M, H, W].

        Returns:
            The shape of the CAM from 0 to 1, at the resolution of the image, [B, C, H, W] without
            the background. Above 0.5 is the object, provided that the module says that the class
            is there.
        """
        with evaluating(module), torch.no_grad():
            if self._layers is None:
                self._find(module, image)
            with self._watched.watching(module) as seen:
                run(module, image)
            shape = cam_shape(self._logits(module, seen))
            return F.interpolate(shape, image.shape[-2:], mode="bilinear").clamp(0, 1)

    def attach(self, pl_module: Any, batch: Any, targets: Targets, synced: bool) -> None:
        """Find the layers, and have ``training_step`` return the loss of the cluster maps, too.

        Args:
            pl_module: The Lightning module, on its device.
            batch: A training batch.
            targets: Makes the cluster maps.
            synced: Whether several processes train.

        Raises:
            InputError: Layers are not found, or the batch or the module cannot be used.
        """
        if not pl_module.automatic_optimization:
            raise InputError(
                f"ClassifierAdapter: {type(pl_module).__name__} calls backward itself, so that no "
                f"loss can be added; use automatic optimisation, {CONTRACT}"
            )
        image, labels = self._image(batch), read_entry(batch, "tags", self.tags)
        with evaluating(pl_module):
            self._find(pl_module, image)
        self._guessed = 0 if self._watched.outputs == 2 and are_ids(labels, 2) else None
        if self._watched.features is not None and self._frozen is None:
            self._frozen = FrozenLayer(pl_module, self._watched.entry, self._watched.features)
            if self._restored:
                self._frozen.load_state_dict(self._restored)
        former = vars(pl_module).get("training_step")
        step = pl_module.training_step

        @functools.wraps(step)
        def taught(batch: Any, *args: Any, **kwargs: Any) -> Any:
            tags = self._tags(batch)  # before the step, which may change the batch
            with self._watched.watching(pl_module) as seen:
                output = step(batch, *args, **kwargs)
            if output is None:
                return None
            loss = self._loss(pl_module, tags, seen, targets, synced)
            if isinstance(output, Mapping):
                return {**output, "loss": output["loss"] + loss}
            return output + loss

        def detach() -> None:
            del pl_module.training_step
            if former is not None:
                pl_module.training_step = former

        pl_module.training_step, self._detach = taught, detach

    def detach(self) -> bool:
        """Restore ``training_step``, and return whether there was something to restore."""
        detach, self._detach = self._detach, None
        if detach is not None:
            detach()
        return detach is not None

    def forget(self) -> None:
        """Forget the frozen weights: another training begins; it guesses the background anew."""
        self._frozen, self._restored = None, {}

    def embed(self, pl_module: Any, batch: Any) -> PixelEmbeddings:
        """Embed the pixels of a batch, for a refresh; slices are numbered from 0."""
        with self._watched.watching(pl_module) as seen:
            run(pl_module, self._image(batch))
        return self._embeddings(pl_module, self._tags(batch), seen)

    def state_dict(self) -> dict[str, Any]:
        """Return frozen weights and the number of the background, for a checkpoint."""
        frozen = dict(self._restored) if self._frozen is None else self._frozen.state_dict()
        state = {"frozen": frozen, "background": self._background}
        return {name: value for name, value in state.items() if value not in (None, {})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what a checkpoint holds, for the next :meth:`attach` or :meth:`cam`."""
        self._frozen, self._restored = None, state.get("frozen", {})
        self._guessed = state.get("background")

    @property
    def _background(self) -> int | None:
        return self._guessed if self.background is None else self.background

    def _loss(
        self, pl_module: Any, tags: Tensor, seen: Seen, targets: Targets, synced: bool
    ) -> Tensor | float:
        """Return the weighted loss of the cluster maps, and log it; 0 while there are none."""
        if seen.returned is None or not any(seen.given):
            raise InputError(
                f"ClassifierAdapter: training_step of {type(pl_module).__name__} did not run the "
                f"layers {self._watched.entry!r} and {self._watched.cam.layer!r} with gradients; "
                f"name layers that it runs, ClassifierAdapter(cam=...), {CONTRACT}"
            )
        with torch.no_grad():
            taught = targets(self._embeddings(pl_module, tags, seen))
        if taught is None:
            return 0.0
        cluster_map, confidence = taught
        loss = shape_loss(self._logits(pl_module, seen), cluster_map, confidence)
        tagged = tags[:, :, None, None] > 0.5
        area = ((cluster_map > 0) & tagged).sum() / tagged.expand_as(cluster_map).sum().clamp_min(1)
        pl_module.log_dict(
            {"clusters/loss": loss.detach(), "clusters/relevant_area": area},
            on_step=False,
            on_epoch=True,
            batch_size=len(tags),
            sync_dist=synced,
        )
        return self.loss_weight * loss

    def _find(self, module: nn.Module, image: Tensor) -> None:
        """Find the layers of a module in evaluation mode."""
        image = check_image(image)[:2]
        names = (self.layer, self.classifier, self.features)
        self._layers = find_layers(module, image, *names)
        background, outputs = self._background, self._layers.outputs
        if background is not None and not 0 <= background < outputs:
            raise InputError(
                f"ClassifierAdapter: background {background}: must be from 0 to {outputs - 1}, "
                "since it is the number of an output"
            )

    @property
    def _watched(self) -> WatchedLayers:
        assert self._layers is not None, "call attach() first"
        return self._layers

    def _embeddings(self, module: nn.Module, tags: Tensor, seen: Seen) -> PixelEmbeddings:
        """Embed the pixels of slices after a run on them."""
        image = seen.image
        args, kwargs = seen.given
        features = self._frozen(*args, **kwargs) if self._frozen else image_features(image)
        size = features.shape[2:]
        cam = F.interpolate(self._logits(module, seen), size, mode="bilinear")
        return PixelEmbeddings(
            features=features,
            activation=cam_shape(cam).clamp(0, 1),
            valid=torch.ones_like(features[:, 0], dtype=torch.bool),
            tags=tags,
            index=torch.arange(len(tags), device=tags.device),
            image=F.interpolate(image.float(), size, mode="bilinear", antialias=True),
        )

    def _image(self, batch: Any) -> Tensor:
        return check_image(read_entry(batch, "image", self.image))

    def _tags(self, batch: Any) -> Tensor:
        labels = read_entry(batch, "tags", self.tags)
        return self._classes(to_tags(labels, self._watched.outputs))

    def _logits(self, module: nn.Module, seen: Seen) -> Tensor:
        """Return the CAM of all classes, less that of the background, [B, C, h, w] float32."""
        assert seen.returned is not None
        cam = self._watched.cam.cam(module, seen.returned).float()
        return cam if self._background is None else self._classes(cam - cam[:, [self._background]])

    def _classes(self, values: Tensor) -> Tensor:
        """Return values [B, C, ...] without those of the background."""
        kept = [number for number in range(self._watched.outputs) if number != self._background]
        return values[:, kept]
