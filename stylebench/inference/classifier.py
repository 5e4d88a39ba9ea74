"""The classifier as an inference kind: pictures to logits."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stylebench.inference.base import Inference, Picture, evaluating

SOURCE = "source"  # the statistics of the domain that a classifier was trained on


class Classifier(Inference):
    """Base of all classifiers: checks, evaluation mode, shapes. Subclasses define `logits`.

    Attributes:
        classes: names of the classes, in the order of the logits.
        domains: domains whose statistics it holds; the first is what it was trained on.
    """

    inputs = (Picture("content", "the picture that is classified"),)
    classes: Sequence[str] = ()
    domains: Sequence[str] = (SOURCE,)

    def logits(self, images: Tensor, statistics: str, **controls: Any) -> Tensor:
        """Return (B, K) logits; called without gradients, in evaluation mode, with every control given.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], on the classifier's device.
            statistics: a name out of `domains`.
            **controls: a value for each of `self.controls`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define logits()")

    @torch.no_grad()
    def classify(self, images: Tensor, *, statistics: str = SOURCE, **controls: Any) -> Tensor:
        """Classify images, without gradients and in evaluation mode (which is restored afterwards).

        Args:
            images: (B, 3, H, W) or (3, H, W) RGB, floating point in [0, 1], any device.
            statistics: the domain whose feature statistics normalize: one of `domains`.
            **controls: see `controls`.

        Returns:
            (B, K) logits, or (K,) of a single image, on the device and of the type of `images`.

        Raises:
            TypeError: if `images` is not a floating-point tensor, or a control is not a number.
            ValueError: if a shape, a range or a control is wrong, or no statistics are kept of the domain.
        """
        chosen = self.check_controls(**controls)
        if statistics not in self.domains:
            raise ValueError(
                f"no statistics of the domain {statistics!r}; {type(self).__name__} has those of "
                f"{', '.join(self.domains)}"
            )
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
