"""DSBN: each domain has batch norms of its own, scale and shift included; all other weights are shared.

Paper: Chang, You, Seo, Kwak, Han, "Domain-Specific Batch Normalization for Unsupervised Domain Adaptation", CVPR 2019;
the layer is `nn/domain_batch_norm.py`.

The target's scales and shifts learn from what reaches the target alone, here the entropy of its predictions. The
paper's own losses of the first stage (MSTN, CPUA) and its second stage, pseudo labels, are not part of this.
"""

import logging

from torch.nn.modules.batchnorm import _BatchNorm

from stylebench.adaptation.joint import JointStrategy
from stylebench.nn.domain_batch_norm import DomainBatchNorm
from stylebench.nn.domain_norms import DomainNorm

log = logging.getLogger(__name__)


class DSBN(JointStrategy):
    """Give every batch norm a twin for the target.

    Args:
        entropy_weight: of the entropy of the target's predictions, >= 0; at 0 the twins keep their first scales.
        recalibrate: see `JointStrategy`.
        propagate: see `JointStrategy`.
        sync_moments: see `JointStrategy`.
    """

    def __init__(self, entropy_weight: float, recalibrate: str, propagate: str, sync_moments: bool) -> None:
        super().__init__(entropy_weight, recalibrate, propagate, sync_moments)
        if not entropy_weight:
            log.warning(
                "adaptation.entropy_weight=0: nothing teaches the target's scales and shifts, which stay as they begin"
            )

    def replacement(self, layer: _BatchNorm) -> DomainNorm:
        """Return DSBN's layer."""
        return DomainBatchNorm(layer)
