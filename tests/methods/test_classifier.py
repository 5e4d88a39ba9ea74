"""The classifier of a labeled source that is tested on a target: training, strategies, and what is left of a run."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import stylebench
from stylebench.build import build_data, build_method, completed, open_data
from stylebench.cli.config import compose
from stylebench.commands.train import train
from stylebench.data.opened import Opened
from stylebench.files import read_pickle
from stylebench.inference.classifier import NetworkClassifier
from stylebench.methods.classifier import DomainClassifier
from stylebench.methods.prediction_grid import STRIP_PX
from stylebench.nn.encoders.base import Encoder
from stylebench.run_folder import RunFolder

TINY = [
    "model=classifier", "dataset=procstyle", "dataset.store.size_px=32", "dataset.source=photo", "dataset.size_px=32",
    "dataset.store.train_images=24",
    "model.network.width=4", "budget.validation_images=4", "samples=2", "logger.every_n_batches=2",
]  # fmt: skip

Make = Callable[..., DomainClassifier]


@pytest.fixture(scope="module")
def opened() -> Opened:
    return open_data(compose("train", [*TINY, "dataset.batch_size=4"]))


@pytest.fixture
def make(opened: Opened) -> Make:
    def method(*words: str) -> DomainClassifier:
        torch.manual_seed(0)
        config = completed(compose("train", [*TINY, "dataset.batch_size=4", *words]), opened)
        found = build_method(config, build_data(config, opened))
        assert isinstance(found, DomainClassifier)
        return found

    return method


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_the_cross_entropy_of_the_source(smoothing: float, make: Make, opened: Opened) -> None:
    method = make(f"model.label_smoothing={smoothing}", "model.weight_class=2").train()
    batch = opened.task.finish(opened.task.batch(0))
    assert batch.target_label is None
    loss = method.training_step(batch._replace(target=None), 0)  # without adaptation no target is looked at
    with torch.no_grad():
        log_shares = copy.deepcopy(method.model.network).train()(batch.source).log_softmax(1)
    right = log_shares.gather(1, batch.label[:, None]).mean()
    expected = -(1 - smoothing) * right - smoothing * log_shares.mean()
    assert float(loss.detach()) == pytest.approx(2 * float(expected), rel=1e-5)


def test_the_loss_of_one_batch_falls(make: Make, opened: Opened) -> None:
    method = make("model.optimizers.network.lr=0.02").train()
    batch, optimizer = opened.task.finish(opened.task.batch(0)), method.configure_optimizers()
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(method.training_step(batch, 0))
        losses[-1].backward()
        optimizer.step()
    assert float(losses[-1].detach()) < 0.5 * float(losses[0].detach())


def test_classes_are_those_of_the_source(make: Make, opened: Opened) -> None:
    names = list(opened.task.classes)
    assert make().model.classes == tuple(names)
    node = compose("train", TINY)["model"]
    assert DomainClassifier.completed({**node, "classes": names}, opened.task)["classes"] == names
    with pytest.raises(ValueError, match=r"model\.classes.*leave it null"):
        DomainClassifier.completed({**node, "classes": ["cup", "saucer"]}, opened.task)


def test_pictures_of_both_domains_are_shown(make: Make, opened: Opened) -> None:
    rows = make().sample_rows(opened.task.finish(opened.task.fixed(3, "val")))
    assert [row.shape for row in rows] == [(3, 3, 96 + STRIP_PX, 96)] * 2


def test_a_head_over_an_encoder_is_bound_to_its_weights(tmp_path: Path) -> None:
    words = [word for word in TINY if "network.width" not in word]
    short = ["dataset.batch_size=4", "budget.batches=2", "budget.evaluate_every=2", "metrics=none"]
    config = compose("train", [*words, *short, "model/network=encoder_head", "model.network.width=8"])
    run = RunFolder(train(config, tmp_path / "run", []).folder)
    model = stylebench.load(run.path)
    assert isinstance(model, NetworkClassifier)
    assert isinstance(model.encoder, Encoder)
    assert run.record["encoder"]["digest"] == model.encoder.digest
    state = read_pickle(run.checkpoints()[0])["state_dict"]
    assert not [name for name in state if "encoder" in name]


@pytest.mark.parametrize(
    ("words", "match"),
    [(["dataset.target=photo"], "same domain"), (["dataset.store.train_images=1"], "at least 2 training images")],
)
def test_data_that_cannot_be_adapted_to_are_refused(words: list[str], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        open_data(compose("train", [*TINY, *words]))
