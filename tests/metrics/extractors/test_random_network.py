"""`rand-ms`: the same network everywhere, He's scale, equal parts."""

import pytest
import torch

from stylebench.metrics.extractors import RandomMultiScale
from tests.metrics.extractors.contract import check_features, check_gradients, pictures


def test_features() -> None:
    extractor = RandomMultiScale()
    assert extractor.width == 3 * 2 * (24 + 48 + 64 + 96)
    assert (extractor.name, extractor.alias, extractor.origin, extractor.parts) == (
        "rand-ms-s3",
        "rand_ms",
        "random",
        3,
    )
    check_features(extractor, pictures(3))
    check_gradients(extractor, pictures())


def test_weights_are_those_of_every_machine() -> None:
    assert RandomMultiScale().digest == "f023f13ea4dfc1432eea3f7ebc0387ce84d2c78b2a4d569368250d6abb931c1f"


def test_weights_have_hes_scale_and_leave_torchs_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    extractor = RandomMultiScale(1)
    assert torch.equal(torch.rand(1), expected)
    for weight in list(extractor.parameters())[1:]:
        # Uniform in +-sqrt(6 / fan-in): variance 2 / fan-in; 10,000 and more draws are within 5 % of it.
        bound = (6 / weight[0].numel()) ** 0.5
        assert weight.abs().max() <= bound
        assert float(weight.var()) == pytest.approx(2 / weight[0].numel(), rel=0.05)


def test_maps_have_strides_of_two_to_sixteen() -> None:
    maps = RandomMultiScale(1).maps(pictures(size=64))
    assert [tuple(value.shape[1:]) for value in maps.values()] == [(24, 32, 32), (48, 16, 16), (64, 8, 8), (96, 4, 4)]
    assert all(bool((value >= 0).all()) for value in maps.values())


def test_networks_lie_one_behind_the_other() -> None:
    three, one = RandomMultiScale(3)(pictures()), RandomMultiScale(1)(pictures())
    parts = three.chunk(3, 1)
    torch.testing.assert_close(parts[0], one)
    assert not torch.allclose(parts[1], one)
    assert not torch.allclose(parts[1], parts[2])


def test_bad_input_is_refused() -> None:
    RandomMultiScale(1)(pictures(size=16))
    with pytest.raises(ValueError, match="at least 16 px a side, got 15 x 15"):
        RandomMultiScale(1)(pictures(size=15))
    with pytest.raises(ValueError, match=r"seeds must be .* at least 1, got 0"):
        RandomMultiScale(0)
