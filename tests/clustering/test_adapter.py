"""The callback on classifiers that others have written, and that stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, WeightedRandomSampler

from tests.training import quiet_trainer
from wsseg.clustering import (
    ClassifierAdapter,
    ClusteringOptions,
    ClusterReSupervision,
    PixelEmbeddings,
)
from wsseg.clustering.watching import find_layers
from wsseg.utils.errors import InputError

Change = Callable[[Tensor, Tensor], Any]


class Served(Dataset[Any]):
    """Squares on noise (tag 1) or noise (tag 0), in any form."""

    def __init__(
        self, project: ModuleType, change: Change, count: int = 24, size: int = 24
    ) -> None:
        self.data, self.change = project.Squares(count=count, size=size), change

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, item: int) -> Any:
        return self.change(self.data.images[item], self.data.tags[item])


def as_ids(image: Tensor, tag: Tensor) -> Any:
    return image, int(tag)


class Theirs(pl.LightningModule):
    """Somebody else's module around a network with two outputs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.losses: list[float] = []

    def forward(self, image: Tensor) -> Any:
        return self.net(image)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        image, label = batch
        loss = F.cross_entropy(self(image), label)
        self.losses.append(float(loss))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def fit(
    folder: Path,
    module: pl.LightningModule,
    data: Any,
    adapter: ClassifierAdapter | None = None,
    callbacks: tuple[pl.Callback, ...] = (),
    epochs: int = 3,
    ckpt_path: Path | None = None,
    **changed: Any,
) -> ClusterReSupervision:
    options = ClusteringOptions(n_clusters=6, n_clusterings=2)
    callback = ClusterReSupervision(clustering=options, adapter=adapter or ClassifierAdapter())
    settings: dict[str, Any] = {
        "max_epochs": epochs,
        "callbacks": [callback, *callbacks],
        "default_root_dir": folder,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": bool(callbacks),
        **changed,
    }
    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size=8, shuffle=True)
    torch.manual_seed(0)
    trainer = pl.Trainer(**settings)
    trainer.fit(module, loader, ckpt_path=ckpt_path)
    callback.logged = trainer.callback_metrics  # type: ignore[attr-defined]
    return callback


def theirs(classifiers: ModuleType, name: str = "plain", **changed: Any) -> Theirs:
    torch.manual_seed(0)
    return Theirs(classifiers.COMMON[name][0](**changed))


def weights(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


NAMES = (
    *("torchvision_resnet", "torchvision_densenet", "timm", "timm_convolution", "plain"),
    *("functional", "max_pooled", "monai_resnet", "monai_densenet", "monai_efficientnet"),
)


@pytest.mark.parametrize("name", NAMES)
def test_layers_of_common_networks_are_found(classifiers: ModuleType, name: str) -> None:
    make, layer, classifier = classifiers.COMMON[name]
    torch.manual_seed(0)
    module, image = Theirs(make(3, 4)), torch.rand(4, 3, 64, 64)
    found = ClassifierAdapter().cam(module, image)
    assert found.shape == (4, 4, 64, 64)
    assert float(found.amax()) <= 1
    if name != "functional":  # there a layer cannot tell what is done to its map
        for linear in (classifier, None):
            named = ClassifierAdapter(cam=f"net.{layer}", classifier=linear).cam(module, image)
            assert torch.equal(found, named)


def test_the_mean_of_a_cam_is_the_logit(classifiers: ModuleType) -> None:
    for name in ("functional", "torchvision_densenet"):
        torch.manual_seed(0)
        module, image = classifiers.COMMON[name][0](3, 4).eval(), torch.rand(4, 3, 64, 64)
        layers = find_layers(module, image, None, None, None)
        with layers.watching(module) as seen:
            logits = module(image)
        assert seen.returned is not None
        cam = layers.cam.cam(module, seen.returned)
        assert torch.allclose(cam.mean(dim=(2, 3)), logits, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_an_unmodified_classifier_trains(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path, name: str
) -> None:
    module = theirs(classifiers, name)
    step = type(module).training_step
    size = 64 if name == "monai_efficientnet" else 24  # its last map is 32 times smaller
    callback = fit(tmp_path, module, Served(project, as_ids, size=size), epochs=2)
    assert callback.clusters is not None
    assert callback.logged["clusters/loss"] >= 0  # type: ignore[attr-defined]
    assert "training_step" not in vars(module)
    assert type(module).training_step is step
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert not (tmp_path / "cluster_maps").exists()


@pytest.mark.parametrize(
    ("change", "options", "outputs", "classes"),
    [
        (as_ids, {}, 2, 1),
        (lambda image, tag: (image, tag), {}, 1, 1),
        (lambda image, tag: (image, tag[0]), {}, 1, 1),
        (lambda image, tag: (image, tag[0] > 0), {}, 1, 1),
        (lambda image, tag: (image, torch.eye(2)[int(tag)]), {}, 2, 2),
        (lambda image, tag: (image, tag.long(), "a name"), {}, 2, 1),
        (lambda image, tag: {"img": image, "label": int(tag)}, {}, 2, 1),
        (lambda image, tag: {"Image": image, "y": int(tag), "path": "a"}, {}, 2, 1),
        (
            lambda image, tag: {"mr": image, "grade": int(tag)},
            {"image": "mr", "tags": "grade"},
            2,
            1,
        ),
        (lambda image, tag: (int(tag), image), {"image": 1, "tags": 0}, 2, 1),
        (
            lambda image, tag: {"a": {"b": image}, "y": int(tag)},
            {"image": lambda batch: batch["a"]["b"]},
            2,
            1,
        ),
    ],
)
def test_batches_of_any_kind(
    classifiers: ModuleType,
    project: ModuleType,
    tmp_path: Path,
    change: Change,
    options: dict[str, Any],
    outputs: int,
    classes: int,
) -> None:
    class Silent(Theirs):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {"loss": self(torch.rand(8, 1, 24, 24)).square().mean(), "more": 1}

    torch.manual_seed(0)
    module = Silent(classifiers.plain(1, outputs))
    callback = fit(
        tmp_path, module, Served(project, change), ClassifierAdapter(**options), epochs=2
    )
    assert callback.clusters is not None
    one_hot = not isinstance(change(torch.rand(1, 24, 24), torch.ones(1)), dict) and (
        getattr(change(torch.rand(1, 24, 24), torch.ones(1))[1], "shape", None) == (2,)
    )
    assert callback.clusters.scores.shape[2] == (2 if one_hot else 1)


def test_objects_are_found_where_tags_alone_do_not(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path
) -> None:
    module, data = theirs(classifiers), Served(project, as_ids, count=48)
    fit(tmp_path, module, data, epochs=8)
    found = ClassifierAdapter(background=0).cam(module, data.data.images)[:, 0] > 0.5
    tagged, truth = data.data.tags[:, 0] > 0, data.data.masks > 0
    both = (found & truth)[tagged].sum() / (found | truth)[tagged].sum()
    assert float(both) > 0.5


def test_nothing_changes_before_the_first_clusters(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path
) -> None:
    results = []
    for callbacks in (True, False):
        module = theirs(classifiers, "timm")  # with dropout and batch normalisation
        adapter = ClassifierAdapter(loss_weight=0.0)
        if callbacks:
            fit(tmp_path, module, Served(project, as_ids), adapter)
        else:
            torch.manual_seed(0)
            trainer = pl.Trainer(
                max_epochs=3,
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(module, DataLoader(Served(project, as_ids), batch_size=8, shuffle=True))
        results.append(weights(module))
    assert torch.equal(*results)


@pytest.mark.parametrize(
    "settings",
    [
        {"accumulate_grad_batches": 2},
        {"precision": "bf16-mixed"},
        {"gradient_clip_val": 0.1},
        {"reload_dataloaders_every_n_epochs": 1},
        {"limit_train_batches": 2},
    ],
)
def test_ways_of_training(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path, settings: dict[str, Any]
) -> None:
    module = theirs(classifiers)
    callback = fit(tmp_path, module, Served(project, as_ids), **settings)
    assert callback.clusters is not None
    assert bool(weights(module).isfinite().all())


def test_the_added_loss_trains_the_network(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path
) -> None:
    results = []
    for weight in (0.0, 1.0, 2.0):
        module = theirs(classifiers)
        fit(tmp_path, module, Served(project, as_ids), ClassifierAdapter(loss_weight=weight))
        results.append(weights(module))
    assert not torch.equal(results[0], results[1])
    assert not torch.equal(results[1], results[2])


def test_augmentation_in_the_step_is_followed(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path
) -> None:
    """The maps are those of the pictures that the network sees."""
    seen: list[Tensor] = []

    class Flipping(Theirs):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            image, label = batch
            if self.current_epoch == 1:
                image = image.flip(2)
            return super().training_step((image, label), batch_idx)

    class Noting(ClusterReSupervision):
        def _targets(self, slices: PixelEmbeddings) -> tuple[Tensor, Tensor] | None:
            targets = super()._targets(slices)
            if targets is not None:
                seen.append(targets[0])
            return targets

    torch.manual_seed(0)
    module = Flipping(classifiers.plain(1, 2))
    options = ClusteringOptions(n_clusters=6, n_clusterings=2, smoothing=0.0)
    callback = Noting(clustering=options, adapter=ClassifierAdapter())
    trainer = quiet_trainer(max_epochs=2, callbacks=[callback], default_root_dir=tmp_path)
    data = Served(project, as_ids)
    trainer.fit(module, DataLoader(data, batch_size=8))
    found, masks = torch.cat(seen)[:, 0] > 0, data.data.masks > 0
    assert int((found & masks.flip(1)).sum()) > 2 * int((found & masks).sum())


@pytest.mark.parametrize("name", ["layer1", "net.layer1", "net.layer1.1"])
def test_features_of_a_layer_are_those_of_the_start(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path, name: str
) -> None:
    module = theirs(classifiers, "torchvision_resnet")
    first = copy.deepcopy(module.net)
    adapter = ClassifierAdapter(features=name)
    callback = fit(tmp_path, module, Served(project, as_ids), adapter, epochs=2)
    assert callback.clusters is not None
    assert callback.clusters.mean.shape == (4,)
    state = callback.state_dict()["adapter"]["frozen"]
    for own, value in first.state_dict().items():
        assert torch.equal(state[own], value)


@pytest.mark.parametrize("epoch", [0, 1])  # before and after the first clusters are made
@pytest.mark.parametrize("features", [None, "layer1"])
def test_resuming_is_bit_identical(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path, features: str | None, epoch: int
) -> None:
    def run(ckpt: Path | None = None) -> Theirs:
        module = theirs(classifiers, "torchvision_resnet")
        loader = DataLoader(Served(project, as_ids), batch_size=8)
        saving = ModelCheckpoint(dirpath=tmp_path, filename="{epoch}", save_top_k=-1)
        adapter = ClassifierAdapter(features=features)
        fit(tmp_path, module, loader, adapter, (saving,), epochs=3, ckpt_path=ckpt)
        return module

    whole = run()
    assert torch.equal(weights(whole), weights(run(tmp_path / f"epoch={epoch}.ckpt")))


def test_another_training_begins_anew(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path
) -> None:
    adapter = ClassifierAdapter(features="layer1")
    options = ClusteringOptions(n_clusters=6, n_clusterings=2)
    callback = ClusterReSupervision(clustering=options, adapter=adapter)
    for seed in (0, 1):
        torch.manual_seed(seed)
        module = Theirs(classifiers.TorchvisionResNet())
        first = copy.deepcopy(module.net.conv1.weight)
        trainer = quiet_trainer(max_epochs=2, callbacks=[callback], default_root_dir=tmp_path)
        trainer.fit(module, DataLoader(Served(project, as_ids), batch_size=8))
        assert torch.equal(adapter.state_dict()["frozen"]["conv1.weight"], first)


def test_the_guessed_background_is_that_of_the_last_training(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path
) -> None:
    """With class ids, 0 of two means that nothing is there; with a tag per class it does not."""
    adapter, module = ClassifierAdapter(), theirs(classifiers)
    fit(tmp_path, module, Served(project, as_ids), adapter, epochs=1)
    image = torch.rand(2, 1, 24, 24)
    assert adapter.cam(module, image).shape[1] == 1

    class Tagged(Theirs):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.binary_cross_entropy_with_logits(self(batch[0]), batch[1])

    module = Tagged(module.net)
    both = Served(project, lambda image, tag: (image, torch.cat([1 - tag, tag]).float()))
    fit(tmp_path, module, both, adapter, epochs=1)
    assert adapter.cam(module, image).shape[1] == 2


def test_a_checkpoint_tells_a_new_adapter_the_background(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path
) -> None:
    module, image = theirs(classifiers), torch.rand(2, 1, 24, 24)
    callback = fit(tmp_path, module, Served(project, as_ids), epochs=1)
    assert callback.adapter is not None
    new = ClassifierAdapter()
    assert new.cam(module, image).shape[1] == 2
    new.load_state_dict(callback.state_dict()["adapter"])
    assert torch.equal(new.cam(module, image), callback.adapter.cam(module, image))


@pytest.mark.parametrize("sampled", [True, False])
def test_sub_sampled_loaders(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path, sampled: bool
) -> None:
    data = Served(project, as_ids)
    chosen = [1.0] * 16 + [0.0] * 8
    loader = (
        DataLoader(data, batch_size=8, sampler=WeightedRandomSampler(chosen, 16))
        if sampled
        else DataLoader(Subset(data, range(16)), batch_size=8, shuffle=True, num_workers=1)
    )
    callback = fit(tmp_path, theirs(classifiers), loader)
    assert callback.clusters is not None


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_of_slices_without_ids(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path, workers: int
) -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            yield from (data[number] for number in torch.randperm(24).tolist())

    data, module = Served(project, as_ids), theirs(classifiers)
    loader = DataLoader(Stream(), batch_size=8, num_workers=workers)
    callback = fit(tmp_path, module, loader)
    assert callback.clusters is not None
    assert callback.report["support"] > 2  # slices are told apart


def test_a_module_without_forward(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path
) -> None:
    class Bare(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.loss = nn.CrossEntropyLoss()
            self.net = classifiers.plain(1, 2)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.loss(self.net((batch[0] - 0.5) * 2), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters())

    assert fit(tmp_path, Bare(), Served(project, as_ids), epochs=2).clusters is not None


def test_layers_of_the_module_itself(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path
) -> None:
    """Backbone and classifier are called one by one, never the whole module."""

    class Apart(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU())
            self.fc = nn.Linear(8, 2)

        def forward(self, image: Tensor) -> Any:
            return self.fc(self.backbone(image).mean(dim=(2, 3)))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            features = self.backbone(batch[0])
            return F.cross_entropy(self.fc(features.mean(dim=(2, 3))), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters())

    for features in (None, "backbone.0"):
        adapter = ClassifierAdapter(features=features)
        callback = fit(tmp_path, Apart(), Served(project, as_ids), adapter, epochs=2)
        assert callback.clusters is not None


@pytest.mark.parametrize("channels", [1, 3, 16])
def test_channels(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path, channels: int
) -> None:
    def many(image: Tensor, tag: Tensor) -> Any:
        return image.expand(channels, -1, -1), int(tag)

    module = theirs(classifiers, channels=channels)
    callback = fit(tmp_path, module, Served(project, many), epochs=2)
    assert callback.clusters is not None
    assert callback.clusters.mean.shape == (3 * channels,)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            lambda image, tag: (image, tag * 0.5),
            {},
            r"tags: one is 0\.5; .* round them, as \(tags > 0\.5\)",
        ),
        (
            lambda image, tag: (image, int(tag) + 1),
            {},
            "ids go from 1 to 2, but .* 2 outputs",
        ),
        (
            lambda image, tag: (image, torch.eye(3)[int(tag)]),
            {},
            r"tags are \(8, 3\) of .*float",
        ),
        (
            lambda image, tag: (image.expand(4, -1, -1)[None], int(tag)),
            {},
            r"1, 4, 24, 24\); clusters are made of slices.*movedim\(2, 1\)\.flatten\(0, 1\)",
        ),
        (
            lambda image, tag: {"mr": image, "grade": int(tag)},
            {},
            r"no tensor of the image found .* a dictionary of 'mr', 'grade'; .*image=\.\.\.",
        ),
        (lambda image, tag: (image, int(tag)), {"tags": 2}, "no tensor of the tags .* list of 2"),
        (as_ids, {"cam": "layer_4"}, r"cam 'layer_4': is no layer of Theirs; .* net\.layer4"),
        (as_ids, {"cam": "layer4", "classifier": "fx"}, r"classifier 'fx': is no layer .* net\.fc"),
        (as_ids, {"features": "0"}, r"features '0': are several layers .* net\.layer1\.0"),
        (as_ids, {"features": "fc"}, r"'net\.fc' of Theirs returns no map .* net\.layer4"),
        (as_ids, {"background": 2}, "background 2: must be from 0 to 1"),
    ],
)
def test_what_cannot_be_used_is_refused_before_training(
    classifiers: ModuleType,
    project: ModuleType,
    tmp_path: Path,
    change: Change,
    options: dict[str, Any],
    message: str,
) -> None:
    if isinstance(change(torch.rand(1, 4, 4), torch.ones(1)), tuple):
        half = change(torch.rand(1, 4, 4), torch.ones(1))[1]
        outputs = 1 if isinstance(half, Tensor) and half.shape == (1,) else 2
    else:
        outputs = 2
    module = theirs(classifiers, "torchvision_resnet", classes=outputs)
    with pytest.raises(InputError, match=message):
        fit(tmp_path, module, Served(project, change), ClassifierAdapter(**options))
    assert module.losses == []
    assert "training_step" not in vars(module)


def test_networks_of_another_structure(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = Theirs(classifiers.TwoLayersAfterPooling())
    with pytest.raises(InputError, match=r"does not pool .* name the layer .*or write embed_"):
        fit(tmp_path, module, Served(project, as_ids))
    adapter = ClassifierAdapter(cam="net.body")  # two linear layers follow
    with pytest.raises(InputError, match=r"returns 2 logits, but 'net\.body' makes a map of 8"):
        fit(tmp_path, module, Served(project, as_ids), adapter)


def test_a_layer_that_the_step_does_not_run(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path
) -> None:
    class Elsewhere(Theirs):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.net[-1].weight.square().sum()

    module = Elsewhere(classifiers.plain(1, 2))
    with pytest.raises(InputError, match=r"did not run the layers 'net' and 'net\.5' with"):
        fit(tmp_path, module, Served(project, as_ids))
    assert "training_step" not in vars(module)


def test_manual_optimisation_is_refused(
    classifiers: ModuleType, project: ModuleType, tmp_path: Path
) -> None:
    module = theirs(classifiers)
    module.automatic_optimization = False
    with pytest.raises(InputError, match="calls backward itself"):
        fit(tmp_path, module, Served(project, as_ids))


def test_arguments_that_contradict_each_other() -> None:
    with pytest.raises(InputError, match="classifier is given without cam"):
        ClassifierAdapter(classifier="fc")
    with pytest.raises(InputError, match="loss_weight -1: must be at least 0"):
        ClassifierAdapter(loss_weight=-1)
    with pytest.raises(InputError, match="embed and adapter are both given"):
        ClusterReSupervision(embed=print, adapter=ClassifierAdapter())
