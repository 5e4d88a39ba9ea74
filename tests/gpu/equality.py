"""Is what the device computes what the CPU computes? Each function is one check."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities import move_data_to_device
from torch import Tensor, nn

from stylebench.build import build_data, build_method, open_data
from stylebench.cli.config import compose
from stylebench.data.augmentation import RawImages, finish_images
from stylebench.data.tasks import StyleBatch
from stylebench.functional.gram import GRAM_NORMS, gram_loss, gram_matrix
from stylebench.functional.total_variation import TV_CONVENTIONS, total_variation
from stylebench.methods.base import Method
from stylebench.nn.encoders import CompactEncoder, JudgeEncoder, SqueezeNetEncoder, VGGEncoder
from stylebench.nn.encoders.base import Encoder
from stylebench.nn.generators.johnson import JohnsonModern, JohnsonPaper
from stylebench.nn.layers import InstanceNorm, UpsampleConv
from tests.gpu.base import Outcome, Setting, exact_float32, gap, within

VALUE_BANDS = {torch.float32: 1e-4, torch.float64: 1e-10}
GRADIENT_BANDS = {torch.float32: 5e-3, torch.float64: 1e-9}
BAND = (
    "relative norm of the difference: values 1e-4 in float32 (cuDNN's Winograd and FFT convolutions round more than a "
    "direct sum) and 1e-10 in float64; gradients 5e-3 and 1e-9 (rounding flips single ReLUs and"
    " pooling winners: another memory layout on the CPU alone moves the training step's gradient by 4e-4)"
)
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
Compute = Callable[[torch.device, torch.dtype, torch.memory_format], dict[str, Tensor]]


def compared(setting: Setting, compute: Compute, layouts: tuple[str, ...] = tuple(LAYOUTS)) -> Outcome:
    """Compare what `compute` gives on the device, in each layout, with the CPU's contiguous result.

    Tensors whose name holds `gradient` are held to the gradients' bands.
    """
    summary: dict[str, float] = {}
    cases: dict[str, dict[str, Any]] = {}
    passed = True
    with exact_float32():
        for dtype in (torch.float32, torch.float64):
            reference = compute(torch.device("cpu"), dtype, torch.contiguous_format)
            for layout in layouts:
                found = compute(setting.device, dtype, LAYOUTS[layout])
                for kind, bands in (("values", VALUE_BANDS), ("gradients", GRADIENT_BANDS)):
                    gaps = {
                        name: gap(found[name], reference[name])
                        for name in reference
                        if ("gradient" in name) == (kind == "gradients")
                    }
                    if gaps:
                        passed &= within(gaps, bands[dtype])
                        worst = max(gaps, key=lambda name: gaps[name])
                        name = str(dtype).removeprefix("torch.")
                        cases[f"{name} {layout} {kind}"] = {"gap": gaps[worst], "at": worst, "of": len(gaps)}
                        summary[f"{name}_{kind}"] = max(gaps[worst], summary.get(f"{name}_{kind}", 0.0))
    return Outcome(passed, BAND, {**summary, "cases": cases})


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return numbers in [0, 1), the same ones on every device."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient(module: nn.Module) -> Tensor:
    """Return the gradients of all parameters as one vector."""
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def encoders(setting: Setting) -> Outcome:
    layers: dict[str, Any] = {"weights": "random", "normalize": False}
    side = setting.pick(96, 40)

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        networks: dict[str, Encoder] = {
            "squeezenet": SqueezeNetEncoder(
                content_layers=["pool4"], style_layers=["fire2"], exchange_layer="fire6", **layers
            ),
            "vgg16": VGGEncoder(
                depth=16, content_layers=["relu2_2"], style_layers=["relu1_2"], exchange_layer="relu4_1", **layers
            ),
            "compact": CompactEncoder("shipped", ["relu3_2"], ["relu1_1"], "relu4_1"),
            "compact_judge": JudgeEncoder("shipped", ["mix5"], ["mix1"], "mix5"),
        }
        for name, encoder in networks.items():
            encoder.to(device, dtype).to(memory_format=layout)
            images = noise(2, 3, side, side + 5).to(device, dtype).requires_grad_()
            maps = encoder(images, encoder.taps)
            found |= {f"{name} {tap}": taken for tap, taken in maps.items()}
            (grad,) = torch.autograd.grad(torch.stack([m.square().mean() for m in maps.values()]).sum(), images)
            found[f"{name} gradient"] = grad
        return found

    return compared(setting, compute)


def functional(setting: Setting) -> Outcome:
    side = setting.pick(64, 16)

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, Tensor]:
        maps = noise(2, 32, side, side).to(device, dtype).to(memory_format=layout).requires_grad_()
        images = noise(2, 3, side, side, seed=1).to(device, dtype).to(memory_format=layout).requires_grad_()
        gram, target = gram_matrix(maps), gram_matrix(maps.detach().flip(1))
        values = {"gram": gram}
        values |= {f"gram_loss {norm}": gram_loss(gram, target, norm) for norm in GRAM_NORMS}
        values |= {f"total_variation {name}": total_variation(images, name) for name in TV_CONVENTIONS}
        (maps_grad,) = torch.autograd.grad(values["gram_loss relative"].sum(), maps)
        (images_grad,) = torch.autograd.grad(values["total_variation fast_neural_style"].sum(), images)
        return {**values, "gram gradient": maps_grad, "total_variation gradient": images_grad}

    return compared(setting, compute)


def layers(setting: Setting) -> Outcome:
    """Instance norm and the folded upsampling, also against the plain formulas on the device itself."""
    side = setting.pick(48, 12)

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, Tensor]:
        torch.manual_seed(0)
        norm, upsample = InstanceNorm(16), UpsampleConv(16, 8)
        nn.init.normal_(norm.weight)
        both = nn.ModuleList([norm, upsample]).to(device, dtype).to(memory_format=layout)
        maps = (5 + noise(2, 16, side, side + 3)).to(device, dtype).to(memory_format=layout).requires_grad_()
        normed = norm(maps)
        enlarged = upsample(normed)
        enlarged.square().mean().backward()
        maps_grad = maps.grad
        assert maps_grad is not None
        found = {"norm": normed, "upsample": enlarged, "maps gradient": maps_grad, "weights gradient": gradient(both)}
        if device == setting.device:
            plain_norm = F.instance_norm(maps, None, None, norm.weight, norm.bias)
            large = F.pad(F.interpolate(plain_norm, scale_factor=2.0, mode="nearest"), (1,) * 4, mode="reflect")
            plain = {"norm": plain_norm, "upsample": F.conv2d(large, upsample.weight, upsample.bias)}
            gaps.update({f"{name} against the plain formula": gap(found[name], plain[name]) for name in plain})
        return found

    gaps: dict[str, float] = {}
    outcome = compared(setting, compute)
    # `gaps` holds the last type and layout: float64, channels_last.
    passed = outcome.passed and within(gaps, VALUE_BANDS[torch.float64])
    return Outcome(passed, outcome.band, {**outcome.figures, **gaps})


def networks(setting: Setting) -> Outcome:
    width = setting.pick(32, 4)

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for kind in (JohnsonModern, JohnsonPaper):
            for norm in ("instance", "batch"):
                torch.manual_seed(0)
                network = kind(width, norm=norm).to(device, dtype).to(memory_format=layout)
                output = network(noise(2, 3, 60, 70).to(device, dtype))  # 70: extended to a multiple of 4
                output.square().mean().backward()
                name = f"{kind.__name__} {norm}"
                found |= {name: output, f"{name} gradient": gradient(network)}
        return found

    return compared(setting, compute)


def data_finish(setting: Setting) -> Outcome:
    """Resizing, mirroring and scaling: down, up, sixteenfold down, and rectangles of different sizes."""
    sizes = {"down": 100, "up": 40, "same": 64, "sixteenfold down": 1024}
    random = torch.Generator().manual_seed(0)
    flip = torch.tensor([True, False, True])

    def pixels(*shape: int) -> Tensor:
        return torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)

    raws = {name: RawImages(pixels(3, 3, side, side), flip) for name, side in sizes.items()}
    raws["different sizes"] = RawImages([pixels(3, side, side) for side in (64, 80, 50)], flip)
    gaps = {
        name: gap(finish_images(move_data_to_device(raw, setting.device), 64), finish_images(raw, 64))
        for name, raw in raws.items()
    }
    return Outcome(within(gaps, 1e-5), "relative norm of the difference at most 1e-5, float32 rounding", dict(gaps))


def prepared(setting: Setting, *overrides: str) -> tuple[Method, StyleBatch]:
    """Build a method on the CPU as a run does, with its first batch."""
    config = compose(
        "train",
        [
            "dataset=procedural",
            "dataset.store.count=12",
            f"dataset.store.size_px={setting.pick(112, 60)}",
            f"dataset.size_px={setting.pick(96, 48)}",
            "encoder=squeezenet",
            "encoder.weights=random",
            "encoder.normalize=false",
            f"model.generator.width={setting.pick(32, 4)}",
            f"model.style_size_px={setting.pick(112, 48)}",
            *overrides,
        ],
    )
    pl.seed_everything(0, verbose=False)
    data = build_data(config, open_data(config))
    return build_method(config, data), data.task.finish(data.task.batch(0))


def training_step(setting: Setting) -> Outcome:
    """The first step's loss and gradient, for both networks and both kinds of encoder."""

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for network, encoder in (("johnson_modern", "vgg16"), ("johnson_paper", "squeezenet")):
            method, batch = prepared(setting, f"model/generator={network}", f"encoder={encoder}")
            method.to(device, dtype).to(memory_format=layout)
            assert batch.content is not None
            loss: Any = method.training_step(StyleBatch(batch.content.to(device, dtype), None), 0)
            loss.backward()
            name = f"{network} {encoder}"
            found |= {f"{name} loss": loss, f"{name} gradient": gradient(method)}
        return found

    return compared(setting, compute)
