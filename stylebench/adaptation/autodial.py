"""AutoDIAL: layers that learn how far source and target share their statistics.

Paper: Carlucci, Porzi, Caputo, Ricci, Rota Bulo, "AutoDIAL: Automatic DomaIn Alignment Layers", ICCV 2017; the layer
is `nn/mixture_norm.py`. alpha=1, fixed, is "Just DIAL" (2017), the trained counterpart of AdaBN; alpha=0.5 has both
domains share one normalizer.

The loss is the cross entropy of the source plus `entropy_weight` times the mean entropy of the target's predictions
(0.1 in the authors' files). alpha starts at 1, has no weight decay, and is brought back into [0.5, 1] after each step.

Deviations: pure moments of each domain are kept and mixed with the alpha of the moment, where the authors keep averages
of mixed ones that lag behind it; after training they are taken exactly (`recalibrate=exact`).
"""

import logging
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from stylebench.adaptation.adabn import recalibrate
from stylebench.adaptation.base import Outputs
from stylebench.adaptation.joint import JointStrategy
from stylebench.adaptation.reports import CalibrationReport, Forward
from stylebench.checks import check_choice, check_number, check_switch
from stylebench.functional.entropy import mean_entropy
from stylebench.nn.domain_norms import SOURCE, TARGET
from stylebench.nn.mixture_norm import LEAST_ALPHA, MIXTURES, MOST_ALPHA, MixtureNorm
from stylebench.nn.normalization import convert, keep, using

EVAL_MOMENTS = {"mixture": (TARGET, True), "target": (TARGET, False), "source": (SOURCE, False)}
RECALIBRATIONS = ("exact", "average")
CERTAIN = 0.05  # of the greatest entropy: below it the predictions have collapsed
ONE_CLASS = 0.9  # share of the predictions from which on they have

log = logging.getLogger(__name__)


class AutoDIAL(JointStrategy):
    """Have every batch norm normalize each domain by a mixture of both domains' moments.

    Args:
        alpha: share of a domain's own moments where training starts, in [0.5, 1].
        learned: whether alpha is learned.
        by_channel: whether each channel has one of its own; else one a layer.
        lr_factor: learning rate of alpha, as a multiple of the network's, >= 0.
        mixture: `moments` (the authors'), `var_linear` or `std_linear`.
        entropy_weight: of the entropy of the target's predictions, >= 0.
        eval_moments: `mixture` (the target's branch, the authors'), `target` (its own moments alone) or `source`.
        recalibrate: `exact` takes both domains' moments over all images before a test, `average` keeps those that
            training followed.
        propagate: see `adabn.recalibrate`.

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(
        self,
        alpha: float,
        learned: bool,
        by_channel: bool,
        lr_factor: float,
        mixture: str,
        entropy_weight: float,
        eval_moments: str,
        recalibrate: str,
        propagate: str,
    ) -> None:
        super().__init__()
        self.alpha = check_number("adaptation.alpha", alpha, LEAST_ALPHA, MOST_ALPHA)
        self.learned = check_switch("adaptation.learned", learned)
        self.by_channel = check_switch("adaptation.by_channel", by_channel)
        self.lr_factor = check_number("adaptation.lr_factor", lr_factor)
        self.mixture = check_choice("adaptation.mixture", mixture, MIXTURES)
        self.weights = {"entropy": check_number("adaptation.entropy_weight", entropy_weight)}
        self.own_statistics, self.mixes = EVAL_MOMENTS[
            check_choice("adaptation.eval_moments", eval_moments, [*EVAL_MOMENTS])
        ]
        self.recalibration = check_choice("adaptation.recalibrate", recalibrate, RECALIBRATIONS)
        self.propagate = propagate
        self._seen: Tensor | None = None

    def convert(self, network: nn.Module) -> nn.Module:
        """Replace every batch norm."""

        def make(layer: Any) -> nn.Module:
            made = MixtureNorm(layer, self.alpha, self.learned, self.by_channel, self.mixture, self.mixes)
            made.branch = self.own_statistics
            return made

        return convert(network, make)

    def terms(self, outputs: Outputs, progress: float) -> dict[str, Tensor]:
        """Return the entropy of the target's predictions."""
        if outputs.target is None or not len(outputs.target):
            return {}
        entropy = mean_entropy(outputs.target)
        share = outputs.target.detach().argmax(1).bincount(minlength=outputs.target.shape[1]).max() / len(
            outputs.target
        )
        greatest = math.log(outputs.target.shape[1])
        self._seen = torch.stack([entropy.detach() / greatest, share.to(entropy.dtype)])
        return {"entropy": entropy}

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return the weights, and the alphas in a group without weight decay."""
        alphas = [layer.alpha for layer in _layers(network).values() if isinstance(layer.alpha, nn.Parameter)]
        chosen = {id(alpha) for alpha in alphas}
        weights = [each for each in network.parameters() if id(each) not in chosen]
        group = {"params": alphas, "weight_decay": 0.0, "lr_factor": self.lr_factor}
        return [{"params": weights}, *([group] if alphas else [])]

    def after_step(self, network: nn.Module) -> None:
        """Bring every alpha back into [0.5, 1]."""
        if self.learned:
            for layer in _layers(network).values():
                layer.project()

    def figures(self, network: nn.Module) -> dict[str, float]:
        """Return alpha a layer, and how sure and how uniform the target's last predictions were; warn of a collapse."""
        found = {f"alpha/{name}": float(layer.alpha.detach().mean()) for name, layer in _layers(network).items()}
        if self._seen is not None:
            entropy, share = self._seen.tolist()
            found |= {"target_entropy": entropy, "target_largest_class": share}
            if self.weights["entropy"] and (entropy < CERTAIN or share > ONE_CLASS):
                log.warning(
                    "the target's predictions collapse (entropy %.3f of the greatest, %.0f %% in one class): lower "
                    "adaptation.entropy_weight, or raise adaptation.alpha",
                    entropy,
                    100 * share,
                )
        return found

    def calibrate(
        self, network: nn.Module, batches: Iterable[Any], domain: str, forward: Forward | None = None
    ) -> CalibrationReport | None:
        """Take the moments of `source` or `target` exactly, through the domain's own branch."""
        if self.recalibration == "average":
            return None
        with using(network, domain if domain == SOURCE else TARGET):
            report = recalibrate(network, batches, propagate=self.propagate, forward=forward)
        keep(network, domain, report.statistics)
        return report


def _layers(network: nn.Module) -> dict[str, MixtureNorm]:
    return {name: part for name, part in network.named_modules() if isinstance(part, MixtureNorm)}
