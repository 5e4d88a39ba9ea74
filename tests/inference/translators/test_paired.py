"""The translator of paired translation: ranges, modes and the noise control."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stylebench.inference.translators.paired import PairedTranslator
from stylebench.nn.generators.resnet import ResNetGenerator
from stylebench.nn.generators.unet import UNetGenerator

ROUNDING = 1e-5  # of convolutions in another order


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def translator(eval_mode: str, **settings: Any) -> PairedTranslator:
    """A U-Net whose running averages are those of two batches."""
    torch.manual_seed(0)
    made = PairedTranslator(UNetGenerator(**{"size_px": 32, "width": 4, **settings}), eval_mode)
    for _ in range(2):
        made.train()(torch.rand(2, 3, 32, 32) * 2 - 1)
    return made


def test_a_generator_that_returns_its_input_changes_nothing() -> None:
    source = images(2, 3, 20, 31)
    torch.testing.assert_close(PairedTranslator(nn.Identity()).translate(source), source, atol=1e-6, rtol=0)


@pytest.mark.parametrize("eval_mode", ["train_stats_dropout", "train_stats", "eval"])
def test_each_image_is_translated_as_if_alone(eval_mode: str) -> None:
    model, source = translator(eval_mode), images(3, 3, 40, 32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    together = model.translate(source)
    alone = torch.stack([model.translate(image) for image in source])
    torch.testing.assert_close(together, alone, atol=ROUNDING, rtol=ROUNDING)
    assert torch.equal(together, model.translate(source))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training
    assert all(part.training for part in model.modules())


def test_modes_differ_and_training_statistics_are_those_of_one_image() -> None:
    source = images(1, 3, 32, 32)
    noisy, own, running = (
        translator(mode).translate(source) for mode in ("train_stats_dropout", "train_stats", "eval")
    )
    assert not torch.equal(noisy, own)
    assert not torch.equal(own, running)
    model = translator("train_stats", dropout="none")
    trained = (model.train()(2 * source - 1) + 1) / 2
    torch.testing.assert_close(model.translate(source), trained.detach(), atol=ROUNDING, rtol=ROUNDING)


def test_the_seed_is_a_control_where_there_is_noise() -> None:
    model, source = translator("train_stats_dropout"), images(1, 3, 32, 32)
    (control,) = model.controls
    assert control.name == "noise_seed"
    assert torch.equal(model.translate(source), model.translate(source, noise_seed=0))
    assert not torch.equal(model.translate(source), model.translate(source, noise_seed=1))
    assert model.translate(source, noise_seed=2**31 - 1).isfinite().all()
    with pytest.raises(ValueError, match="noise_seed is a whole number"):
        model.translate(source, noise_seed=0.5)
    quiet = [
        translator("train_stats"),
        translator("eval"),
        translator("train_stats_dropout", dropout="none"),
        PairedTranslator(ResNetGenerator(blocks=1, width=4)),
    ]
    for other in quiet:
        assert other.controls == ()
        with pytest.raises(ValueError, match="has no control 'noise_seed'"):
            other.translate(source, noise_seed=1)


def test_translating_leaves_the_global_generator_alone() -> None:
    model = translator("train_stats_dropout")
    state = torch.get_rng_state()
    model.translate(images(1, 3, 32, 32))
    assert torch.equal(torch.get_rng_state(), state)


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(
        ValueError, match="eval_mode must be one of train_stats_dropout, train_stats, eval, got 'train'"
    ):
        PairedTranslator(nn.Identity(), "train")
