"""Strategies that show a network source and target in one batch, to layers that tell them apart.

Their layers are `DomainNorm`s: each domain is followed by moments of its own, which are taken exactly before a test.
The entropy of the target's predictions may be part of the loss. It helps where the statistics are aligned and can drive
all predictions into one class where they are not, so that is looked for.
"""

import logging
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from stylebench.adaptation.adabn import PROPAGATIONS, recalibrate
from stylebench.adaptation.base import Outputs, Strategy
from stylebench.adaptation.reports import CalibrationReport, Forward
from stylebench.checks import check_choice, check_number, check_switch
from stylebench.functional.entropy import CERTAIN, ONE_CLASS, certainty, mean_entropy
from stylebench.nn.domain_norms import SOURCE, TARGET, DomainNorm, joint
from stylebench.nn.normalization import convert, keep, using

RECALIBRATIONS = ("exact", "average")

log = logging.getLogger(__name__)


class JointStrategy(Strategy):
    """Base: one pass over source and target together.

    Args:
        entropy_weight: of the entropy of the target's predictions, >= 0.
        recalibrate: `exact` takes both domains' moments over all images before a test, `average` keeps those that
            training followed.
        propagate: of `exact`, see `adabn.recalibrate`.
        sync_moments: whether training on several processes takes the moments of a batch over all of them.

    Raises:
        ValueError: if a setting is out of its range.
    """

    uses_target: ClassVar[bool] = True
    own_statistics = TARGET

    def __init__(self, entropy_weight: float, recalibrate: str, propagate: str, sync_moments: bool) -> None:
        super().__init__()
        self.weights = {"entropy": check_number("adaptation.entropy_weight", entropy_weight)}
        self.recalibration = check_choice("adaptation.recalibrate", recalibrate, RECALIBRATIONS)
        self.propagate = check_choice("adaptation.propagate", propagate, PROPAGATIONS)
        self.sync_moments = check_switch("adaptation.sync_moments", sync_moments)
        self._seen: Tensor | None = None
        self._warned = False

    def convert(self, network: nn.Module) -> nn.Module:
        """Replace every batch norm by what `replacement` makes of it."""

        def make(layer: _BatchNorm) -> DomainNorm:
            made = self.replacement(layer)
            made.branch, made.synced = self.own_statistics, self.sync_moments
            return made

        return convert(network, make)

    def replacement(self, layer: _BatchNorm) -> DomainNorm:
        """Return the layer that takes the place of a batch norm."""
        raise NotImplementedError(f"{type(self).__name__} does not define replacement()")

    def outputs(self, network: nn.Module, source: Tensor, target: Tensor | None) -> Outputs:
        """Run the network on the source's images and, behind them, the target's; there may be none of those."""
        assert target is not None
        if not len(target) and not self._warned:
            self._warned = True
            log.warning("a batch has no images of the target: the source's are normalized by themselves there")
        with joint(network, len(source)):
            return joint_outputs(network, source, target)

    def terms(self, outputs: Outputs, progress: float) -> dict[str, Tensor]:
        """Return the entropy of the target's predictions."""
        if outputs.target is None or not len(outputs.target):
            return {}
        self._seen = torch.stack(certainty(outputs.target.detach()))
        return {"entropy": mean_entropy(outputs.target)}

    def figures(self, network: nn.Module) -> dict[str, float]:
        """Return how sure and how uniform the target's last predictions were; warn of a collapse."""
        if self._seen is None:
            return {}
        entropy, share = self._seen.tolist()
        if self.weights["entropy"] and (entropy < CERTAIN or share > ONE_CLASS):
            log.warning(
                "the target's predictions collapse (entropy %.3f of the greatest, %.0f %% in one class): lower "
                "adaptation.entropy_weight, or share less between the domains",
                entropy,
                100 * share,
            )
        return {"target_entropy": entropy, "target_largest_class": share}

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


def joint_outputs(network: nn.Module, source: Tensor, target: Tensor) -> Outputs:
    """Run a network on one batch of the source's images and, behind them, the target's."""
    count = len(source)
    features = network.features(torch.cat([source, target]))  # type: ignore[operator]
    logits = network.head(features)  # type: ignore[operator]
    return Outputs(logits[:count], logits[count:], features[:count], features[count:])
