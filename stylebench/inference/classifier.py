"""The classifier as an inference kind: pictures to logits."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stylebench.checks import Size, check_size
from stylebench.inference.base import Inference, Picture, evaluating
from stylebench.nn.domain_norms import SOURCE
from stylebench.nn.normalization import (
    MODES,
    batch_norms,
    has_batch_norm,
    kept,
    running_statistics,
    unknown_domain,
)

_FEWEST_CLASSES = 2


class Classifier(Inference):
    """Base of all classifiers: checks, evaluation mode, shapes. Subclasses define `logits`.

    Attributes:
        classes: names of the classes, in the order of the logits.
        size_px: side of the central squares that it was trained on, or height and width of the crops; None where any
            will do.
        resize_px: shorter side of the images that these are cut from, or height and width; None for `size_px`.
    """

    command: ClassVar[str] = "classify"
    inputs = (Picture("content", "the picture that is classified"),)
    classes: Sequence[str] = ()
    size_px: Size | None = None
    resize_px: Size | None = None

    @property
    def domains(self) -> tuple[str, ...]:
        """Domains whose statistics it holds; the first is what it was trained on."""
        return kept(self) if has_batch_norm(self) else (SOURCE,)

    def logits(self, images: Tensor, statistics: str, **controls: Any) -> Tensor:
        """Return (B, K) logits; called without gradients, in evaluation mode, with every control given.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], on the classifier's device.
            statistics: see `nn.normalization.using`.
            **controls: a value for each of `self.controls`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define logits()")

    @torch.no_grad()
    def classify(self, images: Tensor, *, statistics: str | None = None, **controls: Any) -> Tensor:
        """Classify images, without gradients and in evaluation mode (which is restored afterwards).

        Args:
            images: (B, 3, H, W) or (3, H, W) RGB, floating point in [0, 1], any device.
            statistics: the domain whose feature statistics normalize, one of `domains`; None for `own_statistics`.
            **controls: see `controls`.

        Returns:
            (B, K) logits, or (K,) of a single image, on the device and of the type of `images`.

        Raises:
            TypeError: if `images` is not a floating-point tensor, or a control is not a number.
            ValueError: if a shape, a range or a control is wrong, or no statistics are kept of the domain.
        """
        chosen = self.check_controls(**controls)
        statistics = self.own_statistics if statistics is None else statistics
        if statistics not in (*self.domains, *MODES):
            raise unknown_domain(statistics, self.domains)
        batch = self.own(images)
        with evaluating(self):
            result = self.logits(batch, statistics, **chosen)  # (B, K)
        if result.shape != (len(batch), len(self.classes)):
            raise ValueError(
                f"{type(self).__name__} has {len(self.classes)} classes, and gave logits of shape "
                f"{tuple(result.shape)} for {len(batch)} images"
            )
        result = result.to(images.device, images.dtype)
        return result if images.ndim == 4 else result.squeeze(0)


class NetworkClassifier(Classifier):
    """A network that an adaptation strategy has prepared.

    Args:
        network: makes the network for a number of classes.
        adaptation: the strategy, an `adaptation.base.Strategy`; it converts the network and predicts with it.
        classes: names of the classes, in the order of the logits.
        size_px: side of the central squares that it is trained on, or height and width of the crops.
        resize_px: shorter side of the images that these are cut from, or height and width; None for `size_px`.

    Raises:
        ValueError: if there are fewer than two classes, a batch norm has no running statistics, or the strategy cannot
            serve the network.
    """

    def __init__(
        self,
        network: Callable[..., nn.Module],
        adaptation: Any,
        classes: Sequence[str],
        size_px: Size,
        resize_px: Size | None = None,
    ) -> None:
        super().__init__()
        self.classes = tuple(map(str, classes or ()))
        if len(self.classes) < _FEWEST_CLASSES:
            raise ValueError(f"a classifier needs at least {_FEWEST_CLASSES} classes, got {list(self.classes)}")
        self.size_px, self.resize_px = check_size("size_px", size_px), resize_px
        made = network(classes=len(self.classes))
        for layer in batch_norms(made).values() if has_batch_norm(made) else ():
            running_statistics(layer)  # which every test of the source needs
        self.network = adaptation.convert(made)
        self.adaptation = adaptation
        self.own_statistics = adaptation.own_statistics

    @property
    def encoder(self) -> nn.Module | None:
        """The frozen encoder whose features the network reads, if there is one."""
        return getattr(self.network, "encoder", None)

    def logits(self, images: Tensor, statistics: str, **controls: Any) -> Tensor:
        """Return (B, K) logits, as the strategy predicts."""
        logits: Tensor = self.adaptation.predict(self.network, images, statistics)
        return logits
