"""An encoder as an extractor: means and spreads of its channels, and its maps for style and content distances."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from stylebench.checks import check_choice
from stylebench.metrics.extractors.base import Extractor, unit_range
from stylebench.metrics.extractors.pooling import log_mean_and_spread, mean_and_spread
from stylebench.nn.encoders.base import Encoder

POOLS = {"log_mean_std": log_mean_and_spread, "mean_std": mean_and_spread}
_DEFAULT_POOL = "log_mean_std"
_PROCEDURAL = ("compact", "compact_judge")  # trained on rendered pictures; all others on photographs


class EncoderFeatures(Extractor):
    """Features of an encoder: mean and standard deviation of each channel, tap by tap, as log(1 + x).

    Images are taken at their own size: between images of different sizes, style mixes with scale.

    Args:
        encoder: the frozen encoder.
        layers: taps with maps; None for the encoder's style and content layers.
        pooled: taps out of these whose channels are the features; None for all.
        pool: key of `POOLS`: `log_mean_std`, or `mean_std` without the logarithm.
        alias: dashboard name; None for the encoder's own, without its digest.

    Raises:
        ValueError: if the encoder has no such tap, or on an unknown pool.
    """

    def __init__(
        self,
        encoder: Encoder,
        layers: Sequence[str] | None = None,
        pooled: Sequence[str] | None = None,
        pool: str = _DEFAULT_POOL,
        alias: str | None = None,
    ) -> None:
        super().__init__()
        check_choice("pool", pool, POOLS)
        chosen = (*encoder.style_layers, *encoder.content_layers) if layers is None else tuple(layers)
        unknown = [layer for layer in chosen if layer not in encoder.taps]
        if unknown or not chosen:
            raise ValueError(
                f"layers expects taps of {encoder.name}, got {', '.join(unknown) or 'none'}; choose from "
                f"{', '.join(encoder.taps)}"
            )
        if pooled is not None and (not pooled or not set(pooled) <= set(chosen)):
            raise ValueError(
                f"pooled expects some of the layers {', '.join(chosen)}, got {', '.join(pooled) or 'none'}"
            )
        self.encoder, self.pooling = encoder, pool
        self.taps = tuple(tap for tap in encoder.taps if tap in chosen)
        self.pooled = tuple(tap for tap in self.taps if pooled is None or tap in pooled)
        self.width = 2 * sum(encoder.channels[tap] for tap in self.pooled)
        self.digest = encoder.digest
        family = encoder.name.removesuffix(f"-{self.digest[:8]}")
        self.alias = family if alias is None else alias
        self.name = self._name(family, None if layers is None and pooled is None else self.pooled)
        random = encoder.weights.startswith("random")
        self.origin = "random" if random else "procedural" if family in _PROCEDURAL else "natural"

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, width) float32 features; see `Extractor`.

        Raises:
            TypeError: on images of another type.
            ValueError: on another shape, or images too small for a tap.
        """
        return self.pool(self.maps(images))

    def maps(self, images: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return maps by tap, shallow to deep, in a pass to the deepest; see `Extractor` and `forward`."""
        return self.encoder(unit_range(images), self.taps if layers is None else layers)  # type: ignore[no-any-return]

    def pool(self, maps: dict[str, Tensor]) -> Tensor:
        """Return the features that maps give."""
        return POOLS[self.pooling](maps, self.pooled)

    def describe(self) -> dict[str, Any]:
        """Return what a record says about the extractor, with the encoder's own description."""
        return {
            **super().describe(),
            "pool": self.pooling,
            "pooled": list(self.pooled),
            "encoder": self.encoder.describe(),
        }

    def _name(self, family: str, layers: Sequence[str] | None) -> str:
        """Name what decides the features; the digest stands last, as in the names of the shipped encoders."""
        scaled = self.encoder.calibration is not None and family not in _PROCEDURAL
        parts = [family, *(["normalized"] if scaled else []), *(["+".join(layers)] if layers else [])]
        if self.pooling != _DEFAULT_POOL:
            parts.append(self.pooling)
        return "-".join((*parts, self.digest[:8]))
