"""AutoDIAL's layer: each of two domains is normalized by a mixture of the moments of both.

Paper: Carlucci, Porzi, Caputo, Ricci, Rota Bulo, "AutoDIAL: Automatic DomaIn Alignment Layers", ICCV 2017, section 3;
dial_layer.cpp of ducksoup/autodial for the moments of the mixture, with what lies between the two means.

A domain d of a joint batch has its own moments m_d, v_d, and is normalized by those of a mixture, m_*, v_*. That is an
affine map of what its own batch norm would give, x^ = (x - m_d) / s_d with s_d = sqrt(v_d + eps):

    y = weight (s_d / s_*) x^ + bias + weight (m_d - m_*) / s_*

so torch's fused kernels do the passes over the maps, forward and backward, and the mixture is arithmetic on channels.
The gradient goes through the statistics of both domains: what they add to a map's gradient is again affine in the map.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from stylebench.checks import check_choice, check_number
from stylebench.functional.moments import MeanAndVariance, blend, mixture
from stylebench.functional.precision import at_least_float32, float32_island
from stylebench.nn.domain_norms import SOURCE, TARGET, DomainNorm, PlainNorm, normalized, variance_of
from stylebench.nn.moments_over_processes import several_processes

MIXTURES = ("moments", "var_linear", "std_linear")
LEAST_ALPHA, MOST_ALPHA = 0.5, 1.0


def mixed(
    kind: str, alpha: Tensor | float, own: MeanAndVariance, other: MeanAndVariance, eps: float
) -> MeanAndVariance:
    """Return the statistics that a domain is normalized by, the variance with eps in it.

    Args:
        kind: `moments` (of the mixture, as the authors do), `var_linear` (without what lies between the means) or
            `std_linear` (standard deviations are mixed), two readings of the paper that are other functions.
        alpha: share of the domain itself.
        own: moments of the domain, (C,) or anything that broadcasts with alpha.
        other: those of the other one.
        eps: added to the variance.
    """
    mean, variance = (mixture if kind == "moments" else blend)(alpha, own, other)
    if kind != "std_linear":
        return MeanAndVariance(mean, variance + eps)
    deviation = alpha * (own.variance + eps).sqrt() + (1 - alpha) * (other.variance + eps).sqrt()
    return MeanAndVariance(mean, deviation.square())


class MixtureNorm(DomainNorm):
    """Normalize two domains by mixtures of their moments, then scale and shift both alike.

    In training, within `joint`, the first images of a batch are the source's and the others the target's; without
    target images the source is normalized by its own moments alone, as it is without `joint`. The moments of each
    domain are followed by a moving average with the momentum of the layer that it replaces. In evaluation the moments
    that were kept are mixed with the alpha of the moment: `branch` says which domain is shown.

    Args:
        layer: the batch norm that it replaces.
        alpha: share of a domain's own moments, in [0.5, 1]; 1 keeps the domains apart, 0.5 has both share one mixture.
        learned: whether alpha is a parameter.
        by_channel: whether each channel has an alpha of its own.
        mixture: one of `MIXTURES`.
        mixes: whether evaluation mixes, too; else it takes the domain's moments alone.

    Raises:
        ValueError: if a setting is out of its range, or the layer has no scale and shift.
    """

    alpha: Tensor

    def __init__(
        self,
        layer: _BatchNorm,
        alpha: float,
        learned: bool = False,
        by_channel: bool = False,
        mixture: str = "moments",
        mixes: bool = True,
    ) -> None:
        super().__init__(layer)
        check_number("alpha", alpha, LEAST_ALPHA, MOST_ALPHA)
        self.mixture, self.mixes = check_choice("mixture", mixture, MIXTURES), mixes
        value = torch.full((self.channels,) if by_channel else (), alpha, device=self.weight.device)
        if learned:
            self.alpha = nn.Parameter(value)
        else:
            self.register_buffer("alpha", value)
        self._apart = not learned and alpha == MOST_ALPHA  # then nothing flows between the domains

    def project(self) -> None:
        """Bring alpha back into [0.5, 1] after a step."""
        with torch.no_grad():
            self.alpha.clamp_(LEAST_ALPHA, MOST_ALPHA)

    def forward(self, maps: Tensor) -> Tensor:
        """Normalize (N, C) or (N, C, ...) maps; in training the joint batch."""
        with float32_island(maps):
            wide = at_least_float32(maps)
            found = self._joint(wide) if self.training else self.evaluated(wide)
            return found.to(maps.dtype)

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return f"{super().extra_repr()}, mixture={self.mixture}, learned={isinstance(self.alpha, nn.Parameter)}"

    def plain(self) -> PlainNorm:
        """Return the layer of its branch as a plain batch norm: the mixture, or the domain's moments alone."""
        mean, variance = own = self.statistics(self.branch)
        if self.mixes:
            other = self.statistics(TARGET if self.branch == SOURCE else SOURCE)
            mean, variance = mixed(self.mixture, self.alpha.detach().double(), own, other, self.eps)
            variance = variance - self.eps
        return PlainNorm(self.weight, self.bias, mean, variance)

    def _joint_over_processes(self, maps: Tensor) -> Tensor:
        found = self.moments_over_processes(maps)
        results = []
        for domain, (part, own) in found.items():
            other = next((moments for name, (_, moments) in found.items() if name != domain), own)
            mean, variance = mixed(self.mixture, self.alpha, own, other, self.eps)
            results.append(normalized(part, mean, variance, self.weight, self.bias))
        return torch.cat(results)

    def _joint(self, maps: Tensor) -> Tensor:
        if self.synced and several_processes():
            return self._joint_over_processes(maps)
        parts = self.split(maps)
        if len(parts) == 1:
            ((domain, part),) = parts.items()
            return self.normalize_apart(domain, part, self.weight, self.bias)
        count = len(parts[SOURCE])
        result, means, variances = cast(
            tuple[Tensor, ...],
            _Joint.apply(maps, self.weight, self.bias, self.alpha, count, self.eps, self.mixture, self._apart),
        )
        for place, domain in enumerate((SOURCE, TARGET)):
            self.follow(domain, MeanAndVariance(means[place], variances[place]))
        return result

    def beyond_plain(self, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
        """Return alpha as it is."""
        return {"alpha": self.alpha.detach()}


class _Joint(torch.autograd.Function):
    """Normalize both parts of a joint batch; see the top of the file. What is small is (2, C), source and target."""

    @staticmethod
    def forward(
        ctx: Any,
        maps: Tensor,
        weight: Tensor,
        bias: Tensor,
        alpha: Tensor,
        count: int,
        eps: float,
        kind: str,
        apart: bool,
    ) -> tuple[Tensor, ...]:
        result, parts = torch.empty_like(maps), (maps[:count], maps[count:])
        normalized, means, inverses = zip(
            *(torch.native_batch_norm(part, None, None, None, None, True, 0.0, eps) for part in parts), strict=True
        )
        mean, inverse = torch.stack(means), torch.stack(inverses)
        variance = variance_of(inverse, eps)
        scales, shifts = _affine(weight, bias, alpha, MeanAndVariance(mean, variance), eps, kind)
        shape = (1, -1, *(1 for _ in maps.shape[2:]))
        for unit, scale, shift, out in zip(normalized, scales, shifts, (result[:count], result[count:]), strict=True):
            torch.addcmul(shift.view(shape), unit, scale.view(shape), out=out)
        ctx.save_for_backward(maps, weight, bias, alpha, mean, inverse, variance)
        ctx.count, ctx.eps, ctx.kind, ctx.apart = count, eps, kind, apart
        ctx.mark_non_differentiable(mean, variance)
        return result, mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, bias, alpha, mean, inverse, variance = ctx.saved_tensors
        gradient = grads[0].contiguous(memory_format=_format(maps))
        small = [each.detach().requires_grad_() for each in (weight, bias, alpha, mean, variance)]
        with torch.enable_grad():
            affine = _affine(small[0], small[1], small[2], MeanAndVariance(small[3], small[4]), ctx.eps, ctx.kind)
        parts, result = (maps[: ctx.count], maps[ctx.count :]), torch.empty_like(maps)
        through, by_scale, by_shift = zip(
            *(
                torch.ops.aten.native_batch_norm_backward(
                    grad, part, scale, None, None, own, inv, True, ctx.eps, [True, True, True]
                )
                for part, grad, scale, own, inv in zip(
                    parts,
                    (gradient[: ctx.count], gradient[ctx.count :]),
                    affine[0].detach(),
                    mean,
                    inverse,
                    strict=True,
                )
            ),
            strict=True,
        )
        *by_small, by_mean, by_variance = torch.autograd.grad(
            affine, small, [torch.stack(by_scale), torch.stack(by_shift)]
        )
        shape = (1, -1, *(1 for _ in maps.shape[2:]))
        entries = [part.numel() / part.shape[1] for part in parts]
        for place, (part, out) in enumerate(zip(parts, (result[: ctx.count], result[ctx.count :]), strict=True)):
            if ctx.apart:
                out.copy_(through[place])
                continue
            slope = 2 / entries[place] * by_variance[place]
            offset = by_mean[place] / entries[place] - slope * mean[place]
            torch.addcmul(through[place].add_(offset.view(shape)), part, slope.view(shape), out=out)
        return result, *by_small, None, None, None, None


def _affine(
    weight: Tensor, bias: Tensor, alpha: Tensor, own: MeanAndVariance, eps: float, kind: str
) -> tuple[Tensor, Tensor]:
    """Return what each domain's own batch norm is scaled and shifted by, (2, C) each."""
    mean, variance = mixed(kind, alpha, own, MeanAndVariance(*(each.flip(0) for each in own)), eps)
    inverse = variance.rsqrt()
    scale = weight * (own.variance + eps).sqrt() * inverse
    return scale, bias + weight * (own.mean - mean) * inverse


def _format(maps: Tensor) -> torch.memory_format:
    last = maps.ndim == 4 and maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format
