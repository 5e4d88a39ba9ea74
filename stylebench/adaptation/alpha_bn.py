"""alpha-BN: a test batch's statistics are weighed with those of the source, as with a prior of so many images.

Paper: Schneider, Rusak, Eck, Bringmann, Brendel, Bethge, "Improving robustness against common corruptions by covariate
shift adaptation", NeurIPS 2020, section 3; with N prior images and n in the batch, the source's share is N / (N + n).
Without prior images it is prediction-time BN; with many it leaves the source's statistics as they are.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from stylebench.adaptation.base import Strategy
from stylebench.checks import check_choice, check_number, check_whole
from stylebench.functional.moments import MeanAndVariance, Moments, blend, mixture
from stylebench.nn.normalization import BATCH, RUNNING, batch_norms, like_layer, replaced, running_statistics, using

MIXTURES = {"linear": blend, "moments": mixture}


class AlphaBN(Strategy):
    """Predict with a blend of the batch's statistics and the source's.

    Args:
        prior_images: weight of the source's, as a number of images, >= 0.
        mixture: `linear` (mean and variance each, the authors') or `moments` (of the mixture of both).
        batch_size: images at a time in a test, >= 1.

    Raises:
        ValueError: if a setting is out of its range.
    """

    own_statistics = BATCH

    def __init__(self, prior_images: float, mixture: str, batch_size: int) -> None:
        super().__init__()
        self.prior_images = check_number("adaptation.prior_images", prior_images)
        self.mixture = check_choice("adaptation.mixture", mixture, [*MIXTURES])
        self.batch_size = check_whole("adaptation.batch_size", batch_size)

    def convert(self, network: nn.Module) -> nn.Module:
        """Check that there are statistics to blend with, before anything is trained."""
        for layer in batch_norms(network).values():
            running_statistics(layer)
        return network

    def predict(self, network: nn.Module, images: Tensor, statistics: str) -> Tensor:
        """Return the logits of images, (B, K), blended where the batch's statistics are asked for."""
        if statistics != BATCH:
            return super().predict(network, images, statistics)
        share = len(images) / (len(images) + self.prior_images)
        with torch.compiler.set_stance("force_eager"), self._blending(network, share):  # compiled, no hook would fire
            logits: Tensor = network(images)
        return logits

    @contextlib.contextmanager
    def _blending(self, network: nn.Module, share: float) -> Iterator[None]:
        """Have every batch norm normalize by a share of what it is shown and the rest of its running statistics."""
        mix = MIXTURES[self.mixture]

        def blending(source: MeanAndVariance, slot: MeanAndVariance) -> Callable[[nn.Module, tuple[Any, ...]], None]:
            def hook(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
                found = mix(share, Moments.of(inputs[0]).statistics(), source)
                for part, values in zip(slot, found, strict=True):
                    part.copy_(values)

            return hook

        with using(network, RUNNING), contextlib.ExitStack() as stack:
            for layer in batch_norms(network).values():
                source = running_statistics(layer)
                slot = MeanAndVariance(*(part.clone() for part in like_layer(layer, source)))
                stack.enter_context(replaced(layer, slot))
                stack.callback(layer.register_forward_pre_hook(blending(source, slot)).remove)
            yield
