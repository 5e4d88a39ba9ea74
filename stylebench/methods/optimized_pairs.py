"""Results of pixel optimization, kept: a pair of content and style is optimized once a run, whoever asks for it."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stylebench.functional.pixels import quantize
from stylebench.inference.translators.gatys import GatysTranslator, TextureTranslator
from stylebench.optimization.gatys import Progress


class OptimizedPair(NamedTuple):
    """What is kept of a pair.

    Attributes:
        image: (3, H, W) uint8.
        snapshots: the same, after some evaluations.
        terms: by number of evaluations, the unweighted terms.
    """

    image: Tensor
    snapshots: list[Tensor]
    terms: dict[int, dict[str, Any]]


class OptimizedPairs:
    """Optimizes each pair once, whoever asks: sample grid, health, losses and metrics look at the same pictures.

    Args:
        translator: the optimization.
        snapshots: evaluations after which pictures and terms are kept.
    """

    def __init__(self, translator: GatysTranslator | TextureTranslator, snapshots: Sequence[int]) -> None:
        self.translator, self.snapshots = translator, tuple(snapshots)
        self._known: dict[str, OptimizedPair] = {}

    def optimize(self, content: Tensor, style: Tensor, **controls: Any) -> list[OptimizedPair]:
        """Return the results for (B, 3, H, W) contents (of textures only their size counts) and styles in [0, 1]."""
        return [self._pair(content[place], style[place], controls) for place in range(len(content))]

    def images(self, content: Tensor, style: Tensor, **controls: Any) -> Tensor:
        """Return the results as (B, 3, H, W) images in [0, 1], on the contents' device."""
        return _floats([pair.image for pair in self.optimize(content, style, **controls)], content)

    def rows(self, content: Tensor, style: Tensor) -> list[Tensor]:
        """Return what stood at each snapshot, and the results: rows of (B, 3, H, W) images in [0, 1]."""
        found = self.optimize(content, style)
        between = zip(*(pair.snapshots for pair in found), strict=True)
        return [*(_floats(row, content) for row in between), self.images(content, style)]

    def terms(self, content: Tensor, style: Tensor) -> dict[str, Tensor]:
        """Return the means of all terms by log key; see `mean_terms`."""
        return mean_terms(self.optimize(content, style))

    def _pair(self, content: Tensor, style: Tensor, controls: dict[str, Any]) -> OptimizedPair:
        key = hashlib.sha256(repr(sorted(controls.items())).encode())
        key.update(repr((tuple(content.shape), tuple(style.shape))).encode())
        for picture in (content, style) if self.translator.takes("content") else (style,):
            key.update(quantize(picture[None]).cpu().numpy().tobytes())
        if key.hexdigest() not in self._known:
            self._known[key.hexdigest()] = self._optimized(content, style, controls)
        return self._known[key.hexdigest()]

    def _optimized(self, content: Tensor, style: Tensor, controls: dict[str, Any]) -> OptimizedPair:
        snapshots: list[Tensor] = []
        terms: dict[int, dict[str, Any]] = {}

        def watch(progress: Progress) -> None:
            if progress.evaluation in self.snapshots:
                snapshots.append(_stored(progress.image.detach()[0]))
            if progress.evaluation in (*self.snapshots, progress.evaluations):
                terms[progress.evaluation] = progress.terms

        image = self.translator.translate(content, style=style, watch=watch, **controls)
        return OptimizedPair(_stored(image), snapshots, terms)


def _floats(pictures: Sequence[Tensor], like: Tensor) -> Tensor:
    return torch.stack(list(pictures)).to(like.device).float() / 255  # (B, 3, H, W)


def _stored(picture: Tensor) -> Tensor:
    return quantize(picture.clamp(0, 1)[None])[0].cpu()


def mean_terms(pairs: Sequence[OptimizedPair], stage: str = "val") -> dict[str, Tensor]:
    """Return the mean of every term over pairs by log key; those of snapshots end with `_after_<evaluations>`."""
    found: dict[str, list[Tensor]] = {}
    for pair in pairs:
        last = max(pair.terms)
        for evaluations, terms in pair.terms.items():
            ending = "" if evaluations == last else f"_after_{evaluations}"
            for name, term in terms.items():
                parts = term if isinstance(term, dict) else {}
                total = torch.stack(list(parts.values())).sum() if parts else term
                found.setdefault(f"{stage}/loss/{name}{ending}", []).append(total)
                if not ending:
                    for layer, value in parts.items():
                        found.setdefault(f"{stage}/loss/{name}_{layer}", []).append(value)
    return {key: torch.stack(values).mean() for key, values in found.items()}
