"""Prediction-time BN: every batch of a test is normalized by its own statistics; nothing is kept.

Paper: Nado, Padhy, Sculley, D'Amour, Lakshminarayanan, Snoek, "Evaluating Prediction-Time Batch Normalization for
Robustness under Covariate Shift", 2020. It wants large batches whose classes are mixed by chance.
"""

from torch import nn

from stylebench.adaptation.base import Strategy
from stylebench.checks import check_whole
from stylebench.nn.normalization import BATCH, batch_norms


class PredictionTimeBN(Strategy):
    """Predict with the statistics of the batch.

    Args:
        batch_size: images at a time in a test, >= 2.

    Raises:
        ValueError: if it is smaller.
    """

    own_statistics = BATCH

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = check_whole("adaptation.batch_size", batch_size, 2)

    def convert(self, network: nn.Module) -> nn.Module:
        """Check that there are batch norms, before anything is trained."""
        batch_norms(network)
        return network
