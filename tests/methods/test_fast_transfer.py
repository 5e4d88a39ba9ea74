"""Fast style transfer: it learns, only the generator learns, and the style is looked at once."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stylebench.build import build_data, build_method, open_data
from stylebench.cli.config import compose
from stylebench.data.datamodule import DomainData
from stylebench.data.tasks import StyleBatch
from stylebench.functional.gram import GRAM_NORMS, gram_loss, gram_matrix
from stylebench.methods.fast_transfer import FastTransfer
from stylebench.nn.encoders import Encoder

Make = Callable[..., dict[str, Any]]
Built = tuple[FastTransfer, DomainData, StyleBatch]


@pytest.fixture
def built(tiny_config: Make) -> Callable[..., Built]:
    """Return a function that builds the method, its data and its first batch from the tiny config."""

    def make(*overrides: str) -> Built:
        config = tiny_config("model.style_layers=[conv1,fire2]", "model.content_layers=[fire2]", *overrides)
        torch.manual_seed(0)
        data = build_data(config, open_data(config))
        method: Any = build_method(config, data)
        return method, data, data.task.finish(data.task.batch(0))

    return make


def train(method: FastTransfer, batches: Iterator[StyleBatch], precision: torch.dtype = torch.float32) -> list[float]:
    """Take one step for each batch, without a trainer; return the losses."""
    optimizer: Any = method.configure_optimizers()
    losses = []
    for batch in batches:
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            loss = method.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_fast_transfer_overfits_one_batch(built: Callable[..., Built]) -> None:
    method, _, batch = built("model.optimizers.generator.lr=0.003")
    losses = train(method, iter([batch] * 31))
    assert losses[30] / losses[0] < 0.5


def test_only_the_generator_learns(built: Callable[..., Built]) -> None:
    method, _, batch = built()
    frozen = {name: buffer.clone() for name, buffer in method.named_buffers()}
    before = copy.deepcopy(method.model.state_dict())
    assert any(name.startswith("encoder.") for name in frozen)
    train(method, iter([batch] * 3))
    assert all(torch.equal(frozen[name], buffer) for name, buffer in method.named_buffers())
    assert not any(buffer.requires_grad for buffer in method.buffers())
    assert {name.split(".")[0] for name, _ in method.named_parameters()} == {"model"}
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert any(not torch.equal(before[name], value) for name, value in method.model.state_dict().items())
    assert not method.encoder.training


def test_style_statistics_are_taken_once(built: Callable[..., Built], monkeypatch: pytest.MonkeyPatch) -> None:
    method, data, batch = built()
    seen: list[tuple[int, ...]] = []
    original = Encoder.forward

    def counting(self: Encoder, images: Tensor, layers: Any) -> Any:
        seen.append(tuple(images.shape))
        return original(self, images, layers)

    monkeypatch.setattr(Encoder, "forward", counting)
    method.training_step(batch, 0)
    assert seen == [(4, 3, 32, 32)] * 2  # contents and outputs; the style image was looked at before
    assert batch.style is None
    method.prepare(data.task)
    assert seen[2:] == [(1, 3, 32, 32)]


def test_style_statistics_are_the_gram_matrices_of_the_style_image(built: Callable[..., Built]) -> None:
    method, _, _ = built()
    image = method.get_buffer("style_image")
    maps = method.encoder(image, ["conv1"])
    assert torch.equal(method.get_buffer("style_gram_conv1"), gram_matrix(maps["conv1"]))


def test_statistics_are_in_no_checkpoint(built: Callable[..., Built]) -> None:
    assert not [name for name in built()[0].state_dict() if not name.startswith("model.")]


def test_logged_keys(built: Callable[..., Built]) -> None:
    method, _, batch = built()
    terms = ["content", "content_fire2", "style", "style_conv1", "style_fire2", "tv"]
    for stage, step in (("train", method.training_step), ("val", method.validation_step)):
        step(batch, 0)
        expected = {f"{stage}/{kind}/{term}" for kind in ("loss", "weighted") for term in terms}
        assert set(method.latest[stage]) == expected | {f"{stage}/loss/total"}


@pytest.mark.parametrize("norm", GRAM_NORMS)
def test_style_term_is_the_named_gram_loss(built: Callable[..., Built], norm: str) -> None:
    method, _, batch = built(f"model.gram_norm={norm}")
    content = batch.content
    terms = method.terms(content, content)
    maps = method.encoder(content, ["conv1"])
    expected = gram_loss(gram_matrix(maps["conv1"]), method.get_buffer("style_gram_conv1"), norm).mean()
    assert torch.allclose(terms["style"]["conv1"], expected)
    assert float(terms["content"]["fire2"]) == 0.0  # an output that is the content has its maps


def test_relative_style_loss_of_the_style_itself_is_nothing(built: Callable[..., Built]) -> None:
    method, _, _ = built()
    image = method.get_buffer("style_image")
    terms = method.terms(image, image)
    assert all(float(value) == pytest.approx(0, abs=1e-10) for value in terms["style"].values())


@pytest.mark.parametrize(
    ("content", "style", "union"),
    [
        ("[fire2]", "[conv1,fire2]", ("fire2", "conv1")),
        ("[fire3]", "[conv1]", ("fire3", "conv1")),
        ("[conv1,fire2]", "[conv1,fire2]", ("conv1", "fire2")),
    ],
)
def test_layers_may_overlap(built: Callable[..., Built], content: str, style: str, union: tuple[str, ...]) -> None:
    method, _, batch = built(f"model.content_layers={content}", f"model.style_layers={style}")
    assert method.layers == union
    total = method.training_step(batch, 0)
    assert total.isfinite()
    assert total.requires_grad


def test_the_judge_is_refused_when_the_method_is_built(tiny_config: Make) -> None:
    config, judge = tiny_config(), compose("train", ["encoder=compact_judge"])["encoder"]
    model = {**config["model"], "encoder": judge, "style_layers": ["stem"], "content_layers": ["mix5"]}
    with pytest.raises(ValueError, match="compact_judge only scores what others trained"):
        build_method({**config, "model": model}, build_data(config, open_data(config)))


def test_several_style_images_are_refused(built: Callable[..., Built]) -> None:
    with pytest.raises(ValueError, match=r"one style image a network, but dataset\.style has 12 .*dataset\.style="):
        built("dataset.style=leaves")


def test_sample_rows_show_the_style_before_contents_and_outputs(built: Callable[..., Built]) -> None:
    method, data, _ = built()
    batch = data.task.finish(data.task.fixed(2, "val"))
    rows = method.sample_rows(batch)
    assert batch.content is not None
    assert [tuple(row.shape) for row in rows] == [(1 + len(batch.content), 3, 32, 32)] * 2
    assert torch.equal(rows[0][1:], batch.content)
    assert torch.equal(rows[0][0], rows[1][0])
    assert all(float(row.min()) >= 0 and float(row.max()) <= 1 for row in rows)
    assert method.training


def stream(data: DomainData, count: int) -> Iterator[StyleBatch]:
    return (data.task.finish(data.task.batch(number)) for number in range(count))


@pytest.mark.slow
def test_bf16_reaches_the_loss_of_fp32(built: Callable[..., Built]) -> None:
    """Within 5 % after 200 batches; the mean over the last 20, as single batches differ by more than that."""
    ends = {}
    for precision in (torch.float32, torch.bfloat16):
        method, data, _ = built()
        ends[precision] = sum(train(method, stream(data, 200), precision)[-20:]) / 20
    assert ends[torch.bfloat16] == pytest.approx(ends[torch.float32], rel=0.05)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch.compile looks at it
def test_compiled_networks_give_the_same_losses(built: Callable[..., Built]) -> None:
    plain = train(built()[0], iter([built()[2]] * 3))
    method, _, batch = built("compile=true")
    # fused kernels add in another order; three updates let that grow
    assert train(method, iter([batch] * 3)) == pytest.approx(plain, rel=1e-3)


def test_translate_is_the_clamped_network(built: Callable[..., Built], tmp_path: Path) -> None:
    method, _, batch = built()
    with torch.no_grad():
        expected = method.model.eval().generator(batch.content).clamp(0, 1)
    assert torch.allclose(method.translate(batch), expected)
    assert torch.equal(method.translate(batch, alpha=0.0), batch.content)
