"""Ready-made embeddings of slices with a known object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from wsseg.clustering import ClusteringOptions, PixelEmbeddings
from wsseg.clustering.slices import KnownSlices

OPTIONS = ClusteringOptions(n_clusters=6, n_clusterings=3, sample_size=1024, evidence_slices=32)


class ToySource:
    """Slices of noise; in tagged slices of a class, pixels of its object have shifted features."""

    def __init__(
        self, count: int = 24, classes: int = 1, size: int = 12, dimensions: int = 4, seed: int = 0
    ) -> None:
        draw = torch.Generator().manual_seed(seed)
        order = torch.arange(count)
        self.tags = torch.stack([(order // 2**c) % 2 for c in range(classes)], dim=1).float()
        self.features = torch.randn(count, dimensions, size, size, generator=draw)
        self.objects = torch.zeros(count, classes, size, size, dtype=torch.bool)
        for c in range(classes):
            self.objects[self.tags[:, c] > 0, c, 3 * c : 3 * c + 3, 2:7] = True
            self.features[:, c] += 12.0 * self.objects[:, c]
        self.valid = torch.ones(count, size, size, dtype=torch.bool)
        self.valid[:, :, 0] = False
        noise = 0.2 * torch.rand(self.objects.shape, generator=draw)
        self.activation: Tensor = noise + 0.7 * self.objects
        self.case = order // 4
        self.level = order // 4
        self.batch_size = 5
        self.per_item = 1
        self.known: KnownSlices | None = None
        self.embedded = 0
        self.image: Tensor | None = None

    def know(self, cases: bool = False) -> None:
        """Tell of the slices before they are read; also how they lie, four to a case."""
        order = torch.arange(len(self))
        where = {"case": self.case, "depth": order % 4 * 1.5} if cases else {}
        self.known = KnownSlices(order, self.tags, **where)

    def be_comparable(self) -> None:
        """Show what every place looks like; each slice is of a patient of its own."""
        self.image = self.features[:, :1]
        self.case, self.level = torch.arange(len(self)), torch.zeros(len(self)).long()

    def __len__(self) -> int:
        return len(self.tags)

    def embed(
        self, positions: Sequence[int], activation: bool = True, features: bool = True
    ) -> Iterator[PixelEmbeddings]:
        for part in torch.split(torch.tensor(list(positions), dtype=torch.int64), self.batch_size):
            if len(part):
                self.embedded += len(part)
                yield PixelEmbeddings(
                    self.features[part] if features else self.features[part, :0],
                    self.activation[part] if activation else None,
                    self.valid[part],
                    self.tags[part],
                    part,
                    self.case[part],
                    self.level[part],
                    image=None if self.image is None else self.image[part],
                )


def scene(kind: str) -> ToySource:
    """Return what is clustered in a scenario of several processes, or by one beside them."""
    count = {"few": 3, "large": 96, "compared": 47}.get(kind, 23)
    source = ToySource(count, size=24 if kind == "regions" else 12)
    if kind == "regions":
        source.image = source.features[:, :3]
    if kind == "cases":
        source.know(cases=True)
    if kind == "compared":
        source.be_comparable()
    return source
