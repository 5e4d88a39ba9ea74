"""The patch discriminator: sizes, what a logit sees, and which images it can judge."""

import pytest
import torch
from torch import nn

from stylebench.nn.discriminators.patch import RECEPTIVE_FIELDS, PatchDiscriminator
from stylebench.nn.layers import InstanceNorm

PAIRS = {16: 139_585, 34: 666_433, 70: 2_768_705, 142: 6_964_033, 286: 11_159_361}
LOGITS = {1: 256, 16: 126, 34: 62, 70: 30, 142: 14, 286: 6}  # a side, of 256 px


def parameters(**settings: object) -> int:
    return sum(p.numel() for p in PatchDiscriminator(**settings).parameters())  # type: ignore[arg-type]


@pytest.mark.parametrize("side", PAIRS)
def test_patch_discriminator_parameter_count(side: int) -> None:
    assert parameters(in_channels=6, receptive_field_px=side, norm="batch") == PAIRS[side]


def test_patch_discriminator_parameter_count_of_unpaired_translation() -> None:
    assert parameters(biases=True) == 2_764_737
    assert parameters() == 2_764_737 - (128 + 256 + 512)  # no biases before the three norms
    # 1 px: 3 x 64 and 64; 64 x 128 and its batch norm's 2 x 128; 128 and 1
    assert parameters(receptive_field_px=1, norm="batch") == 256 + 8192 + 256 + 129


@pytest.mark.parametrize("side", RECEPTIVE_FIELDS)
def test_a_logit_sees_a_square_of_this_side(side: int) -> None:
    """The pixels that a logit in the middle has a gradient for; an instance norm would let it see everything."""
    network = PatchDiscriminator(receptive_field_px=side, width=1, norm="none").double()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)  # nothing cancels
    size = max(32, 2 * side)
    image = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    logits = network(image)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], image)
    rows, columns = (gradient[0].abs().sum((0, axis)).nonzero().flatten() for axis in (1, 2))
    for places in (rows, columns):
        assert len(places) == side
        assert int(places[-1] - places[0]) == side - 1


@pytest.mark.parametrize("side", RECEPTIVE_FIELDS)
def test_the_map_of_logits_of_256_px(side: int) -> None:
    logits = PatchDiscriminator(receptive_field_px=side, width=1)(torch.rand(2, 3, 256, 256))
    assert logits.shape == (2, 1, LOGITS[side], LOGITS[side])


@pytest.mark.parametrize("side", [1, 16, 34, 70])
def test_samples_do_not_see_each_other(side: int) -> None:
    torch.manual_seed(0)
    network, images = PatchDiscriminator(receptive_field_px=side, width=4).double(), torch.rand(2, 3, 32, 32).double()
    each = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), each, rtol=0, atol=1e-12)


def test_norms_are_where_the_paper_has_them() -> None:
    layers = list(PatchDiscriminator(width=1).layers)
    stage = [nn.Conv2d, InstanceNorm, nn.LeakyReLU]
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.LeakyReLU, *stage * 3, nn.Conv2d]
    assert {layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)} == {0.2}
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [layer.bias is not None for layer in convolutions] == [True, False, False, False, True]
    assert [layer.stride[0] for layer in convolutions] == [2, 2, 2, 1, 1]


def test_weights_start_as_published() -> None:
    torch.manual_seed(0)
    network = PatchDiscriminator(width=16, norm="batch")
    weights = torch.cat([layer.weight.detach().flatten() for layer in network.layers if isinstance(layer, nn.Conv2d)])
    assert float(weights.std()) == pytest.approx(0.02, rel=0.02)
    assert not any(bias.detach().any() for name, bias in network.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize("side", PAIRS)
def test_the_smallest_image_that_is_accepted_has_a_logit(side: int) -> None:
    network = PatchDiscriminator(receptive_field_px=side, width=1)
    least = 3 * 2 ** RECEPTIVE_FIELDS[side]
    network.check_size(least)
    assert network(torch.rand(1, 3, least, least)).numel() == 1
    with pytest.raises(ValueError, match=f"receptive field of {side} px finds no patch in images of {least - 1} px"):
        network.check_size(least - 1)


def test_too_small_images_are_told_what_would_do() -> None:
    with pytest.raises(ValueError, match=r"24 px or more, or a receptive_field_px of 1 or 16 or 34$"):
        PatchDiscriminator(width=1).check_size(16)
    with pytest.raises(ValueError, match=r"6 px or more, or a receptive_field_px of 1$"):
        PatchDiscriminator(receptive_field_px=16, width=1).check_size(5)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"receptive_field_px must be one of 1, 16, 34, 70, 142, 286, got 64"):
        PatchDiscriminator(receptive_field_px=64)
    with pytest.raises(ValueError, match=r"norm must be one of batch, instance, none, got 'layer'"):
        PatchDiscriminator(norm="layer")
