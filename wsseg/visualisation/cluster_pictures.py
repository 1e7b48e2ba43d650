"""Pictures of clusters: slices in which the pixels of one cluster are marked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsseg.visualisation import panels
from wsseg.visualisation.colours import IRRELEVANT, OPEN, RELEVANT, Colour
from wsseg.visualisation.panels import Picture

DECISION_COLOURS: dict[str, Colour] = {"relevant": RELEVANT, "irrelevant": IRRELEVANT, "open": OPEN}


@dataclass(frozen=True)
class ClusteredSlices:
    """Slices, and to which clusters their pixels belong.

    Attributes:
        image: [B, M, H, W], normalised.
        valid: [B, H, W] bool.
        labels: Cluster of each pixel in every clustering, [B, R, h, w], -1 outside the body.
        aspect: Height of a pixel over its width.

    Example:
        >>> labels = np.zeros((1, 1, 8, 8), np.int64)
        >>> labels[..., 2:5, 2:5] = 1
        >>> image = 3.0 * (labels == 1) + np.arange(8)
        >>> slices = ClusteredSlices(image, np.ones((1, 8, 8), bool), labels)
        >>> slices.intensities(clustering=0, cluster=1).round(1).tolist()
        [0.9]
        >>> [picture.shape for picture in slices.pictures(0, 1, count=3, colour=RELEVANT)]
        [(112, 112, 3)]
    """

    image: NDArray[np.float32]
    valid: NDArray[np.bool_]
    labels: NDArray[np.int64]
    aspect: float = 1.0

    def intensities(self, clustering: int, cluster: int) -> NDArray[np.float64]:
        """Return how far a cluster lies from the mean of all valid pixels, by modality, [M].

        Args:
            clustering: Number of the clustering.
            cluster: Number of the cluster in it.

        Returns:
            In standard deviations of the valid pixels; zeros if no slice has the cluster.
        """
        inside = np.stack([self._masks(clustering, cluster), self.valid])
        pixels, every = (np.moveaxis(self.image, 1, -1)[mask].astype(float) for mask in inside)
        if not len(pixels):
            return np.zeros(self.image.shape[1])
        distance = pixels.mean(axis=0) - every.mean(axis=0)
        found: NDArray[np.float64] = distance / np.maximum(every.std(axis=0), 1e-6)
        return found

    def pictures(
        self, clustering: int, cluster: int, *, count: int, colour: Colour, height: int = 112
    ) -> list[Picture]:
        """Draw the slices that have most pixels of a cluster, in the modality that shows it best.

        Args:
            clustering: Number of the clustering.
            cluster: Number of the cluster in it.
            count: Most pictures to draw; fewer if fewer slices have the cluster.
            colour: Colour of its pixels.
            height: Height of a picture.
        """
        masks = self._masks(clustering, cluster)
        pixels = masks.sum(axis=(1, 2))
        chosen = [row for row in np.argsort(-pixels, kind="stable")[:count] if pixels[row]]
        modality = int(np.abs(self.intensities(clustering, cluster)).argmax())
        return [self._picture(row, modality, masks[row], colour, height) for row in chosen]

    def _masks(self, clustering: int, cluster: int) -> NDArray[np.bool_]:
        """Return the pixels of a cluster at the resolution of the image, [B, H, W]."""
        height, width = self.valid.shape[1:]
        found = self.labels[:, clustering] == cluster
        rows = np.arange(height) * found.shape[1] // height
        columns = np.arange(width) * found.shape[2] // width
        masks: NDArray[np.bool_] = found[:, rows][:, :, columns] & self.valid
        return masks

    def _picture(
        self, row: int, modality: int, mask: NDArray[np.bool_], colour: Colour, height: int
    ) -> Picture:
        valid = self.valid[row]
        box = panels.valid_box(valid, aspect=self.aspect)
        plane = self.image[row, modality][box]
        ground = panels.grey(plane, valid[box], height=height, aspect=self.aspect)
        return panels.overlay(ground, mask[box], colour)
