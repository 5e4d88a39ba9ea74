"""How fast is it? Figures first; the bands only catch what is plainly wrong."""

import gc
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylebench.cli.config import compose
from stylebench.commands.profile import profile
from stylebench.nn.generators.johnson import JohnsonModern
from stylebench.nn.layers import InstanceNorm, ReflectConv, UpsampleConv
from tests.gpu.base import ROOT, Outcome, Setting, finish, gap
from tests.gpu.equality import LAYOUTS

FRAME_BAND, BASELINE_BAND = 1.10, 1.05


def throughput(batch_size: int, *switches: str) -> Callable[[Setting], Outcome]:
    """Return a check that profiles a training step with VGG-16, the paper's loss network, at 256 px."""

    def check(setting: Setting) -> Outcome:
        size, batch = setting.pick((256, batch_size), (32, 2))
        overrides = [
            "dataset=procedural",
            f"dataset.store.count={max(2 * batch, 12)}",
            f"dataset.store.size_px={size}",
            f"dataset.size_px={size}",
            f"dataset.batch_size={batch}",
            setting.pick("encoder=vgg16", "encoder=squeezenet"),
            "encoder.weights=random",
            "encoder.normalize=false",
            f"model.generator.width={setting.pick(32, 4)}",
            f"model.style_size_px={size}",
            "budget.validation_images=2",
            "samples=2",
            setting.trainer,
            "trainer.precision=32-true",
            *switches,
            f"batches={setting.pick(10, 2)}",
            "rounds=2",
        ]
        gc.collect()
        if setting.cuda:
            torch.cuda.empty_cache()
        torch.compiler.reset()
        figures = profile(compose("profile", overrides))
        found = {
            "images_per_second": figures.images_per_second,
            "frame_ms": figures.frame_seconds * 1e3,
            "bare_ms": figures.bare_seconds * 1e3,
            "frame_over_bare": figures.frame_over_bare,
            "frame_over_bare_rounds": figures.frame_over_bare_rounds,
            "parts_ms": {part: seconds * 1e3 for part, seconds in figures.parts.items()},
            "peak_gib": figures.peak_memory_bytes / 2**30,
            "flops_per_batch": figures.flops_per_batch,
        }
        if figures.flops_per_batch:
            found["tflops_per_second"] = figures.flops_per_batch / figures.frame_seconds / 1e12
        band = f"a step inside the frame takes at most {FRAME_BAND:.2f} times the bare loop's (not judged when quick)"
        return Outcome(setting.quick or figures.frame_over_bare <= FRAME_BAND, band, found)

    return check


def baseline(setting: Setting) -> Outcome:
    """Time the float32 step against the layout of pytorch/examples, in one process."""
    output = setting.folder / "speed.json"
    size, batch, steps = setting.pick((256, 4, 10), (32, 1, 1))
    script = [str(ROOT / "experiments" / "johnson2016" / "speed.py"), "--device", setting.device.type]
    sizes = [f"--size={size}", f"--batch={batch}", f"--steps={steps}", f"--output={output}"]
    finish([*script, *sizes], setting.folder / "speed.log")
    found = json.loads(output.read_text())
    figures = {key: found[key] for key in ("median_seconds", "ours_over_baseline", "peak_gib", "peak_device_gib")}
    band = f"ours at most {BASELINE_BAND:.2f} times the baseline's time (not judged when quick)"
    return Outcome(setting.quick or found["ours_over_baseline"] <= BASELINE_BAND, band, figures)


def milliseconds(setting: Setting, work: Callable[[], Any]) -> float:
    """Return the median time of a call over a few rounds of calls."""
    rounds, calls = setting.pick((5, 10), (2, 1))
    work()
    found: list[float] = []
    for _ in range(rounds):
        setting.synchronize()
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        setting.synchronize()
        found.append((time.perf_counter() - begin) / calls * 1e3)
    return statistics.median(found)


def both_ways(function: Callable[[Tensor], Tensor], maps: Tensor) -> Callable[[], Any]:
    """Return a call of the function forward and backward."""
    grad = torch.ones_like(function(maps))
    return lambda: torch.autograd.backward(function(maps), grad)


def norms(setting: Setting) -> Outcome:
    """Our instance norm against torch's two ways to compute it, forward and backward, in both layouts."""
    shapes = setting.pick([(4, 32, 256, 256), (4, 128, 64, 64), (16, 128, 64, 64)], [(2, 8, 12, 12)])
    times: dict[str, dict[str, float]] = {}
    gaps: dict[torch.dtype, float] = {torch.float32: 0.0, torch.bfloat16: 0.0}
    for shape in shapes:
        channels = shape[1]
        ours = InstanceNorm(channels).to(setting.device)
        for dtype in gaps:
            weight, bias = ours.weight.detach().to(dtype), ours.bias.detach().to(dtype)
            variants: dict[str, Callable[[Tensor], Tensor]] = {
                "ours": ours,
                "instance_norm": lambda maps, w=weight, b=bias: F.instance_norm(maps, None, None, w, b),  # type: ignore[misc]
                "group_norm": lambda maps, w=weight, b=bias, c=channels: F.group_norm(maps, c, w, b),  # type: ignore[misc]
            }
            for layout, memory_format in LAYOUTS.items():
                maps = torch.randn(shape, device=setting.device, dtype=dtype).to(memory_format=memory_format)
                maps.requires_grad_()
                gaps[dtype] = max(gaps[dtype], gap(ours(maps), variants["instance_norm"](maps)))
                where = f"{'x'.join(map(str, shape))} {str(dtype).removeprefix('torch.')} {layout}"
                times[where] = {
                    name: milliseconds(setting, both_ways(function, maps)) for name, function in variants.items()
                }
    ratios = {where: found["ours"] / min(found.values()) for where, found in times.items()}
    figures = {
        "ms_forward_and_backward": times,
        "ours_over_fastest": ratios,
        "gap_float32": gaps[torch.float32],
        "gap_bfloat16": gaps[torch.bfloat16],
    }
    passed = gaps[torch.float32] <= 1e-4 and gaps[torch.bfloat16] <= 2e-2
    return Outcome(passed, "same values: 1e-4 in float32, 2e-2 in bfloat16; the times are figures only", figures)


def layer_layouts(setting: Setting) -> Outcome:
    """Time the padded convolutions and the whole network in both layouts, and see which lose channels_last."""
    size, width = setting.pick((64, 128), (12, 8))
    parts: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "ReflectConv": (ReflectConv(width, width, 3), (4, width, size, size)),
        "UpsampleConv": (UpsampleConv(width, width // 2), (4, width, size, size)),
        "InstanceNorm": (InstanceNorm(width), (4, width, size, size)),
        "JohnsonModern": (JohnsonModern(setting.pick(32, 4)), (4, 3, 4 * size, 4 * size)),
    }
    figures: dict[str, Any] = {}
    for name, (layer, shape) in parts.items():
        for layout, memory_format in LAYOUTS.items():
            layer.to(setting.device).to(memory_format=memory_format)
            maps = torch.rand(shape, device=setting.device).to(memory_format=memory_format).requires_grad_()
            figures[f"{name} {layout} ms"] = milliseconds(setting, both_ways(layer, maps))
        kept = layer(maps).is_contiguous(memory_format=torch.channels_last)
        figures[f"{name} keeps channels_last"] = kept
    return Outcome(True, "figures only", figures)
