"""How sure a classifier is: the entropy of its predictions, as a loss without labels."""

from torch import Tensor


def mean_entropy(logits: Tensor) -> Tensor:
    """Return the mean entropy of the softmax, in nats: 0 where all is certain, log K where nothing is.

    Args:
        logits: (N, K), N >= 1.

    Source: Grandvalet & Bengio 2004, "Semi-supervised learning by entropy minimization".
    """
    log_share = logits.log_softmax(1)  # of p: a clamped p would stop the gradient where it is needed
    return -(log_share.exp() * log_share).sum(1).mean()
