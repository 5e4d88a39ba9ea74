"""What holds for every encoder: frozen, one pass, right under each precision and memory format."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import stylebench.conf
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from stylebench.nn.encoders import Encoder, SqueezeNetEncoder, VGGEncoder
from stylebench.nn.encoders.base import record_name

CONFIGS = sorted((Path(stylebench.conf.__path__[0]) / "encoder").glob("*.yaml"))


@pytest.fixture(params=["vgg16", "squeezenet", "compact", "judge"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Encoder)
    return found


def _taps(encoder: Encoder) -> list[str]:
    return [encoder.content_layers[0], *encoder.style_layers]


def test_encoder_is_frozen_and_outside_checkpoints(encoder: Encoder) -> None:
    assert list(encoder.parameters()) == []
    assert encoder.state_dict() == {}
    assert len(list(encoder.buffers())) > 10
    parent = torch.nn.Sequential(encoder).train()
    assert parent.training
    assert not any(module.training for module in encoder.modules())


def test_encoder_is_unchanged_by_training_steps_and_passes_gradients(encoder: Encoder, images: torch.Tensor) -> None:
    before = [buffer.clone() for buffer in encoder.buffers()]
    trained = images.clone().requires_grad_()
    optimizer = torch.optim.SGD([trained], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        sum(maps.square().mean() for maps in encoder(trained, _taps(encoder)).values()).backward()
        assert trained.grad is not None
        assert trained.grad.abs().sum() > 0
        optimizer.step()
    assert all(torch.equal(old, new) for old, new in zip(before, encoder.buffers(), strict=True))
    assert all(not buffer.requires_grad for buffer in encoder.buffers())


def test_encoder_keeps_no_graph_where_none_is_needed(encoder: Encoder, images: torch.Tensor) -> None:
    assert all(maps.grad_fn is None for maps in encoder(images, _taps(encoder)).values())


def test_encoder_computes_all_layers_in_one_pass_and_stops_at_the_deepest(
    encoder: Encoder, images: torch.Tensor
) -> None:
    counts = dict.fromkeys(encoder.taps, 0)
    hooks = [
        stage.register_forward_hook(lambda *_, tap=tap: counts.__setitem__(tap, counts[tap] + 1))
        for tap, stage in encoder.stages.items()
    ]
    deepest = encoder.taps.index(encoder.style_layers[-1])
    found = encoder(images, list(reversed(encoder.style_layers)))
    for hook in hooks:
        hook.remove()
    assert list(found) == list(reversed(encoder.style_layers))
    assert list(counts.values()) == [1] * (deepest + 1) + [0] * (len(encoder.taps) - deepest - 1)


def test_encoder_reports_channels_and_strides(encoder: Encoder, images: torch.Tensor) -> None:
    for tap, maps in encoder(images, encoder.taps).items():
        assert maps.shape == (2, encoder.channels[tap], 64 // encoder.strides[tap], 64 // encoder.strides[tap])


def test_encoder_layers_do_not_depend_on_what_else_is_asked_for(encoder: Encoder, images: torch.Tensor) -> None:
    small = images[:1, :, :32, :32]
    together = encoder(small, encoder.taps)  # every tap kept: nothing computed in place
    for tap in encoder.taps[::3]:
        assert torch.equal(encoder(small, [tap])[tap], together[tap])


def test_encoder_in_place_steps_change_no_gradient(encoder: Encoder, images: torch.Tensor) -> None:
    small = images[:1, :, :32, :32].double().requires_grad_()
    double = copy.deepcopy(encoder).double()
    layer = encoder.style_layers[-1]

    def gradient(layers: tuple[str, ...]) -> torch.Tensor:
        return torch.autograd.grad(double(small, layers)[layer].square().sum(), small)[0]

    assert torch.equal(gradient((layer,)), gradient(encoder.taps[: encoder.taps.index(layer) + 1]))


def test_encoder_in_channels_last_and_float64_gives_the_same(encoder: Encoder, images: torch.Tensor) -> None:
    taps = _taps(encoder)
    plain = encoder(images, taps)
    last = copy.deepcopy(encoder).to(memory_format=torch.channels_last)
    for tap, maps in last(images.contiguous(memory_format=torch.channels_last), taps).items():
        assert maps.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(maps, plain[tap], rtol=1e-4, atol=1e-4)
    for tap, maps in copy.deepcopy(encoder).double()(images.double(), taps).items():
        assert maps.dtype == torch.float64
        torch.testing.assert_close(maps.float(), plain[tap], rtol=1e-4, atol=1e-4)


def test_encoder_under_bfloat16_autocast_is_near_float32(encoder: Encoder, images: torch.Tensor) -> None:
    plain = encoder(images, _taps(encoder))
    trained = images.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = encoder(trained, _taps(encoder))
    for tap, maps in cast.items():
        assert maps.dtype == torch.bfloat16
        error = (maps.float() - plain[tap]).norm() / plain[tap].norm()
        assert error < 0.03  # bfloat16 has 8 bits: 0.4 % a step, over a few steps
    sum(maps.float().square().mean() for maps in cast.values()).backward()
    assert trained.grad is not None
    assert trained.grad.isfinite().all()


def test_encoder_compiles_in_place_without_a_graph_break(encoder: Encoder, images: torch.Tensor) -> None:
    compiled = copy.deepcopy(encoder)
    compiled.compile(backend="aot_eager", fullgraph=True)
    trained, reference = images.clone().requires_grad_(), images.clone().requires_grad_()
    taps = _taps(encoder)
    sum(maps.square().mean() for maps in compiled(trained, taps).values()).backward()
    sum(maps.square().mean() for maps in encoder(reference, taps).values()).backward()
    torch.testing.assert_close(trained.grad, reference.grad)
    assert compiled.state_dict() == {}
    torch.compiler.reset()


def test_encoder_names_what_it_refuses(encoder: Encoder, images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=rf"no layer 'relu9_1'; choose from {encoder.taps[0]}, {encoder.taps[1]}"):
        encoder(images, ["relu9_1"])
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\).*got torch.float32 of shape \(3, 64, 64\)"):
        encoder(images[0], encoder.style_layers)
    with pytest.raises(ValueError, match=r"floating RGB.*got torch.uint8"):
        encoder((images * 255).byte(), encoder.style_layers)


def test_encoder_minimum_size_is_exact(encoder: Encoder) -> None:
    for tap in encoder.taps[::2]:
        least = encoder.minimum_px(tap)
        assert encoder(torch.rand(1, 3, least, least + 3), [tap])[tap].numel() > 0
        if least > 1:
            with pytest.raises(ValueError, match=f"at least {least} px a side for {tap}, got {least - 1} x 64"):
                encoder(torch.rand(1, 3, least - 1, 64), [tap])


def test_encoder_construction_leaves_the_global_random_state_alone_and_repeats(
    squeeze: Callable[..., SqueezeNetEncoder], squeezenet: SqueezeNetEncoder, pictures: torch.Tensor
) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    again = squeeze(normalize=True, calibration=pictures)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.digest == squeezenet.digest
    assert len(again.digest) == 64
    assert squeeze("random-0").digest == squeezenet.digest
    other = squeeze("random-1")
    assert other.digest != squeezenet.digest
    assert other.describe()["weights"] == "random-1"


def test_encoder_describes_itself_in_plain_values(vgg16: VGGEncoder, squeezenet: SqueezeNetEncoder) -> None:
    assert vgg16.describe() == {
        "name": "vgg16",
        "weights": "random",
        "digest": vgg16.digest,
        "profile": "torch",
        "normalized": False,
        "calibration": None,
        "content_layers": ["relu2_2"],
        "style_layers": ["relu1_2", "relu2_2"],
        "exchange_layer": "relu4_1",
        "padding": "zeros",
        "pooling": "max",
    }
    assert squeezenet.describe()["name"] == "squeezenet1_0_same"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_encoder_configs_build_and_every_key_has_a_comment(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("#", "_target_"))]
    assert all("#" in line for line in lines)
    config = OmegaConf.load(path)
    options = {"normalize": False} if "normalize" in config else {"calibration": torch.zeros(1, 3, 32, 32).byte()}
    encoder = instantiate(config, weights="random", _convert_="all", **options)
    assert isinstance(encoder, Encoder)
    assert encoder.describe()["style_layers"] == config.style_layers
    assert encoder.exchange_layer in encoder.taps
    assert encoder.strides[encoder.exchange_layer] == 8


def test_encoder_configs_are_all_there() -> None:
    names = {path.stem for path in CONFIGS}
    assert names >= {
        "compact",
        "compact_judge",
        "squeezenet",
        "vgg16",
        "vgg19",
        "vgg16_raw",
        "vgg19_raw",
        "vgg16_caffe",
    }


def test_a_record_names_the_weights_once() -> None:
    assert record_name("vgg16", "0123456789") == "vgg16-01234567"
    assert record_name("compact-01234567", "0123456789") == "compact-01234567"
