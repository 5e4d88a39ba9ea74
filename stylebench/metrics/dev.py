"""Deep embedded validation: the loss that a classifier would have on the target, from labels of the source alone.

Paper: You, Wang, Long, Jordan, "Towards Accurate Model Selection in Deep Unsupervised Domain Adaptation", ICML 2019,
algorithm 1: losses of held-out source images are weighted by how much more likely their features are of the target, and
the weights, whose mean is 1 by definition, are a control variate.

Deviations: the domains are told apart by logistic regression on standardized features with a fixed penalty, which has
one optimum and no seed, where the authors choose a network with two layers by its accuracy on held-out features.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Floats = NDArray[np.float64]
PENALTY = 1e-3  # of half the squared coefficients, beside the mean log loss
FEWEST = 2  # images of each kind


def density_ratios(source: Floats, target: Floats, asked: Floats) -> Floats:
    """Return how much more likely each feature vector is of the target than of the source, (Q,) > 0.

    Args:
        source: (N, F) of source images that the classifier was trained on.
        target: (M, F).
        asked: (Q, F).
    """
    both = np.concatenate([source, target])
    mean, deviation = both.mean(0), both.std(0)
    deviation[deviation == 0] = 1.0
    inputs = (both - mean) / deviation
    signs = np.concatenate([np.full(len(source), -1.0), np.ones(len(target))])

    def loss(values: Floats) -> tuple[float, Floats]:
        margins = signs * (inputs @ values[:-1] + values[-1])
        slopes = -signs * special.expit(-margins) / len(signs)
        gradient = np.append(inputs.T @ slopes + PENALTY * values[:-1], slopes.sum())
        return float(np.logaddexp(0, -margins).mean() + PENALTY / 2 * (values[:-1] @ values[:-1])), gradient

    found = optimize.minimize(loss, np.zeros(inputs.shape[1] + 1), jac=True, method="L-BFGS-B").x
    odds = np.exp((asked - mean) / deviation @ found[:-1] + found[-1])
    return np.asarray(odds * (len(source) / len(target)))


def weighted_risk(losses: Floats, ratios: Floats) -> float:
    """Return the mean of weighted losses, corrected by how far the weights' mean is from 1.

    Args:
        losses: (Q,) of held-out source images, Q >= 2.
        ratios: (Q,) their weights.
    """
    weighted = losses * ratios
    covariance = np.cov(weighted, ratios)
    slope = -covariance[0, 1] / covariance[1, 1] if covariance[1, 1] > 0 else 0.0
    return float(weighted.mean() + slope * (ratios.mean() - 1.0))
