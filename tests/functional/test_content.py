"""Content distance: a known number, per-sample values, gradient, precision."""

import numpy as np
import pytest
import torch

from stylebench.functional.content import content_loss


def test_content_loss_known_answer() -> None:
    # Differences 1 and 3: (1 + 9) / 2 = 5; the second sample is equal to its target.
    features, target = torch.zeros(2, 1, 1, 2), torch.tensor([[[[1.0, 3.0]]], [[[0.0, 0.0]]]])
    assert torch.equal(content_loss(features, target), torch.tensor([5.0, 0.0]))


def test_content_loss_equals_numpy_in_both_memory_formats() -> None:
    generator = torch.Generator().manual_seed(0)
    features, target = (torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    expected = ((features.numpy() - target.numpy()) ** 2).reshape(2, -1).mean(1)
    np.testing.assert_allclose(content_loss(features, target).numpy(), expected, rtol=1e-12)
    last = features.contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(content_loss(last, target).numpy(), expected, rtol=1e-12)
    torch.testing.assert_close(content_loss(features, target[:1])[:1], content_loss(features, target)[:1])


def test_content_loss_gradcheck() -> None:
    generator = torch.Generator().manual_seed(0)
    features, target = (torch.randn(2, 2, 2, 2, dtype=torch.float64, generator=generator) for _ in range(2))
    assert torch.autograd.gradcheck(content_loss, (features.requires_grad_(), target))


def test_content_loss_is_a_float32_island() -> None:
    features = torch.full((1, 1, 8, 8), 300.0, dtype=torch.float16)  # 300^2 is more than float16 holds
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = content_loss(features, torch.zeros_like(features))
    assert value.dtype == torch.float32
    assert value.item() == 90_000


def test_content_loss_names_the_shapes_it_refuses() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2, 4, 4\) and \(1, 2, 4, 5\).*same layer"):
        content_loss(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5))
