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
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from stylebench.checks import check_choice, check_number
from stylebench.functional.moments import MeanAndVariance, mixture
from stylebench.functional.precision import at_least_float32, float32_island
from stylebench.nn.domain_norms import SOURCE, TARGET, DomainNorm

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
        own: (C,) moments of the domain.
        other: (C,) those of the other one.
        eps: added to the variance.
    """
    found = mixture(alpha, own, other)
    if kind == "moments":
        return MeanAndVariance(found.mean, found.variance + eps)
    if kind == "var_linear":
        return MeanAndVariance(found.mean, alpha * own.variance + (1 - alpha) * other.variance + eps)
    deviation = alpha * (own.variance + eps).sqrt() + (1 - alpha) * (other.variance + eps).sqrt()
    return MeanAndVariance(found.mean, deviation.square())


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
        self.momentum = 0.1 if layer.momentum is None else layer.momentum
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
            found = self._joint(wide) if self.training else self._one_domain(wide)
            return found.to(maps.dtype)

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return f"{super().extra_repr()}, mixture={self.mixture}, learned={isinstance(self.alpha, nn.Parameter)}"

    def _one_domain(self, maps: Tensor) -> Tensor:
        own = self.statistics(self.branch)
        if not self.mixes:
            mean, variance = own
        else:
            other = self.statistics(TARGET if self.branch == SOURCE else SOURCE)
            mean, variance = mixed(self.mixture, self.alpha.double(), own, other, self.eps)
            variance = variance - self.eps
        return F.batch_norm(
            maps, mean.to(maps.dtype), variance.to(maps.dtype), self.weight, self.bias, False, 0.0, self.eps
        )

    def _joint(self, maps: Tensor) -> Tensor:
        count = len(maps) if self.sources is None else self.sources
        sizes = [size for size in (count, len(maps) - count) if size]
        _check_entries(maps, sizes)
        if len(sizes) == 1:
            domain = SOURCE if count else TARGET
            with torch.no_grad():
                flat = maps.detach().transpose(0, 1).flatten(1)
                variance, mean = torch.var_mean(flat, 1, correction=0)
            self._follow(domain, MeanAndVariance(mean, variance))
            return F.batch_norm(maps, None, None, self.weight, self.bias, True, 0.0, self.eps)
        result, *moments = cast(
            tuple[Tensor, ...],
            _Joint.apply(maps, self.weight, self.bias, self.alpha, count, self.eps, self.mixture, self._apart),
        )
        self._follow(SOURCE, MeanAndVariance(*moments[:2]))
        self._follow(TARGET, MeanAndVariance(*moments[2:]))
        return result

    @torch.no_grad()
    def _follow(self, domain: str, moments: MeanAndVariance) -> None:
        for average, found in zip(self.statistics(domain), moments, strict=True):
            average.lerp_(found.to(average.dtype), self.momentum)


class _Joint(torch.autograd.Function):
    """Normalize both parts of a joint batch; see the top of the file."""

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
        moments = [
            MeanAndVariance(m, i.double().pow(-2).sub(eps).clamp_min(0).to(m.dtype))
            for m, i in zip(means, inverses, strict=True)
        ]
        affine = _affine(weight, bias, alpha, moments, eps, kind)
        for place, (unit, (scale, shift)) in enumerate(zip(normalized, affine, strict=True)):
            shape = (1, -1, *(1 for _ in maps.shape[2:]))
            out = result[count:] if place else result[:count]
            torch.addcmul(shift.view(shape), unit, scale.view(shape), out=out)
        ctx.save_for_backward(maps, weight, bias, alpha, *means, *inverses, *(m.variance for m in moments))
        ctx.count, ctx.eps, ctx.kind, ctx.apart = count, eps, kind, apart
        flat = [part for each in moments for part in each]
        ctx.mark_non_differentiable(*flat)
        return result, *flat

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, bias, alpha, *rest = ctx.saved_tensors
        means, inverses, variances = rest[:2], rest[2:4], rest[4:]
        gradient = grads[0].contiguous(memory_format=_format(maps))
        small = [each.detach().requires_grad_() for each in (weight, bias, alpha, *means, *variances)]
        with torch.enable_grad():
            moments = [MeanAndVariance(small[3 + place], small[5 + place]) for place in (0, 1)]
            scaled = _affine(small[0], small[1], small[2], moments, ctx.eps, ctx.kind)
            affine = [part for each in scaled for part in each]
        parts = ((maps[: ctx.count], gradient[: ctx.count]), (maps[ctx.count :], gradient[ctx.count :]))
        through, by_affine = [], []
        for place, (part, grad) in enumerate(parts):
            found, by_scale, by_shift = torch.ops.aten.native_batch_norm_backward(
                grad, part, affine[2 * place].detach(), None, None, means[place], inverses[place], True, ctx.eps,
                [True, True, True],
            )  # fmt: skip
            through.append(found)
            by_affine += [by_scale, by_shift]
        by_small = torch.autograd.grad(affine, small, by_affine, allow_unused=True)
        result = torch.empty_like(maps)
        shape = (1, -1, *(1 for _ in maps.shape[2:]))
        for place, (part, _) in enumerate(parts):
            out = result[ctx.count :] if place else result[: ctx.count]
            if ctx.apart:
                out.copy_(through[place])
                continue
            entries = part.numel() / part.shape[1]
            slope = 2 / entries * by_small[5 + place]
            offset = by_small[3 + place] / entries - slope * means[place]
            torch.addcmul(through[place].add_(offset.view(shape)), part, slope.view(shape), out=out)
        return result, *by_small[:3], None, None, None, None


def _affine(
    weight: Tensor, bias: Tensor, alpha: Tensor, moments: list[MeanAndVariance], eps: float, kind: str
) -> list[tuple[Tensor, Tensor]]:
    """Return what each domain's own batch norm is scaled and shifted by, (C,) each."""
    found = []
    for own, other in (moments, moments[::-1]):
        mean, variance = mixed(kind, alpha, own, other, eps)
        inverse = variance.rsqrt()
        scale = weight * (own.variance + eps).sqrt() * inverse
        found.append((scale, bias + weight * (own.mean - mean) * inverse))
    return found


def _format(maps: Tensor) -> torch.memory_format:
    last = maps.ndim == 4 and maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _check_entries(maps: Tensor, sizes: list[int]) -> None:
    """Refuse a part with a single entry a channel: its variance would be 0, and all of it would become 0."""
    positions = maps[0, 0].numel()
    if min(sizes) * positions < 2:
        raise ValueError(
            f"a domain of the batch has a single entry in each channel ({min(sizes)} image of {positions} position), "
            "so normalizing by its moments leaves nothing of it; use more images at a time"
        )
