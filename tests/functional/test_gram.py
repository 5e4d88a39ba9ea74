"""Gram matrices: known numbers, an independent numpy reference, invariances, gradients and precision."""

import numpy as np
import pytest
import torch

from stylebench.functional.gram import GRAM_NORMS, check_gram_energy, convert_gram_loss, gram_loss, gram_matrix


def _maps(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_gram_matrix_known_answer() -> None:
    # Two channels over two positions, F = [[1, 2], [3, 4]]: F F^T = [[5, 11], [11, 25]], halved for M = 2.
    gram = gram_matrix(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]))
    assert torch.equal(gram, torch.tensor([[[2.5, 5.5], [5.5, 12.5]]]))


def test_gram_matrix_equals_numpy() -> None:
    features = _maps(2, 3, 4, 5)
    expected = np.einsum("bchw,bdhw->bcd", features.numpy(), features.numpy()) / 20
    np.testing.assert_allclose(gram_matrix(features).numpy(), expected, rtol=1e-12)


def test_gram_matrix_ignores_the_order_of_positions_and_tiling() -> None:
    features = _maps(1, 3, 4, 6)
    shuffled = features.flatten(2)[..., torch.randperm(24, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(gram_matrix(shuffled.reshape(1, 3, 6, 4)), gram_matrix(features))
    torch.testing.assert_close(gram_matrix(features.repeat(1, 1, 2, 3)), gram_matrix(features))  # sizes compare


def test_gram_matrix_of_channels_last_is_the_same_without_a_copy() -> None:
    plain = _maps(2, 3, 4, 5).requires_grad_()
    last = plain.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    assert last.flatten(2).data_ptr() == last.data_ptr()
    weights = _maps(2, 3, 3, seed=1)  # not symmetric: the general gradient
    (gram_matrix(plain) * weights).sum().backward()
    (gram_matrix(last) * weights).sum().backward()
    torch.testing.assert_close(gram_matrix(last), gram_matrix(plain))
    torch.testing.assert_close(last.grad, plain.grad)
    assert last.grad is not None
    assert last.grad.is_contiguous(memory_format=torch.channels_last)


def test_gram_matrix_gradient_is_that_of_plain_autograd() -> None:
    features = _maps(2, 3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(gram_matrix, features)
    assert torch.autograd.gradgradcheck(gram_matrix, features)
    flat = features.flatten(2)
    weights = _maps(2, 3, 3, seed=1)
    (expected,) = torch.autograd.grad(((flat @ flat.mT / 4) * weights).sum(), features)
    (found,) = torch.autograd.grad((gram_matrix(features) * weights).sum(), features)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gram_matrix_is_finite_in_half_precision(dtype: torch.dtype) -> None:
    # 100^2 summed over 64 positions is 640,000, far above float16's 65,504.
    features = torch.full((1, 2, 8, 8), 100.0, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gram = gram_matrix(features)
    assert gram.dtype == torch.float32
    assert torch.equal(gram, torch.full((1, 2, 2), 10_000.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gram.sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
    assert gram_matrix(features.double()).dtype == torch.float64


def test_gram_matrix_backward_inside_autocast_stays_float32() -> None:
    plain, cast = (_maps(1, 4, 8, 8, dtype=torch.float32).requires_grad_() for _ in range(2))
    gram_matrix(plain).square().sum().backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gram_matrix(cast).square().sum().backward()
    torch.testing.assert_close(cast.grad, plain.grad)


def test_gram_matrix_names_the_shape_it_refuses() -> None:
    with pytest.raises(ValueError, match=r"\(B, C, H, W\), got shape \(3, 4, 5\)"):
        gram_matrix(torch.zeros(3, 4, 5))


def test_gram_loss_known_answers() -> None:
    # dG = [[1, 2], [2, 4]]: ||dG||^2 = 25, N = 2. gatys 25/16, hw_mean 25/4, cchw 25/16; target 2x2 of 3s: 25/36.
    target = torch.full((1, 2, 2), 3.0)
    gram = target + torch.tensor([[[1.0, 2.0], [2.0, 4.0]]])
    expected = {"gatys": 25 / 16, "johnson_paper": 25 / 4, "cchw": 25 / 16, "hw_mean": 25 / 4, "relative": 25 / 36}
    assert set(expected) == set(GRAM_NORMS)
    for norm, value in expected.items():
        torch.testing.assert_close(gram_loss(gram, target, norm), torch.tensor([value]))


def test_gram_loss_norms_have_their_fixed_ratios() -> None:
    channels = 6
    gram, target = gram_matrix(_maps(3, channels, 4, 4)), gram_matrix(_maps(1, channels, 5, 5, seed=1))
    gatys = gram_loss(gram, target, "gatys")
    for norm, ratio in {"gatys": 1, "johnson_paper": 4, "cchw": 4 / channels**2, "hw_mean": 4}.items():
        torch.testing.assert_close(gram_loss(gram, target, norm), ratio * gatys)
        assert convert_gram_loss(1.0, channels, "gatys", norm) == pytest.approx(ratio)
        assert convert_gram_loss(ratio, channels, norm, "gatys") == pytest.approx(1.0)


def test_gram_loss_equals_the_formulas_as_their_sources_write_them() -> None:
    features, style = _maps(2, 5, 4, 3), _maps(1, 5, 6, 7, seed=1)
    gram, target = gram_matrix(features), gram_matrix(style)
    ours = features.flatten(2).numpy() @ features.flatten(2).mT.numpy() / (5 * 12)  # the examples' gram_matrix
    theirs = style.flatten(2).numpy() @ style.flatten(2).mT.numpy() / (5 * 42)
    difference = ours - theirs
    np.testing.assert_allclose(gram_loss(gram, target, "cchw").numpy(), (difference**2).mean((1, 2)), rtol=1e-10)
    np.testing.assert_allclose(
        gram_loss(gram, target, "johnson_paper").numpy(), (difference**2).sum((1, 2)), rtol=1e-10
    )


def test_gram_loss_relative_properties() -> None:
    features, style = _maps(2, 4, 3, 3), _maps(1, 4, 3, 3, seed=1)
    gram, target = gram_matrix(features), gram_matrix(style)
    value = gram_loss(gram, target, "relative")
    assert torch.equal(gram_loss(target, target, "relative"), torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(
        gram_loss(torch.zeros_like(target), target, "relative"), torch.ones(1, dtype=torch.float64)
    )
    torch.testing.assert_close(gram_loss(gram_matrix(10 * features), gram_matrix(10 * style), "relative"), value)


def test_gram_loss_broadcasts_one_target_and_keeps_samples_apart() -> None:
    gram, target = gram_matrix(_maps(3, 4, 3, 3)), gram_matrix(_maps(1, 4, 3, 3, seed=1))
    together = gram_loss(gram, target, "hw_mean")
    assert together.shape == (3,)
    torch.testing.assert_close(together[1:2], gram_loss(gram[1:2], target, "hw_mean"))
    torch.testing.assert_close(together, gram_loss(gram, target.expand(3, -1, -1), "hw_mean"))


@pytest.mark.parametrize("norm", GRAM_NORMS)
def test_gram_loss_gradcheck(norm: str) -> None:
    target = gram_matrix(_maps(1, 3, 2, 2, seed=1))
    assert torch.autograd.gradcheck(
        lambda maps: gram_loss(gram_matrix(maps), target, norm), _maps(2, 3, 2, 2).requires_grad_()
    )


def test_gram_loss_refuses_unknown_norms_and_other_shapes() -> None:
    gram = torch.zeros(2, 3, 3)
    with pytest.raises(ValueError, match=r"gatys, .*relative; got 'mean'"):
        gram_loss(gram, gram, "mean")
    with pytest.raises(ValueError, match=r"\(2, 3, 3\).*got \(2, 4, 4\)"):
        gram_loss(gram, torch.zeros(2, 4, 4), "gatys")
    with pytest.raises(ValueError, match=r"fixed ratio.*'relative'"):
        convert_gram_loss(1.0, 4, "gatys", "relative")


def test_check_gram_energy_names_the_dead_layer() -> None:
    alive = {"relu1_1": torch.eye(3)[None]}
    check_gram_energy(alive)
    with pytest.raises(ValueError, match=r"at least 1e-12.*relu5_1 \(0\)"):
        check_gram_energy({**alive, "relu5_1": torch.zeros(1, 3, 3)})
    with pytest.raises(ValueError, match="relu5_1"):
        check_gram_energy({"relu5_1": torch.full((1, 3, 3), float("nan"))})


def test_gram_matrix_compiles_without_a_graph_break() -> None:
    features, reference = (_maps(1, 3, 4, 4).requires_grad_() for _ in range(2))
    compiled = torch.compile(gram_matrix, backend="aot_eager", fullgraph=True)
    compiled(features).square().sum().backward()
    gram_matrix(reference).square().sum().backward()
    torch.testing.assert_close(features.grad, reference.grad)
    torch.compiler.reset()
