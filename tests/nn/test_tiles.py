"""Tiles of a picture have the features of the whole."""

from typing import Any

import pytest
import torch
from torch import Tensor

from stylebench.nn.encoders import CompactEncoder, Encoder, SqueezeNetEncoder, VGGEncoder
from stylebench.nn.tiles import cut_tiles, encode_in_tiles

VGG = {"content_layers": ["relu2_2"], "style_layers": ["relu1_1"], "exchange_layer": "relu2_1"}
SQUEEZE = {"content_layers": ["fire3"], "style_layers": ["conv1"], "exchange_layer": "fire2"}


def compact(**options: Any) -> Encoder:
    return CompactEncoder("random", **VGG, **options).double()


def pictures(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("encoder", "layers"),
    [
        (compact(), ["relu1_1", "relu4_1", "pool2", "conv5_1"]),
        (compact(padding="reflect", pooling="avg"), ["relu1_2", "relu5_1"]),
        (VGGEncoder(16, "random", False, **VGG, padding="replicate").double(), ["relu3_3", "relu4_1"]),
        (SqueezeNetEncoder("random", False, **SQUEEZE).double(), ["conv1", "pool1", "fire4", "fire9"]),
    ],
    ids=["compact", "reflect-avg", "vgg", "squeezenet"],
)
@pytest.mark.parametrize("size", [(201, 133), (96, 65)])
def test_tiled_features_equal_whole(encoder: Encoder, layers: list[str], size: tuple[int, int]) -> None:
    images = pictures(*size)
    whole = encoder(images, layers)
    tiled = encode_in_tiles(encoder, images, layers, tile_px=48)
    assert len(cut_tiles(*size, 48, encoder, layers)) > 1
    for layer in layers:
        # float64 sums of thousands of products, in another order; random weights reach 1e6 before a ReLU
        assert float((tiled[layer] - whole[layer]).abs().max()) <= 1e-13 * float(whole[layer].abs().max())


def test_tiles_need_their_halo() -> None:
    encoder, images = compact(), pictures(96, 96)
    (first, *_), layer = cut_tiles(96, 96, 32, encoder, ["relu3_1"]), "relu3_1"
    stride = encoder.strides[layer]
    with_halo = first.inner(encoder(first.read(images), [layer])[layer], stride)
    bare = encoder(images[..., : first.bottom, : first.right], [layer])[layer]
    whole = encoder(images, [layer])[layer][..., : bare.shape[2], : bare.shape[3]]
    assert torch.allclose(with_halo, whole, atol=1e-10)
    assert not torch.allclose(bare, whole, atol=1e-3)


def test_tiles_cover_every_pixel_once() -> None:
    seen = torch.zeros(201, 133)
    for tile in cut_tiles(201, 133, 40, compact(), ["relu4_1"]):
        seen[tile.top : tile.bottom, tile.left : tile.right] += 1
        assert tile.top % 8 == tile.left % 8 == tile.outer_top % 8 == tile.outer_left % 8 == 0
    assert bool((seen == 1).all())


def test_reach_is_the_receptive_field() -> None:
    # relu4_1 of compact sees, stage by stage: convs 1 + 1 at stride 1, pool 1; 2 + 2, pool 2; 4 + 4, pool 4; conv 8
    assert compact().reach_px("relu4_1") == 3 + 6 + 12 + 8
    encoder, layer = compact(padding="zeros"), "relu4_1"
    images = pictures(161, 161).requires_grad_()
    maps = encoder(images, [layer])[layer]
    maps[0, :, 10, 10].sum().backward()  # the place of pixel 80
    assert images.grad is not None
    touched = images.grad.abs().sum((0, 1, 2)).nonzero().flatten()
    assert int(touched.min()) >= 80 - 29
    assert int(touched.max()) <= 80 + 29


@pytest.mark.parametrize(
    "encoder",
    [compact(padding="circular"), SqueezeNetEncoder("random", False, **SQUEEZE, padding="valid").double()],
    ids=["circular", "valid"],
)
def test_encoder_that_does_not_line_up_is_refused(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match=r"cannot be computed in tiles.*tile_px=null"):
        encode_in_tiles(encoder, pictures(96, 96), list(encoder.style_layers), tile_px=32)


@pytest.mark.parametrize("tile_px", [0, -4, 1.5, True])
def test_tile_size_that_makes_no_sense(tile_px: Any) -> None:
    with pytest.raises(ValueError, match="tile_px must be a whole number"):
        cut_tiles(64, 64, tile_px, compact(), ["relu1_1"])


@pytest.mark.parametrize("tile_px", [1, 4, 8, 16, 40])
@pytest.mark.parametrize("side", [56, 72, 100])
def test_every_tile_has_positions(tile_px: int, side: int) -> None:
    encoder, layers = compact(), ["relu1_1", "relu4_1"]
    assert all(tile.bottom - tile.top >= 8 for tile in cut_tiles(side, 64, tile_px, encoder, layers))
    whole, tiled = encoder(pictures(side, 64), layers), encode_in_tiles(encoder, pictures(side, 64), layers, tile_px)
    assert all(torch.allclose(tiled[layer], whole[layer], rtol=0, atol=1e-10) for layer in layers)
