"""Pooled maps: known numbers, numpy, and a finite gradient where a channel is constant."""

import math

import numpy as np
import torch

from stylebench.metrics.extractors.pooling import log_mean_and_spread, mean_and_spread


def test_mean_and_spread_known_answer() -> None:
    # 1 3 5 7: mean 4, squared deviations 9 1 1 9, their mean 5; the other channel is constant.
    maps = {"a": torch.tensor([[[[1.0, 3.0], [5.0, 7.0]], [[2.0, 2.0], [2.0, 2.0]]]])}
    torch.testing.assert_close(mean_and_spread(maps, ["a"]), torch.tensor([[4.0, 2.0, math.sqrt(5), 0.0]]))
    logs = torch.tensor([[math.log(5), math.log(3), math.log1p(math.sqrt(5)), 0.0]])
    torch.testing.assert_close(log_mean_and_spread(maps, ["a"]), logs)


def test_mean_and_spread_equals_numpy_far_from_zero() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = {tap: 1000 + torch.randn(2, 3, 6, 5, generator=generator) for tap in "ab"}
    expected = [
        moment(maps[tap].double().numpy(), axis=(2, 3)) for tap in "ba" for moment in (np.mean, np.std)
    ]  # in the order asked for
    np.testing.assert_allclose(mean_and_spread(maps, ["b", "a"]).numpy(), np.concatenate(expected, 1), rtol=1e-4)


def test_a_constant_channel_has_a_finite_gradient() -> None:
    maps = torch.ones(1, 1, 2, 2, requires_grad=True)
    log_mean_and_spread({"a": maps}, ["a"]).sum().backward()
    assert maps.grad is not None
    # d log(1 + mean) / d x = 1 / (1 + 1) / 4; the deviation adds nothing.
    torch.testing.assert_close(maps.grad, torch.full((1, 1, 2, 2), 0.125))
