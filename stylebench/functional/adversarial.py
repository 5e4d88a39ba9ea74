"""Losses of a discriminator and a generator on logits, in at least float32 whatever the input and autocast.

With r the logits of real images and f those of generated ones, means over every element (for a discriminator that
looks at patches: over the map and the batch):

| objective | discriminator | generator |
|---|---|---|
| `vanilla` | softplus(-r) + softplus(f) | softplus(-f) |
| `saturating` | as `vanilla` | -softplus(f) |
| `lsgan` | (r - 1)^2 + f^2 | (f - 1)^2 |
| `hinge` | relu(1 - r) + relu(1 + f) | -f |
| `wgan` | f - r | -f |

Sources: Goodfellow et al. 2014 (vanilla, in both forms of the generator's loss); Mao et al. 2017 (lsgan, targets 0 and
1); Lim and Ye 2017 (hinge); Arjovsky et al. 2017 (wgan).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stylebench.checks import check_choice
from stylebench.functional.precision import at_least_float32, float32_island


class Objective(NamedTuple):
    """What a discriminator minimizes on real and on generated logits, and what a generator minimizes; elementwise."""

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


OBJECTIVES = {
    "vanilla": Objective(lambda r: F.softplus(-r), F.softplus, lambda f: F.softplus(-f)),
    "saturating": Objective(lambda r: F.softplus(-r), F.softplus, lambda f: -F.softplus(f)),
    "lsgan": Objective(lambda r: (r - 1).square(), torch.square, lambda f: (f - 1).square()),
    "hinge": Objective(lambda r: F.relu(1 - r), lambda f: F.relu(1 + f), torch.neg),
    "wgan": Objective(torch.neg, lambda f: f, torch.neg),
}


def check_objective(objective: str) -> str:
    """Return the name of an objective.

    Raises:
        ValueError: if there is no such one.
    """
    return check_choice("objective", objective, OBJECTIVES)


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, objective: str) -> Tensor:
    """Compute what a discriminator minimizes.

    Args:
        real_logits: of real images, any shape, any real range.
        fake_logits: of generated images, any shape.
        objective: a key of `OBJECTIVES`.

    Returns:
        Scalar: mean over real logits plus mean over generated ones; not halved.
    """
    chosen = OBJECTIVES[objective]
    with float32_island(real_logits):
        return chosen.real(at_least_float32(real_logits)).mean() + chosen.fake(at_least_float32(fake_logits)).mean()


def generator_loss(fake_logits: Tensor, objective: str) -> Tensor:
    """Compute what a generator minimizes: the mean over the logits of its images.

    Args:
        fake_logits: any shape, any real range; gradient flows through them.
        objective: a key of `OBJECTIVES`.

    Returns:
        Scalar.
    """
    with float32_island(fake_logits):
        return OBJECTIVES[objective].generator(at_least_float32(fake_logits)).mean()


def logit_figures(real_logits: Tensor, fake_logits: Tensor, objective: str) -> dict[str, Tensor]:
    """Tell how a discriminator does: mean logits, and the share of logits on the right side of the middle.

    The middle is 0.5 for `lsgan` (targets 0 and 1) and 0 for the others. An accuracy pinned at 0.5 is a discriminator
    that sees nothing, one pinned at 1 a generator that learns nothing.

    Args:
        real_logits: any shape.
        fake_logits: any shape.
        objective: a key of `OBJECTIVES`.

    Returns:
        Scalars `real_logit`, `fake_logit` and `sign_accuracy`, the latter in [0, 1], real and generated counting half.
    """
    real, fake = real_logits.detach().float(), fake_logits.detach().float()
    middle = 0.5 if objective == "lsgan" else 0.0
    right = ((real > middle).float().mean() + (fake < middle).float().mean()) / 2
    return {"real_logit": real.mean(), "fake_logit": fake.mean(), "sign_accuracy": right}
