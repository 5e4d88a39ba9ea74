"""Strategies that show a network source and target in one batch, to layers that tell them apart."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from stylebench.adaptation.base import Outputs, Strategy
from stylebench.nn.domain_norms import joint


class JointStrategy(Strategy):
    """Base: one pass over source and target together."""

    uses_target: ClassVar[bool] = True

    def outputs(self, network: nn.Module, source: Tensor, target: Tensor | None) -> Outputs:
        """Run the network on the source's images and, behind them, the target's."""
        assert target is not None
        count = len(source)
        with joint(network, count):
            features = network.features(torch.cat([source, target]))  # type: ignore[operator]
            logits = network.head(features)  # type: ignore[operator]
        return Outputs(logits[:count], logits[count:], features[:count], features[count:])
