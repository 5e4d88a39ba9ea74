import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from stylebench.adaptation.adabn import AdaBN, recalibrate, shown_moments
from stylebench.adaptation.depth import levels
from stylebench.adaptation.reports import CalibrationReport
from stylebench.functional.moments import MeanAndVariance, Moments
from stylebench.nn.normalization import NoBatchNormError, batch_norms, keep, statistics_of, using

CLASSES = 4


def images(count: int, seed: int = 0) -> Tensor:
    """Images of four classes, sorted: flat ones of another brightness and contrast each."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 3, 8, 8, generator=generator)
    label = torch.arange(count).mul(CLASSES).div(count, rounding_mode="floor")
    return (1 + label.view(-1, 1, 1, 1)) * noise + 3 * label.view(-1, 1, 1, 1)


def chain(width: int = 6) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.5),
        nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, width), nn.BatchNorm1d(width),
        nn.Linear(width, CLASSES),
    )  # fmt: skip
    for seed in range(20):
        made(torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(seed)))
    return made.eval()


def shown(network: nn.Module, statistics: str, batches: list[Tensor]) -> dict[str, MeanAndVariance]:
    """Measure what each batch norm is shown in a network that normalizes by chosen statistics."""
    inputs: dict[str, list[Tensor]] = {}
    handles = [
        layer.register_forward_pre_hook(lambda _, given, name=name: inputs.setdefault(name, []).append(given[0]))
        for name, layer in batch_norms(network).items()
    ]
    with torch.no_grad(), using(network, statistics):
        for batch in batches:
            network(batch)
    for handle in handles:
        handle.remove()
    return {name: Moments.of(torch.cat(parts)).statistics() for name, parts in inputs.items()}


def assert_equal(found: Any, expected: Any, relative: float) -> None:
    assert list(found) == list(expected)
    for name in found:
        for part, other in zip(found[name], expected[name], strict=True):
            scale = float(other.abs().max())
            torch.testing.assert_close(
                part, other, rtol=relative, atol=relative * scale, msg=lambda text, n=name: f"{n}: {text}"
            )


def test_sequential_gives_the_moments_that_the_adapted_network_has() -> None:
    network, target = chain(), images(48)
    report = recalibrate(network, [target], propagate="sequential")
    keep(network, "target", report.statistics)
    assert report.passes == 4
    assert_equal(report.statistics, shown(network, "target", [target]), 1e-5)


def test_what_layers_are_shown_is_measured_by_any_statistics() -> None:
    network, target = chain(), images(48)
    keep(network, "target", recalibrate(network, [target], propagate="sequential").statistics)
    for statistics in ("source", "target", "batch"):
        found = {name: each.statistics() for name, each in shown_moments(network, [target], statistics).items()}
        assert_equal(found, shown(network, statistics, [target]), 1e-6)


def test_sequential_does_not_depend_on_batches_or_their_order() -> None:
    network, target = chain(), images(45)
    expected = recalibrate(network, [target], propagate="sequential").statistics
    order = torch.randperm(45, generator=torch.Generator().manual_seed(1))
    for batches in (target.split(1), target.split(7), target[order].split(32)):  # sorted, ragged, shuffled
        found = recalibrate(network, list(batches), propagate="sequential").statistics
        assert_equal(found, expected, 1e-5)


def test_all_layers_at_once_on_the_source_s_statistics_is_another_network() -> None:
    network, target = chain(), images(48)
    report = recalibrate(network, [target], propagate="sequential")
    at_once = shown(network, "running", [target])
    first, _, last, _ = report.statistics
    assert_equal({first: at_once[first]}, {first: report.statistics[first]}, 1e-5)
    ratio = at_once[last].variance / report.statistics[last].variance
    assert ((ratio < 0.5) | (ratio > 2)).any()
    for _ in range(3):  # as many passes as the network is deep make it right
        keep(network, "iterated", at_once)
        at_once = shown(network, "iterated", [target])
    assert_equal(at_once, report.statistics, 1e-4)


def test_one_pass_over_shuffled_batches_comes_close() -> None:
    network, target = chain(), images(512)
    order = torch.randperm(512, generator=torch.Generator().manual_seed(0))
    exact = recalibrate(network, [target], propagate="sequential").statistics
    report = recalibrate(network, list(target[order].split(64)))
    assert report.passes == 1
    last = list(exact)[-1]
    assert (report.statistics[last].variance / exact[last].variance - 1).abs().mean() < 0.02


def test_a_single_batch_is_exact_in_one_pass() -> None:
    network, target = chain(), images(40)
    assert_equal(
        recalibrate(network, [target]).statistics,
        recalibrate(network, [target], propagate="sequential").statistics,
        1e-5,
    )


@pytest.mark.parametrize("propagate", ["sequential", "batch"])
def test_an_affine_shift_of_the_inputs_is_undone(propagate: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.BatchNorm2d(3, eps=1e-12), nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(180, 4)
    )
    source = images(64)
    keep(network.eval(), "before", recalibrate(network, [source], propagate=propagate).statistics)
    moved = source * torch.tensor([0.5, 2.0, 3.0]).view(-1, 1, 1) + torch.tensor([1.0, -2.0, 5.0]).view(-1, 1, 1)
    keep(network, "after", recalibrate(network, [moved], propagate=propagate).statistics)
    with torch.no_grad():
        with using(network, "before"):
            expected = network(source)
        with using(network, "after"):
            torch.testing.assert_close(network(moved), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("propagate", ["sequential", "batch"])
def test_the_network_is_left_as_it_was(propagate: str) -> None:
    network, target = chain(), images(40)
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes, random = [part.training for part in network.modules()], torch.get_rng_state()
    first = recalibrate(network, [target], propagate=propagate).statistics
    assert_equal(recalibrate(network, [target], propagate=propagate).statistics, first, 1e-12)  # no dropout
    assert modes == [part.training for part in network.modules()]
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(layer._forward_pre_hooks for layer in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_statistics_hold_in_a_lightning_module_after_a_test_and_a_load() -> None:
    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = chain()

        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.network(batch[0])

    module, target = Module(), images(40)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(target), batch_size=16)
    keep(module.network, "target", recalibrate(module.network, loader).statistics)
    with using(module, "target"), torch.no_grad():
        expected = module.network(target)
    plain = module.network(target)
    pl.Trainer(logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu").test(
        module, loader, verbose=False
    )
    other = Module()
    other.load_state_dict(module.state_dict())
    keep(other.network, "target", statistics_of(module.network, "target"))
    for each in (module.eval(), other.eval()):
        assert torch.equal(each.network(target), plain)
        with using(each, "target"):
            assert torch.equal(each.network(target), expected)


def test_a_compiled_network_is_calibrated_as_it_was_before() -> None:
    network, target = chain(), images(40)
    expected = recalibrate(network, [target]).statistics
    compiled = torch.compile(network, backend="eager")
    with torch.no_grad():
        compiled(target)
    found = recalibrate(network, [target], forward=lambda _, batch: compiled(batch)).statistics
    assert_equal(found, expected, 1e-6)


def test_a_layer_that_is_shown_nothing_is_an_error() -> None:
    network = chain()
    network.add_module("unused", nn.Identity())
    network.unused.add_module("norm", nn.BatchNorm2d(3))  # type: ignore[union-attr]
    for propagate in ("sequential", "batch"):
        with pytest.raises(RuntimeError, match=r"unused\.norm"):
            recalibrate(network, [images(8)], propagate=propagate)
    assert "unused.norm" not in recalibrate(network, [images(40)], layers=r"\d+").layers


def test_the_levels_of_a_residual_network() -> None:
    torch.manual_seed(0)
    network = resnet18(num_classes=2).eval()
    with torch.no_grad():
        shown = torch.randn(2, 3, 32, 32)
        found = levels(batch_norms(network), lambda: network(shown))
    assert len(found) == 17
    assert [level for level in found if len(level) > 1] == [
        [f"layer{stage}.0.bn1", f"layer{stage}.0.downsample.1"] for stage in (2, 3, 4)
    ]


def test_a_part_of_the_layers_is_adapted() -> None:
    network, target = chain(), images(40)
    whole = recalibrate(network, [target], propagate="sequential")
    two = recalibrate(network, [target], propagate="sequential", layers=2)
    assert list(two.statistics) == list(whole.statistics)[:2]
    assert_equal(two.statistics, {name: whole.statistics[name] for name in two.statistics}, 1e-12)
    keep(network, "front", two.statistics)
    running = statistics_of(network, "running")
    assert_equal({"13": statistics_of(network, "front")["13"]}, {"13": running["13"]}, 0)


def test_the_source_weighs_in() -> None:
    network, target = chain(), images(40)
    alone, mixed = (recalibrate(network, [target], prior_images=prior).statistics for prior in (0, 120))
    source = statistics_of(network, "running")
    for name in alone:
        for new, old, found in zip(alone[name], source[name], mixed[name], strict=True):
            torch.testing.assert_close(found, 0.25 * new + 0.75 * old)


def test_the_report_says_what_was_found(caplog: pytest.LogCaptureFixture) -> None:
    network, target = chain(), images(40)
    target[:, :, :, :] = target[:1]  # one image, over and over
    nn.init.zeros_(network[0].weight)
    report = recalibrate(network, list(target.split(16)), max_images=20)
    assert (report.images, report.propagate) == (20, "batch")
    assert report.layers["1"].dead == 6
    assert report.layers["1"].entries == 20 * 64
    assert report.layers["1"].distance > 1
    assert report.record()["layers"]["1"]["channels"] == 6
    assert "mostly noise" in caplog.text


def test_a_shared_layer_pools_its_uses(caplog: pytest.LogCaptureFixture) -> None:
    norm = nn.BatchNorm2d(3)
    network = nn.Sequential(nn.Conv2d(3, 3, 1), norm, nn.ReLU(), norm, nn.BatchNorm2d(3))
    with caplog.at_level(logging.WARNING):
        recalibrate(network, [images(40)])
    assert "used more than once" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_activations_under_autocast_stay_finite(dtype: torch.dtype) -> None:
    network = chain()
    with torch.autocast("cpu", dtype=dtype):
        report = recalibrate(network, [1000 * images(40)])
    assert all(bool(part.isfinite().all()) for each in report.statistics.values() for part in each)


@pytest.mark.parametrize(
    ("make", "shape"),
    [(nn.BatchNorm1d, (4,)), (nn.BatchNorm1d, (4, 5)), (nn.BatchNorm2d, (4, 5, 5)), (nn.BatchNorm3d, (4, 2, 3, 3)),
     (nn.SyncBatchNorm, (4, 5, 5))],
)  # fmt: skip
def test_every_kind_of_batch_norm(make: Callable[[int], nn.Module], shape: tuple[int, ...]) -> None:
    data = 5 + torch.randn(40, *shape, generator=torch.Generator().manual_seed(0))
    report = recalibrate(nn.Sequential(make(4)), [data[:24], data[24:]], propagate="sequential")
    axes = [axis for axis in range(data.ndim) if axis != 1]
    torch.testing.assert_close(report.statistics["0"].mean.float(), data.mean(axes))
    torch.testing.assert_close(report.statistics["0"].variance.float(), data.var(axes, correction=0))


class NormAct(nn.BatchNorm2d):  # as timm's BatchNormAct2d
    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps).relu()


@pytest.mark.parametrize("propagate", ["sequential", "batch"])
def test_a_norm_with_an_activation_keeps_it(propagate: str) -> None:
    network = nn.Sequential(NormAct(3), nn.Conv2d(3, 3, 1), NormAct(3))
    data = 5 + torch.randn(40, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    found = recalibrate(network, [data], propagate=propagate).statistics
    mean, variance = (each.view(-1, 1, 1) for each in (data.mean((0, 2, 3)), data.var((0, 2, 3), correction=0)))
    inner = network[1](((data - mean) / (variance + 1e-5).sqrt()).relu()).detach()
    torch.testing.assert_close(found["2"].mean.float(), inner.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)


def iterator() -> Iterator[Tensor]:
    yield images(40)


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"propagate": "iterate"}, ValueError, "propagate"),
        ({"layers": 9}, ValueError, "1 .. 4"),
        ({"layers": "conv.*"}, NoBatchNormError, "1, 4, 8, 13"),
        ({"layers": "("}, ValueError, "regular expression"),
        ({"batches": []}, ValueError, "at least 2"),
        ({"batches": [images(1)]}, ValueError, "at least 2"),
        ({"batches": iterator(), "propagate": "sequential"}, ValueError, "only once"),
        ({"batches": [{"image": images(4)}]}, ValueError, "dict"),
        ({"network": nn.Sequential(nn.Conv2d(3, 4, 1), nn.InstanceNorm2d(4))}, NoBatchNormError, "InstanceNorm2d"),
        ({"network": nn.BatchNorm2d(3, track_running_stats=False)}, ValueError, "track_running_stats"),
    ],
)
def test_what_cannot_be_calibrated_is_said(settings: dict[str, Any], error: type[Exception], match: str) -> None:
    settings = dict(settings)
    network, batches = settings.pop("network", None) or chain(), settings.pop("batches", [images(40)])
    with pytest.raises(error, match=match):
        recalibrate(network, batches, **settings)
    assert isinstance(recalibrate(chain(), [images(40)]), CalibrationReport)


def test_the_strategy_keeps_what_recalibration_finds() -> None:
    network, target = chain(), images(48)
    strategy = AdaBN("sequential", "all", None, 0.0, False)
    assert strategy.convert(network) is network
    assert (strategy.name, strategy.uses_target, strategy.own_statistics) == ("adabn", False, "target")
    assert strategy.calibrate(network, [target], "source") is None
    report = strategy.calibrate(network, [target], "target")
    assert report is not None
    assert_equal(statistics_of(network, "target"), report.statistics, 0)
    assert_equal(report.statistics, recalibrate(network, [target], propagate="sequential").statistics, 0)
    with torch.no_grad():
        found = strategy.predict(network, target, "target")
        with using(network, "target"):
            assert torch.equal(found, network(target))
    with pytest.raises(NoBatchNormError, match="GroupNorm"):
        strategy.convert(nn.Sequential(nn.GroupNorm(1, 3)))
    with pytest.raises(ValueError, match=r"adaptation\.propagate"):
        AdaBN("iterate", "all", None, 0.0, False)
