"""Low-resolution inputs that are made of their targets, for super-resolution from any folder of photographs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from stylebench.checks import check_number, check_whole
from stylebench.data.domain import Domain
from stylebench.data.splits import Layout
from stylebench.files import json_digest
from stylebench.functional.bicubic import degrade

_KEYS = ("factor", "blur_sigma_px")


@dataclass(frozen=True)
class Degradation:
    """How inputs follow from targets: a Gaussian blur, then bicubic shrinking.

    Args:
        factor: by which both sides shrink, a whole number of at least 2.
        blur_sigma_px: standard deviation of the blur, in pixels of the target, at least 0; 0 for none.

    Raises:
        ValueError: if one is out of its range.
    """

    factor: int
    blur_sigma_px: float

    def __post_init__(self) -> None:
        check_whole("dataset.degradation.factor", self.factor, 2)
        check_number("dataset.degradation.blur_sigma_px", self.blur_sigma_px)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Degradation":
        """Read it from the config under `dataset.degradation`.

        Raises:
            ValueError: if a key is missing or unknown, or a value out of its range.
        """
        if not isinstance(settings, Mapping) or set(settings) != set(_KEYS):
            raise ValueError(f"dataset.degradation has the keys {' and '.join(_KEYS)}, or is null; got {settings!r}")
        return cls(**settings)

    def __call__(self, targets: Tensor) -> Tensor:
        """Map (B, 3, H, W) targets in [0, 1] to (B, 3, H / factor, W / factor) inputs in [0, 1], on their device."""
        return degrade(targets, self.factor, self.blur_sigma_px)


class Degraded(Domain):
    """The inputs that belong to a domain of targets, made when they are asked for: it holds the targets' pixels.

    The crop comes before the degradation, so that input and target show one place to a fraction of a pixel.

    Args:
        targets: the domain.
        degradation: what makes inputs of them.

    Attributes:
        degradation: the same.
    """

    def __init__(self, targets: Domain, degradation: Degradation) -> None:
        super().__init__(
            name=f"{targets.name}_{degradation.factor}x_smaller",
            path=targets.path,
            address=targets.address,
            ids=targets.ids,
            shapes=targets.shapes,
            pixels=targets.views,
            digest=json_digest([targets.digest, degradation.factor, degradation.blur_sigma_px]),
            layout=Layout(targets.splits, targets.classes, targets.labels),
            stored_px=targets.stored_px,
            skipped=targets.skipped,
            left_out=targets.left_out,
            notes=targets.notes,
        )
        self.degradation = degradation
