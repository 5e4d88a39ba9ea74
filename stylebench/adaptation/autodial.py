"""AutoDIAL: layers that learn how far source and target share their statistics.

Paper: Carlucci, Porzi, Caputo, Ricci, Rota Bulo, "AutoDIAL: Automatic DomaIn Alignment Layers", ICCV 2017; the layer
is `nn/mixture_norm.py`. alpha=1, fixed, is "Just DIAL" (2017), the trained counterpart of AdaBN; alpha=0.5 has both
domains share one normalizer.

The loss is the cross entropy of the source plus `entropy_weight` times the mean entropy of the target's predictions
(0.1 in the authors' files). alpha starts at 1, has no weight decay, and is brought back into [0.5, 1] after each step.

Deviations: pure moments of each domain are kept and mixed with the alpha of the moment, where the authors keep averages
of mixed ones that lag behind it; after training they are taken over all images (`recalibrate=exact`). Where the
domains mix, what one is shown in a layer follows from the other's moments in the layers before. So both are taken in
turn, twice: what a third time would change is under a thousandth of a variance, after one round it is a hundredth.
"""

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from stylebench.adaptation.joint import JointStrategy
from stylebench.checks import check_choice, check_number, check_switch
from stylebench.nn.domain_norms import SOURCE, TARGET, DomainNorm
from stylebench.nn.mixture_norm import LEAST_ALPHA, MIXTURES, MOST_ALPHA, MixtureNorm

ROUNDS = 2
EVAL_MOMENTS = {"mixture": (TARGET, True), "target": (TARGET, False), "source": (SOURCE, False)}


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
        recalibrate: see `JointStrategy`.
        propagate: see `JointStrategy`.
        sync_moments: see `JointStrategy`.

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
        sync_moments: bool,
    ) -> None:
        super().__init__(entropy_weight, recalibrate, propagate, sync_moments)
        self.alpha = check_number("adaptation.alpha", alpha, LEAST_ALPHA, MOST_ALPHA)
        self.learned = check_switch("adaptation.learned", learned)
        self.by_channel = check_switch("adaptation.by_channel", by_channel)
        self.lr_factor = check_number("adaptation.lr_factor", lr_factor)
        self.mixture = check_choice("adaptation.mixture", mixture, MIXTURES)
        self.own_statistics, self.mixes = EVAL_MOMENTS[
            check_choice("adaptation.eval_moments", eval_moments, [*EVAL_MOMENTS])
        ]

    def replacement(self, layer: _BatchNorm) -> DomainNorm:
        """Return AutoDIAL's layer."""
        return MixtureNorm(layer, self.alpha, self.learned, self.by_channel, self.mixture, self.mixes)

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

    def rounds(self, network: nn.Module) -> int:
        """Return 2 where the domains mix: in the first round each meets moments of the other that are to change."""
        mix = self.mixes and any(bool((layer.alpha < MOST_ALPHA).any()) for layer in _layers(network).values())
        return ROUNDS if mix else 1

    def figures(self, network: nn.Module) -> dict[str, float]:
        """Return alpha a layer, its mean over channels, beside what every such strategy tells."""
        alphas = {f"alpha/{name}": float(layer.alpha.detach().mean()) for name, layer in _layers(network).items()}
        return {**alphas, **super().figures(network)}


def _layers(network: nn.Module) -> dict[str, MixtureNorm]:
    return {name: part for name, part in network.named_modules() if isinstance(part, MixtureNorm)}
