"""What training, evaluation and prediction must agree on about the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from wsseg.data.plan import Plan
from wsseg.data.readers.header import COLOURS, FEATURE

if TYPE_CHECKING:  # preparation spawns processes that need no torch
    from torch import Tensor

FORMAT = 3  # of slice stores; since 3 they hold the plan of their data set
AXES = ("sagittal", "coronal", "axial")  # in the order of RAS
FLAIR_NAMES = ("flair", "t2f")
# Pixels that are at most so many times as long as others are treated like them: patients differ in
# size by more than that. Not measured.
PIXEL_TOLERANCE = 1.05


class Batch(TypedDict):
    """A batch of slices as the data module serves it.

    ``mask`` exists in validation and test batches only; ``cluster_map`` only in training batches
    for which a clustering callback has made one, ``target`` where a segmentation network learns,
    ``corrected`` where the user gives masks that a person has corrected (all three with values in
    [0, 1], -1 to ignore a pixel).
    """

    image: Tensor  # [B, M, H, W] float32, 0 outside `valid`
    tags: Tensor  # [B, C] float32, 0, 1, or NaN where unknown
    valid: Tensor  # [B, H, W] bool, pixels that hold the body
    index: Tensor  # [B] int64, stable id of the slice in its store
    case: Tensor  # [B] int64, position of the slice's case in the manifest
    level: Tensor  # [B] int64, which eighth of its case the slice lies in
    cluster_map: NotRequired[Tensor]  # [B, C, H, W] float32
    target: NotRequired[Tensor]  # [B, C, H, W] float32
    corrected: NotRequired[Tensor]  # [B, C, H, W] float32, targets that a person has drawn
    asymmetry: NotRequired[Tensor]  # [B, 2M, H, W], see wsseg.clustering.asymmetry
    mask: NotRequired[Tensor]  # [B, C, H, W] bool


@dataclass(frozen=True)
class DataSpec:
    """How a volume becomes slices. A checkpoint carries it, so prediction needs nothing else.

    Attributes:
        modalities: Names of the input channels, in channel order.
        classes: For each class name, in channel order, the mask labels that make it.
        axis: Slicing axis on the canonical (RAS+) volume: "sagittal", "coronal" or "axial".
        spacing: In-plane pixel size in mm to which slices are resampled, or None to keep the
            pixels of the source.
        size: In-plane height and width of a slice, in pixels.
        plan: What was decided about the images.
        pixel: Height and width in mm of the slices' pixels, the median over cases; None if nobody
            noted it.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1, 2, 4)}, "axial", None, (160, 144))
        >>> spec.flair
        1
        >>> DataSpec.from_dict(spec.to_dict()) == spec
        True
    """

    modalities: tuple[str, ...]
    classes: dict[str, tuple[int, ...]]
    axis: str
    spacing: float | None
    size: tuple[int, int]
    plan: Plan = field(default_factory=Plan)
    pixel: tuple[float, float] | None = None

    @property
    def flair(self) -> int | None:
        """Channel of FLAIR, under any of its names; None if there is none."""
        return next((n for n, name in enumerate(self.modalities) if is_flair(name)), None)

    @property
    def in_colour(self) -> bool:
        """Whether the images are colour pictures, such as photographs, or grids of such."""
        return self.of_pictures and self.shown == COLOURS

    @property
    def of_pictures(self) -> bool:
        """Whether the images are pictures, such as photographs or, in grey, ultrasound.

        Networks then have pretrained features, and masks follow the regions of each picture.
        """
        return self.plan.normalisation == "picture"

    @property
    def cell(self) -> int | None:
        """Pixels to a side of a cell, if the images are pictures compressed to grids of features.

        Example:
            >>> names = ("red", "green", "blue", "cell16_0")
            >>> DataSpec(names, {"tumour": (1,)}, "axial", None, (256, 256)).cell
            16
        """
        match = FEATURE.fullmatch(self.modalities[-1]) if self.modalities else None
        return int(match[1]) if match else None

    @property
    def shown(self) -> tuple[str, ...]:
        """The modalities that pictures show: of grids the colours, and no features."""
        return self.modalities if self.cell is None else COLOURS

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, strings and numbers (safe in JSON, YAML and checkpoints)."""
        plain = {**vars(self), "plan": self.plan.to_dict()}
        plain["modalities"] = list(self.modalities)
        plain["classes"] = {name: list(labels) for name, labels in self.classes.items()}
        plain["size"] = list(self.size)
        plain["pixel"] = None if self.pixel is None else list(self.pixel)
        return plain

    def ignores_pixel_size(self, pixel: Sequence[float]) -> bool:
        """Tell whether pixels of another size are taken for pixels of this data's size.

        Args:
            pixel: Their height and width in mm, before any resampling.
        """
        if self.spacing or self.plan.longest_side or self.pixel is None:
            return False
        return not same_pixel_size([self.pixel, pixel])

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> DataSpec:
        """Rebuild a specification from :meth:`to_dict`."""
        return cls(
            modalities=tuple(plain["modalities"]),
            classes={name: tuple(labels) for name, labels in plain["classes"].items()},
            axis=plain["axis"],
            spacing=plain["spacing"],
            size=(int(plain["size"][0]), int(plain["size"][1])),
            plan=Plan.from_dict(plain["plan"]) if "plan" in plain else Plan(),
            pixel=tuple(plain["pixel"]) if plain.get("pixel") else None,
        )


def shown_names(modalities: Sequence[str]) -> str:
    """List modalities, but of features of compressed pictures only how many there are.

    Example:
        >>> shown_names(["red", "green", "blue", "cell16_0", "cell16_1"])
        'red, green, blue and 2 features of cells of 16 pixels'
    """
    features = [match for name in modalities if (match := FEATURE.fullmatch(name))]
    named = ", ".join(name for name in modalities if not FEATURE.fullmatch(name))
    if not features:
        return named
    return f"{named} and {len(features)} features of cells of {features[0][1]} pixels"


def is_flair(modality: str) -> bool:
    """Tell whether a modality is FLAIR by its name."""
    return any(word in modality.lower() for word in FLAIR_NAMES)


def same_pixel_size(pixels: Sequence[Sequence[float]]) -> bool:
    """Tell whether pixels of these heights and widths may be treated as alike.

    Example:
        >>> same_pixel_size([(1.0, 1.0), (1.02, 1.0)]), same_pixel_size([(1.0, 1.0), (1.2, 1.0)])
        (True, False)
    """
    return all(max(side) <= PIXEL_TOLERANCE * min(side) for side in zip(*pixels, strict=True))


def format_pixel(pixel: Sequence[float]) -> str:
    """Name a pixel's height and width in mm."""
    return f"{pixel[0]:.3g} x {pixel[1]:.3g} mm"


def containers(classes: Mapping[str, Sequence[int]]) -> list[list[int]]:
    """List for each class the classes that contain it.

    An enhancing tumour lies in its core, and the core in the whole tumour.

    Example:
        >>> containers({"whole": (1, 2, 4), "core": (1, 4), "enhancing": (4,)})
        [[], [0], [0, 1]]

    Args:
        classes: The mask labels that make each class, in channel order.

    Returns:
        For each class the channels of those that have its labels and others beside.
    """
    labels = [set(each) for each in classes.values()]
    return [[k for k, other in enumerate(labels) if own < other] for own in labels]


def nest(probability: Tensor, inside: Sequence[Sequence[int]]) -> Tensor:
    """Make no class more probable than those that contain it.

    Args:
        probability: [B, C, H, W].
        inside: For each class the channels of those that contain it, from :func:`containers`.

    Returns:
        [B, C, H, W]. Masks above any threshold then lie in each other.
    """
    import torch

    if not any(inside):
        return probability
    nested = [
        probability[:, [channel, *others]].amin(dim=1) for channel, others in enumerate(inside)
    ]
    return torch.stack(nested, dim=1)
