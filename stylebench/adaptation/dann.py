"""DANN: features that a domain classifier cannot tell apart, learned against it by gradient reversal.

Papers: Ganin, Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015; Ganin et al., "Domain-
Adversarial Training of Neural Networks", JMLR 2016. The learning rate of both is `model/schedule=inverse_power`.

`forward` decides what batch norm sees, which changes results: in `joint` one batch holds both domains, so they share
statistics; in `separate` each is normalized by its own in training, and the running averages follow both in turn.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.adaptation.base import Outputs, Strategy
from stylebench.checks import check_choice, check_number, check_whole
from stylebench.nn.seeded_dropout import SeededDropout

FORWARDS = ("joint", "separate")
_ALMOST_ALL = 0.999


class DANN(Strategy):
    """Train a domain classifier on the features, whose gradient reaches them reversed.

    Args:
        domain_weight: of its loss, >= 0.
        width: of its two hidden layers.
        dropout: behind each of them, in [0, 1).
        slope: of the reversal's rise with the progress p of training, 2 / (1 + exp(-slope p)) - 1, >= 0.
        forward: `joint` or `separate`.
        batches: of the training, over which the reversal rises.

    Raises:
        ValueError: if a setting is out of its range.
    """

    uses_target: ClassVar[bool] = True

    def __init__(
        self, domain_weight: float, width: int, dropout: float, slope: float, forward: str, batches: int
    ) -> None:
        super().__init__()
        self.weights = {"domain": check_number("adaptation.domain_weight", domain_weight)}
        self.width = check_whole("adaptation.width", width)
        self.dropout = check_number("adaptation.dropout", dropout, 0.0, _ALMOST_ALL)
        self.slope = check_number("adaptation.slope", slope)
        self.length = check_whole("adaptation.batches", batches)
        self.forward_as = check_choice("adaptation.forward", forward, FORWARDS)
        self._right: Tensor | None = None

    def convert(self, network: nn.Module) -> nn.Module:
        """Build the domain classifier for the width of the network's features."""
        features: Any = network.width
        layers = [
            part
            for place, inputs in enumerate((features, self.width))
            for part in (nn.Linear(inputs, self.width), nn.ReLU(), SeededDropout(self.dropout, stream=place))
        ]
        self.discriminator = nn.Sequential(*layers, nn.Linear(self.width, 1))
        return network

    def outputs(self, network: nn.Module, source: Tensor, target: Tensor | None) -> Outputs:
        """Run the network on both domains, in one batch or one after the other."""
        assert target is not None
        count = len(source)
        if self.forward_as == "joint":
            both = network.features(torch.cat([source, target]))  # type: ignore[operator]
            features, others = both[:count], both[count:]
        else:
            features, others = network.features(source), network.features(target)  # type: ignore[operator]
        return Outputs(network.head(features), network.head(others), features, others)  # type: ignore[operator]

    def terms(self, outputs: Outputs, progress: float) -> dict[str, Tensor]:
        """Return the cross entropy of the domain classifier, mean over the images of both."""
        assert outputs.target_features is not None
        share = reversal(progress, self.slope)
        # A domain at a time: dropout draws by one seed for each image of a domain.
        logits = [self.discriminator(_Reversed.apply(each, share)).squeeze(1)
                  for each in (outputs.source_features, outputs.target_features)]  # fmt: skip
        found = torch.cat(logits)
        truth = torch.cat([torch.zeros_like(logits[0]), torch.ones_like(logits[1])])
        self._right = ((found.detach() > 0) == truth.bool()).float().mean()
        return {"domain": F.binary_cross_entropy_with_logits(found, truth)}

    def figures(self, network: nn.Module) -> dict[str, float]:
        """Return the domain classifier's accuracy on the last batch: 0.5 where it cannot tell the domains apart."""
        return {} if self._right is None else {"domain_accuracy": float(self._right)}


def reversal(progress: float, slope: float) -> float:
    """Return the factor of the reversed gradient, in [0, 1): 0 at the start of training.

    Args:
        progress: p, share of the training that is done, in [0, 1].
        slope: of its rise.

    Source: Ganin & Lempitsky 2015, section 4.
    """
    return 2 / (1 + math.exp(-slope * progress)) - 1


class _Reversed(torch.autograd.Function):
    """The features as they are; their gradient times a negative number."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, share: float) -> Tensor:
        ctx.share = share
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return -ctx.share * grads[0], None
