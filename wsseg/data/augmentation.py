"""Random views of training slices, made on the device for the whole batch at once."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.data.spec import Batch
from wsseg.utils.errors import check_option
from wsseg.utils.global_batch import drawn, noise_like
from wsseg.utils.targets import CLUSTER_MAP, CORRECTED, IGNORE

TARGETS = (CLUSTER_MAP, "target", CORRECTED)  # what of a batch is moved without being blended


class SliceAugmentation(nn.Module):
    """Moves each slice of a batch, with its anatomy and its targets, and jitters intensities.

    Every slice draws its own transformation from torch's generator of the batch's device, the same
    in whichever process it lies. All strengths at 0 leave the batch exactly as it is.

    Example:
        >>> still = dict(rotation=0, scaling=0, gain=0, shift=0, gamma=0, noise=0)
        >>> image = torch.arange(4.0).reshape(1, 1, 1, 4)
        >>> batch = {"image": image, "valid": image[:, 0] >= 0}
        >>> SliceAugmentation(flip=1, **still)(batch)["image"]
        tensor([[[[3., 2., 1., 0.]]]])
    """

    def __init__(
        self,
        flip: float = 0.5,
        rotation: float = 15.0,
        scaling: float = 0.1,
        gain: float = 0.1,
        shift: float = 0.1,
        gamma: float = 0.1,
        noise: float = 0.05,
    ) -> None:
        """Set how strong the random changes are.

        Args:
            flip: Probability of a mirror image along the width (left-right on axial and coronal
                slices; set it to 0 for sagittal ones).
            rotation: Largest rotation to either side, in degrees.
            scaling: Largest relative change of size.
            gain: Largest relative change of a modality's contrast.
            shift: Largest change of a modality's brightness, in its standard deviations.
            gamma: Largest relative change of the exponent of a modality's intensity curve.
            noise: Largest standard deviation of added white noise.

        The defaults are mild, as is usual for such images; others were not measured.

        Raises:
            InputError: A value is out of range.
        """
        super().__init__()
        check_option(0 <= flip <= 1, "model.augmentation.flip", flip, "from 0 to 1")
        strengths = {"rotation": rotation, "scaling": scaling, "gain": gain, "shift": shift}
        for name, value in {**strengths, "gamma": gamma, "noise": noise}.items():
            check_option(0 <= value < math.inf, f"model.augmentation.{name}", value, "at least 0")
        self.flip = flip
        self.rotation = rotation
        self.scaling = scaling
        self.gain = gain
        self.shift = shift
        self.gamma = gamma
        self.noise = noise

    @torch.no_grad()
    def forward(self, batch: Batch) -> Batch:
        """Return a new batch of changed views; the given one stays as it is.

        Args:
            batch: A training batch, on any device.

        Returns:
            The batch with ``image``, ``valid`` and what there is of ``asymmetry``, ``cluster_map``,
            ``target`` and ``corrected`` moved together. What comes from outside the slice is not
            valid, and -1 (ignore) in the last three.
        """
        view = cast(Batch, dict(batch))
        if self.flip or self.rotation or self.scaling:
            self._move(view)
        view["image"] = self._jitter(view["image"], view["valid"]).to(batch["image"].dtype)
        return view

    def _move(self, view: Batch) -> None:
        image = view["image"]
        matrix = self._draw_matrices(len(image), image.device)
        grid = sampling_grid(matrix, image.shape[-2], image.shape[-1])
        given = {name: view[name] for name in TARGETS if name in view}  # type: ignore[literal-required]
        stacked = torch.cat(list(given.values()), dim=1) if given else None
        valid, labels, inside = warp_labels(view["valid"], stacked, grid)
        view["valid"] = valid
        asymmetry = [view["asymmetry"]] if "asymmetry" in view else []
        planes = torch.cat([image, *asymmetry], dim=1)
        moved = F.grid_sample(planes.float(), grid, "bilinear", "zeros", align_corners=False)
        moved = moved.mul_(valid[:, None]).to(image.dtype)
        view["image"] = moved[:, : image.shape[1]]
        if asymmetry:
            view["asymmetry"] = moved[:, image.shape[1] :]
        if labels is not None:
            labels = labels.masked_fill(~inside[:, None], IGNORE)
            parts = labels.split([each.shape[1] for each in given.values()], dim=1)
            view.update(zip(given, parts, strict=True))  # type: ignore[typeddict-item]

    def _draw_matrices(self, count: int, device: torch.device) -> Tensor:
        """Draw one matrix [2, 2] per slice from pixels of the view to pixels of the source."""
        angle = _uniform((count,), device) * math.radians(self.rotation)
        zoom = torch.exp(_uniform((count,), device) * math.log1p(self.scaling))
        return similarity(angle, zoom, drawn(torch.rand, (count,), device=device) < self.flip)

    def _jitter(self, image: Tensor, valid: Tensor) -> Tensor:
        inside = valid[:, None]
        shape = (*image.shape[:2], 1, 1)
        if self.gamma:
            exponent = torch.exp(_uniform(shape, image.device) * math.log1p(self.gamma))
            image = bend(image, inside, exponent)
        if self.gain:
            image = image * torch.exp(_uniform(shape, image.device) * math.log1p(self.gain))
        if self.shift:
            image = image + _uniform(shape, image.device) * self.shift
        if self.noise:
            level = drawn(torch.rand, shape, device=image.device) * self.noise
            image = noise_like(image).mul_(level).add_(image)
        return torch.where(inside, image, 0.0)


def similarity(angle: Tensor, zoom: Tensor, flip: Tensor) -> Tensor:
    """Return matrices [B, 2, 2] from angles in radians, zooms and mirror images, [B] each."""
    mirror = 1.0 - 2.0 * flip.float()
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    return torch.stack((mirror * cos, -mirror * sin, sin, cos), dim=-1).view(-1, 2, 2)


def sampling_grid(matrix: Tensor, height: int, width: int) -> Tensor:
    """Return where each pixel of a view lies in its source, for ``grid_sample``.

    Args:
        matrix: [B, 2, 2], from (x, y) of the view to (x, y) of the source, both in pixels from
            the centre of the slice.
        height: Height of the slice in pixels.
        width: Width of the slice in pixels.

    Returns:
        [B, H, W, 2] in ``grid_sample``'s units (``align_corners=False``).
    """
    size = torch.tensor([width, height], dtype=matrix.dtype)
    size = size.to(matrix.device, non_blocking=True)  # made there, it would wait for the device
    relative = matrix * size[None, None, :] / size[None, :, None]
    theta = F.pad(relative, (0, 1))
    # In mixed precision it would be rounded to a quarter of a pixel.
    with torch.autocast(matrix.device.type, enabled=False):
        return F.affine_grid(theta, [len(matrix), 1, height, width], align_corners=False)


def warp_labels(
    valid: Tensor, labels: Tensor | None, grid: Tensor
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Move values that must not be blended: each pixel takes that of its nearest source pixel.

    Args:
        valid: [B, H, W] bool.
        labels: [B, C, H, W] values, or None.
        grid: Sampling grid [B, H, W, 2].

    Returns:
        ``valid`` moved, ``labels`` moved, and where the source lies inside its slice [B, H, W].
    """
    planes = torch.stack([valid.float(), torch.ones_like(valid, dtype=torch.float32)], dim=1)
    if labels is not None:
        planes = torch.cat([planes, labels.float()], dim=1)
    moved = F.grid_sample(planes, grid, "nearest", "zeros", align_corners=False)
    return moved[:, 0] > 0.5, None if labels is None else moved[:, 2:], moved[:, 1] > 0.5


def bend(image: Tensor, inside: Tensor, exponent: Tensor) -> Tensor:
    """Apply a power curve to intensities over their own range, which it keeps.

    Args:
        image: [B, M, H, W].
        inside: [B, 1, H, W] bool, pixels that define the range and are changed.
        exponent: [B, M, 1, 1]; 1 changes nothing.

    Returns:
        [B, M, H, W].
    """
    low = image.masked_fill(~inside, math.inf).amin(dim=(-2, -1), keepdim=True)
    high = image.masked_fill(~inside, -math.inf).amax(dim=(-2, -1), keepdim=True)
    spread = high - low
    usable = inside & (spread > 0) & torch.isfinite(spread)
    # In place: a new tensor for every operation takes as long again.
    bent = (image - low).div_(spread).clamp_(0.0, 1.0).pow_(exponent).mul_(spread).add_(low)
    return torch.where(usable, bent, image)


def _uniform(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw from [-1, 1), in float32 whatever precision the networks have."""
    return drawn(torch.rand, shape, device=device, dtype=torch.float32) * 2.0 - 1.0
