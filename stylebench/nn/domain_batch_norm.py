"""DSBN's layer: a batch norm of its own for each of two domains, scale and shift included.

Paper: Chang, You, Seo, Kwak, Han, "Domain-Specific Batch Normalization for Unsupervised Domain Adaptation", CVPR 2019.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from stylebench.functional.precision import at_least_float32, float32_island
from stylebench.nn.domain_norms import SOURCE, DomainNorm, PlainNorm, normalized
from stylebench.nn.moments_over_processes import several_processes


class DomainBatchNorm(DomainNorm):
    """Normalize, scale and shift each of two domains by itself.

    In training, within `joint`, the first images of a batch are the source's and the others the target's; without
    `joint` all are the source's. The source keeps the names `weight` and `bias`.

    Args:
        layer: the batch norm that it replaces; both domains start from it.
    """

    def __init__(self, layer: _BatchNorm) -> None:
        super().__init__(layer)
        self.target_weight, self.target_bias = (
            nn.Parameter(each.detach().clone(), requires_grad=each.requires_grad) for each in (self.weight, self.bias)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Normalize (N, C) or (N, C, ...) maps; in training the joint batch."""
        with float32_island(maps):
            wide = at_least_float32(maps)
            found = torch.cat(self._parts(wide)) if self.training else self.evaluated(wide)
            return found.to(maps.dtype)

    def plain(self) -> PlainNorm:
        """Return the batch norm of the branch."""
        return PlainNorm(*self.affine(self.branch), *self.statistics(self.branch))

    def _parts(self, maps: Tensor) -> list[Tensor]:
        if not (self.synced and several_processes()):
            return [self.normalize_apart(name, part, *self.affine(name)) for name, part in self.split(maps).items()]
        found = self.moments_over_processes(maps)
        return [
            normalized(part, moments.mean, moments.variance + self.eps, *self.affine(name))
            for name, (part, moments) in found.items()
        ]

    def affine(self, domain: str) -> tuple[Tensor, Tensor]:
        """Return the (C,) scale and shift of a domain."""
        return (self.weight, self.bias) if domain == SOURCE else (self.target_weight, self.target_bias)

    def beyond_plain(self, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
        """Return a scale and a shift of the target, which start as the source's."""
        return {"target_weight": weight, "target_bias": bias}
