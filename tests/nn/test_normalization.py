from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import alexnet, resnet18
from torchvision.ops import FrozenBatchNorm2d

from stylebench.functional.moments import MeanAndVariance
from stylebench.nn.domain_norms import SOURCE, TARGET, DomainNorm, joint
from stylebench.nn.normalization import (
    NoBatchNormError,
    batch_norms,
    convert,
    keep,
    kept,
    statistics_of,
    using,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 2, 3),
                         nn.BatchNorm2d(2))  # fmt: skip
    for layer in batch_norms(made).values():
        assert isinstance(layer, nn.BatchNorm2d)
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    made.train()
    for seed in range(3):
        made(1 + 2 * drawn(4, 3, 9, 9, seed=seed))
    return made.eval()


def shifted(made: nn.Module) -> dict[str, MeanAndVariance]:
    return {
        name: MeanAndVariance(mean + 1, variance * 2)
        for name, (mean, variance) in statistics_of(made, "running").items()
    }


def by_formula(maps: Tensor, layer: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> Tensor:
    return (maps - mean) / (variance + layer.eps).sqrt() * layer.weight.view(-1, 1, 1) + layer.bias.view(-1, 1, 1)


@pytest.mark.parametrize("statistics", ["running", "batch", "image", "paintings", "source"])
def test_a_layer_normalizes_by_the_statistics_chosen(statistics: str) -> None:
    layer, maps = network()[1], 3 + drawn(5, 4, 6, 6, seed=9)
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    keep(layer, "paintings", {"": MeanAndVariance(torch.arange(4.0), torch.arange(1.0, 5.0))})
    axes = {"batch": (0, 2, 3), "image": (2, 3)}.get(statistics)
    mean, variance = {
        "running": (layer.running_mean, layer.running_var),
        "source": (layer.running_mean, layer.running_var),
        "paintings": (torch.arange(4.0), torch.arange(1.0, 5.0)),
    }.get(statistics, (None, None))
    expected = (
        by_formula(maps, layer, mean.view(-1, 1, 1), variance.view(-1, 1, 1))
        if mean is not None and variance is not None
        else by_formula(maps, layer, maps.mean(axes, keepdim=True), maps.var(axes, correction=0, keepdim=True))
    )
    with using(layer, statistics):
        found = layer(maps)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_share_mixes_a_domain_with_the_source() -> None:
    layer, maps = network()[1], 3 + drawn(5, 4, 6, 6, seed=9)
    assert isinstance(layer, nn.BatchNorm2d)
    domain, source = shifted(layer)[""], statistics_of(layer, "source")[""]
    keep(layer, "paintings", {"": domain})
    mean = 0.3 * domain.mean + 0.7 * source.mean
    variance = 0.3 * domain.variance + 0.7 * source.variance + 0.3 * 0.7 * (domain.mean - source.mean).square()
    with using(layer, "paintings", 0.3):
        found = layer(maps)
    torch.testing.assert_close(
        found, by_formula(maps, layer, mean.float().view(-1, 1, 1), variance.float().view(-1, 1, 1))
    )
    for share in (0.5, -1, 2):
        with pytest.raises(ValueError, match="share"), using(layer, "batch", share):
            pass


@pytest.mark.parametrize("statistics", ["running", "batch", "image", "paintings"])
@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_left_of_a_block(statistics: str, training: bool) -> None:
    made, maps = network(), drawn(4, 3, 9, 9)
    keep(made, "paintings", shifted(made))
    made.train(training)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    modes = [part.training for part in made.modules()]
    kinds = [type(part) for part in made.modules()]
    with using(made, statistics):
        assert made[3].training == training  # dropout
        made(maps)
    with pytest.raises(ValueError, match="expected 4D"), using(made, statistics):
        made[1](maps[0])
    assert modes == [part.training for part in made.modules()]
    assert kinds == [type(part) for part in made.modules()]
    assert list(before) == list(made.state_dict())
    for name, value in made.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_innermost_block_counts() -> None:
    made, maps = network(), drawn(4, 3, 9, 9)
    keep(made, "paintings", shifted(made))
    plain = made(maps)
    with using(made, "paintings"):
        paintings = made(maps)
        with using(made, "running"):
            assert torch.equal(made(maps), plain)
        assert torch.equal(made(maps), paintings)
    assert not torch.equal(plain, paintings)
    assert torch.equal(made(maps), plain)


def test_statistics_stay_out_of_checkpoints_and_in_float64() -> None:
    made = network()
    names = list(made.state_dict())
    keep(made, "paintings", {name: MeanAndVariance(mean / 3, var) for name, (mean, var) in shifted(made).items()})
    assert list(made.state_dict()) == names
    before = statistics_of(made, "paintings")
    made.half()
    for name, found in statistics_of(made, "paintings").items():
        assert found.mean.dtype == torch.float64
        assert torch.equal(found.mean, before[name].mean)
    with using(made, "paintings"):
        assert made(drawn(2, 3, 9, 9).half()).dtype == torch.float16


def test_a_compiled_network_follows_the_switch() -> None:
    made, maps = network(), drawn(4, 3, 9, 9)
    keep(made, "paintings", shifted(made))
    expected = {}
    for name in ("running", "paintings", "image"):
        with using(made, name):
            expected[name] = made(maps)
    compiled = torch.compile(made, backend="eager")
    for name in ("running", "paintings", "image", "running"):
        with using(made, name):
            torch.testing.assert_close(compiled(maps), expected[name])


def test_a_subclass_keeps_what_follows_its_norm() -> None:
    class NormAct(nn.BatchNorm2d):  # as timm's BatchNormAct2d
        def forward(self, maps: Tensor) -> Tensor:
            return F.relu(super().forward(maps))

    layer, maps = NormAct(3), drawn(4, 3, 5, 5)
    with using(layer, "image"):
        found = layer(maps)
    torch.testing.assert_close(found, F.relu(F.instance_norm(maps)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4)),
            "GroupNorm, InstanceNorm2d",
        ),
        (lambda: alexnet(num_classes=2), "no norm at all"),
    ],
)
def test_a_network_without_batch_norm_names_its_norms(made: Callable[[], nn.Module], match: str) -> None:
    with pytest.raises(NoBatchNormError, match=match), using(made(), "batch"):
        pass


def test_what_cannot_be_chosen_is_said() -> None:
    made = network()
    keep(made, "paintings", shifted(made))
    with pytest.raises(ValueError, match=r"'sketches'.*source, paintings"), using(made, "sketches"):
        pass
    with pytest.raises(ValueError, match="'batch'"):
        keep(made, "batch", {})
    with pytest.raises(ValueError, match="source"):
        keep(made, "source", {})
    with pytest.raises(ValueError, match=r"'9'.*1, 5"):
        keep(made, "paintings", {"9": MeanAndVariance(torch.zeros(1), torch.ones(1))})
    with pytest.raises(ValueError, match="layer 1 has 4 channels"):
        keep(made, "paintings", {"1": MeanAndVariance(torch.zeros(2), torch.ones(2))})
    with (
        pytest.raises(ValueError, match="track_running_stats=False"),
        using(nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False)), "running"),
    ):
        pass
    with pytest.raises(ValueError, match="frozen"), using(FrozenBatchNorm2d(2), "batch"):
        pass


def test_a_frozen_norm_takes_the_statistics_of_a_domain() -> None:
    layer, maps = FrozenBatchNorm2d(2), drawn(3, 2, 4, 4)
    keep(layer, "paintings", {"": MeanAndVariance(torch.tensor([1.0, 2.0]), torch.tensor([4.0, 9.0]))})
    with using(layer, "paintings"):
        found = layer(maps)
    expected = (maps - torch.tensor([1.0, 2.0]).view(-1, 1, 1)) / torch.tensor([2.0, 3.0]).view(-1, 1, 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


class Branches(DomainNorm):
    def forward(self, maps: Tensor) -> Tensor:
        mean, variance = (part.to(maps.dtype) for part in self.statistics(self.branch))
        return F.batch_norm(maps, mean, variance, self.weight, self.bias, False, 0.0, self.eps)


def test_a_converted_network_is_the_network_it_was() -> None:
    torch.manual_seed(0)
    made, images = resnet18(num_classes=3), drawn(2, 3, 32, 32)
    made(images)  # running averages of its own
    state = {name: value.clone() for name, value in made.state_dict().items()}
    plain = made.eval()(images)
    parameters = list(dict(made.named_parameters()))
    assert convert(made, Branches) is made
    assert list(dict(made.named_parameters())) == parameters
    assert convert(made, Branches) is made
    assert all(isinstance(layer, Branches) for layer in batch_norms(made).values())
    for branch in (SOURCE, TARGET):
        with using(made, branch):
            torch.testing.assert_close(made(images), plain)
    torch.manual_seed(1)
    other = convert(resnet18(num_classes=3), Branches)
    other.load_state_dict(state)  # of the plain network
    torch.testing.assert_close(other.eval()(images), plain)
    again = convert(resnet18(num_classes=3), Branches)
    again.load_state_dict(made.state_dict())
    torch.testing.assert_close(again.eval()(images), plain)


def test_branches_and_further_domains_of_a_converted_network() -> None:
    made = convert(network(), Branches)
    keep(made, "target", shifted(made))
    keep(made, "sketches", shifted(made))
    assert kept(made) == ("source", "target", "sketches")
    maps = drawn(2, 3, 9, 9)
    found = {}
    for name in (*kept(made), "running"):
        with using(made, name):
            found[name] = made(maps)
    assert torch.equal(found["running"], found["target"])
    assert not torch.equal(found["source"], found["target"])
    assert not torch.equal(found["sketches"], found["target"])
    assert made.half()[1].source_mean.dtype == torch.float64
    with pytest.raises(ValueError, match="Branches"), using(made, "image"):
        pass


def test_a_layer_in_two_places_is_converted_in_both() -> None:
    layer = nn.BatchNorm2d(2)
    made = convert(nn.Sequential(layer, nn.ReLU(), layer), Branches)
    assert isinstance(made, nn.Sequential)
    assert isinstance(made[0], Branches)
    assert made[0] is made[2]


def test_a_joint_batch_tells_its_layers_where_it_is_cut() -> None:
    made = convert(network(), Branches)
    layer = next(part for part in made.modules() if isinstance(part, DomainNorm))
    with joint(made, 3):
        assert layer.sources == 3
        with joint(made, 1):
            assert layer.sources == 1
        assert layer.sources == 3
    assert layer.sources is None
