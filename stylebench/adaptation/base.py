"""What an adaptation strategy is: three moments at which it may act on a network, each with a default of nothing.

`convert` replaces layers before training, `outputs` and `terms` take part in it, `calibrate` prepares the statistics of
a domain before it is tested. A strategy sees networks and never a method, so it works on any with batch norm.
"""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from stylebench.adaptation.reports import CalibrationReport, Forward
from stylebench.nn.domain_norms import SOURCE
from stylebench.nn.normalization import has_batch_norm, using


class Outputs(NamedTuple):
    """What a network made of a batch in training.

    Attributes:
        source: (N, K) logits of the labeled images.
        target: (M, K) logits of the unlabeled ones; None where the strategy does not show them.
        source_features: (N, F), what the classifier's head was shown.
        target_features: (M, F), or None.
    """

    source: Tensor
    target: Tensor | None
    source_features: Tensor
    target_features: Tensor | None


class Strategy(nn.Module):
    """Base of all strategies; each default does nothing, which is `adaptation=none`.

    Attributes:
        uses_target: whether training draws images of the target.
        own_statistics: those that a network is used with where nobody chooses, once it was adapted; see
            `nn.normalization.using`.
        weights: of the terms, by name.
        batch_size: images that are predicted at a time in a test; some strategies' results are a function of it.
        length: batches of a training over which its terms change; None where they do not.
    """

    uses_target: ClassVar[bool] = False
    own_statistics: str = SOURCE
    weights: Mapping[str, float] = {}
    batch_size: int = 128
    length: int | None = None

    @property
    def name(self) -> str:
        """The name that records have; that of its file."""
        return type(self).__module__.rpartition(".")[2]

    def convert(self, network: nn.Module) -> nn.Module:
        """Prepare a network, and itself, before it is trained and before weights are loaded; in place.

        Args:
            network: with `features(images) -> (B, F)`, `head(features) -> (B, K)` and F as `width`.

        Raises:
            NoBatchNormError: if the strategy needs batch norm and the network has none.
            ValueError: if the network cannot be served; the message says which layers, and what to do.
        """
        return network

    def outputs(self, network: nn.Module, source: Tensor, target: Tensor | None) -> Outputs:
        """Run a network on a training batch.

        Args:
            network: with `features(images) -> (B, F)` and `head(features) -> (B, K)`.
            source: (N, 3, H, W) in [0, 1].
            target: (M, 3, H, W) in [0, 1]; None where `uses_target` is off.
        """
        features = network.features(source)  # type: ignore[operator]
        return Outputs(network.head(features), None, features, None)  # type: ignore[operator]

    def terms(self, outputs: Outputs, progress: float) -> dict[str, Tensor]:
        """Return loss terms beside the classification loss, by name, unweighted.

        Args:
            outputs: of the batch.
            progress: share of `length` that is done, in [0, 1].
        """
        return {}

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return the groups that an optimizer is built from: parameters, with settings that differ from its own."""
        return [{"params": [*network.parameters(), *self.parameters()]}]

    def after_step(self, network: nn.Module) -> None:
        """Bring parameters back into their range after a step."""

    def figures(self, network: nn.Module) -> dict[str, float]:
        """Return numbers about the network that are logged, by name."""
        return {}

    def rounds(self, network: nn.Module) -> int:
        """Return how often source and target are calibrated in turn: once, unless a domain's layers use the other's."""
        return 1

    def calibrate(
        self, network: nn.Module, batches: Iterable[Any], domain: str, forward: Forward | None = None
    ) -> CalibrationReport | None:
        """Prepare the statistics of a domain before it is tested; None where there is nothing to prepare.

        Args:
            network: any network with batch norm.
            batches: of the domain's images, which may be read more than once.
            domain: what the statistics are called.
            forward: runs the network on a batch where that is not `network(images)`.
        """
        return None

    def predict(self, network: nn.Module, images: Tensor, statistics: str) -> Tensor:
        """Return the logits of images, (B, K); called without gradients, in evaluation mode.

        Args:
            network: a classifier.
            images: (B, 3, H, W) in [0, 1].
            statistics: see `nn.normalization.using`.
        """
        with using(network, statistics) if has_batch_norm(network) else contextlib.nullcontext():
            logits: Tensor = network(images)
        return logits

    def reset(self) -> None:
        """Forget what was learned from earlier test images: a new domain begins."""
