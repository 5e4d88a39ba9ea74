"""TENT: in a test, scales and shifts of batch norm take a step that lowers the entropy of each batch's predictions.

Paper: Wang, Shelhamer, Liu, Olshausen, Darrell, "Tent: Fully Test-Time Adaptation by Entropy Minimization", ICLR 2021;
tent.py of DequanWang/tent. Batch norm normalizes by the batch, a batch's predictions are those before its step.

The network itself is never changed: what is learned stands beside it and is forgotten where a new domain begins, or
where the network's own scales and shifts turn out to be others than those that it started from.

Deviation: where the predictions of a batch collapse (one class, or no entropy left), what was learned is forgotten and
nothing is learned until the next domain.
"""

import logging

import torch
from torch import Tensor, nn

from stylebench.adaptation.base import Strategy
from stylebench.checks import check_number, check_switch, check_whole
from stylebench.functional.entropy import CERTAIN, ONE_CLASS, certainty, mean_entropy
from stylebench.nn.normalization import BATCH, NoBatchNormError, batch_norms, using

FEWEST_TO_JUDGE = 2  # images a class from which on the largest class of a batch says something

log = logging.getLogger(__name__)


class Tent(Strategy):
    """Predict with the statistics of the batch, and learn from it without labels.

    Args:
        lr: learning rate of Adam, > 0.
        steps: of a batch, >= 1.
        episodic: whether every batch begins from the trained weights.
        batch_size: images at a time in a test, >= 2.

    Raises:
        ValueError: if a setting is out of its range.
    """

    own_statistics = BATCH

    def __init__(self, lr: float, steps: int, episodic: bool, batch_size: int) -> None:
        super().__init__()
        self.lr = check_number("adaptation.lr", lr)
        self.steps = check_whole("adaptation.steps", steps)
        self.episodic = check_switch("adaptation.episodic", episodic)
        self.batch_size = check_whole("adaptation.batch_size", batch_size, 2)
        self.reset()

    def convert(self, network: nn.Module) -> nn.Module:
        """Check that there are scales and shifts to learn, before anything is trained."""
        if not _scales(network):
            raise NoBatchNormError("no batch norm of the network has a scale and a shift; build it with affine=True")
        return network

    def reset(self) -> None:
        """Forget what was learned."""
        self._trained: dict[str, Tensor] = {}  # as the network has them
        self._learned: dict[str, Tensor] = {}
        self._optimizer: torch.optim.Optimizer | None = None
        self._stopped = False

    def predict(self, network: nn.Module, images: Tensor, statistics: str) -> Tensor:
        """Return the logits of images, (B, K), and learn where the batch's statistics are asked for."""
        if statistics != BATCH:
            return super().predict(network, images, statistics)
        scales = _scales(network)
        if self.episodic or not _equal(self._trained, scales):
            self.reset()
        with torch.compiler.set_stance("force_eager"), using(network, BATCH):
            if self._stopped:
                return network(images)  # type: ignore[no-any-return]
            logits = self._learn(network, images, scales)
            entropy, share = (float(each) for each in certainty(logits))
            judged = len(images) >= FEWEST_TO_JUDGE * logits.shape[1]
            if not judged or (entropy >= CERTAIN and share <= ONE_CLASS):
                return logits
            log.warning(
                "the predictions of a batch collapse (entropy %.3f of the greatest, %.0f %% in one class): what was "
                "learned on this domain is forgotten, and no more is; lower adaptation.lr, or mix the classes",
                entropy,
                100 * share,
            )
            self._learned, self._optimizer, self._stopped = {}, None, True
            return network(images)  # type: ignore[no-any-return]

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _learn(self, network: nn.Module, images: Tensor, scales: dict[str, nn.Parameter]) -> Tensor:
        """Return the logits of the last step's weights, and take the steps."""
        if self._optimizer is None:
            self._trained = {name: each.detach().clone() for name, each in scales.items()}
            self._learned = {name: each.clone().requires_grad_() for name, each in self._trained.items()}
            self._optimizer = torch.optim.Adam(self._learned.values(), self.lr)
        images, learned = images.clone(), list(self._learned.values())  # one made in inference mode has no gradient
        for _ in range(self.steps):
            logits: Tensor = torch.func.functional_call(network, self._learned, (images,))
            grads = torch.autograd.grad(mean_entropy(logits), learned)  # the network's own gradients stay untouched
            for each, grad in zip(learned, grads, strict=True):
                each.grad = grad
            self._optimizer.step()
        return logits.detach()


def _scales(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the scales and shifts of the batch norms, by name in the network."""
    layers = batch_norms(network)
    return {
        f"{name}.{part}".lstrip("."): each
        for name, layer in layers.items()
        for part, each in layer.named_parameters(recurse=False)
    }


def _equal(one: dict[str, Tensor], other: dict[str, nn.Parameter]) -> bool:
    return bool(one) and all(torch.equal(one[name], each) for name, each in other.items())
