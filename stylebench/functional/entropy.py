"""How sure a classifier is: the entropy of its predictions, as a loss without labels, and what tells of a collapse."""

import math

from torch import Tensor

CERTAIN = 0.05  # of the greatest entropy: predictions below it have collapsed
ONE_CLASS = 0.9  # share of one class from which on they have


def mean_entropy(logits: Tensor) -> Tensor:
    """Return the mean entropy of the softmax, in nats: 0 where all is certain, log K where nothing is.

    Args:
        logits: (N, K), N >= 1.

    Source: Grandvalet & Bengio 2004, "Semi-supervised learning by entropy minimization".
    """
    log_share = logits.log_softmax(1)  # of p: a clamped p would stop the gradient where it is needed
    return -(log_share.exp() * log_share).sum(1).mean()


def certainty(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return two signs of a collapse, scalars in [0, 1]: entropy as a share of log K, and share of the largest class.

    Args:
        logits: (N, K), N >= 1 and K >= 2.
    """
    images, classes = logits.shape
    largest = logits.argmax(1).bincount(minlength=classes).max() / images
    return mean_entropy(logits) / math.log(classes), largest.to(logits.dtype)
