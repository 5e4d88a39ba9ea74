"""Is the style family on the device what it is on the CPU? AdaIN, and the objective that pixels are optimized by."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from stylebench.inference.translators.adain import AdaINTranslator
from stylebench.inference.translators.gatys import GatysTranslator
from stylebench.nn.encoders import CompactEncoder
from stylebench.optimization.gatys import Objective, Targets, Weights
from stylebench.optimization.style_losses import (
    BatchStatistics,
    GaussianMMD,
    GaussianWasserstein,
    GramStyle,
    LinearMMD,
    PolynomialMMD,
    StyleLoss,
)
from stylebench.optimization.tiled import TiledObjective
from tests.gpu.base import Outcome, Setting
from tests.gpu.equality import compared, noise

CONTENT, STYLE = ["relu2_2"], ["relu1_1", "relu2_1", "relu3_1", "relu4_1"]
LOSSES: dict[str, StyleLoss] = {
    "gram": GramStyle(), "linear": LinearMMD(), "polynomial": PolynomialMMD(), "gaussian": GaussianMMD(256),
    "moments": BatchStatistics(), "wasserstein": GaussianWasserstein(),
}  # fmt: skip


def objective(setting: Setting) -> Outcome:
    """Value and gradient of every style loss with a content term, whole and in tiles."""

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, Tensor]:
        encoder = CompactEncoder("random", CONTENT, STYLE, "relu4_1").to(device, dtype).to(memory_format=layout)
        image, content, style = noise(3, 3, 201, 133).to(device, dtype).split(1)
        found: dict[str, Tensor] = {}
        for name, loss in LOSSES.items():
            for tile_px in (None, 64):
                settings: dict[str, Any] = {
                    "content_layers": CONTENT, "style_layers": STYLE, "style_loss": loss, "layer_weights": None,
                    "content_norm": "mean", "tv_convention": "magenta",
                }  # fmt: skip
                wanted = Objective(encoder, **settings)
                if tile_px is not None:
                    wanted = TiledObjective(encoder, tile_px=tile_px, **settings)
                targets = Targets(wanted.content_targets(content), [wanted.style_targets(style)], (1.0,))
                result = wanted.evaluate(image, targets=targets, weights=Weights(1.0, 1.0, 0.1))
                kind = f"{name} {'tiled' if tile_px else 'whole'}"
                found |= {kind: result.total, f"{kind} gradient": result.gradient}
        return found

    return compared(setting, compute)


def translators(setting: Setting) -> Outcome:
    """What AdaIN and one step of an optimization make of a picture, with the controls of each."""

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, Tensor]:
        encoder = CompactEncoder("random", CONTENT, STYLE, "relu4_1")
        torch.manual_seed(0)
        adain = (
            AdaINTranslator(encoder=encoder, transfer="adain", norm="none").to(device, dtype).to(memory_format=layout)
        )
        contents, style = noise(2, 3, 60, 70).to(device, dtype), noise(1, 3, 50, 80).to(device, dtype)
        masks = torch.zeros(2, 60, 70)
        masks[0, :30], masks[1, 30:] = 1, 1
        found = {
            f"adain {color}": adain.translate(contents, style=style, color=color, alpha=0.7)
            for color in ("none", "coral", "luminance")
        }
        found["adain masks"] = adain.translate(contents, style=[style, style.flip(1)], masks=masks)
        minimizer = partial(torch.optim.SGD, lr=1e-3)
        gatys = GatysTranslator(
            encoder=encoder, content_layers=CONTENT, style_layers=STYLE, style_loss=GramStyle(), minimizer=minimizer,
            layer_weights=None, weight_content=1.0, weight_style=5.0, weight_tv=0.1, calibrate=True,
            content_norm="mean", tv_convention="magenta", init="noise", seed=0, evaluations=3,
            evaluations_per_scale=2, smallest_px=40, bounds="clamp", style_fit="area", tile_px=None,
        )  # fmt: skip
        found["gatys"] = gatys.translate(contents, style=style)
        return found

    return compared(setting, compute)
