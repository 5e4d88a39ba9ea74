"""How measured values are named and kept: the long record key, the short dashboard key, the entry under the key."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stylebench.run_folder import NOT_APPLICABLE, SHOWN

PROTOCOL = 1  # raised when a metric's definition changes: values of different protocols do not compare
RESERVED = ("fid", "kid", "cmmd", "artfid", "lpips")  # words for verified canonical weights alone


@dataclass(frozen=True)
class Value:
    """One measured number and how it was made.

    Attributes:
        family: what is measured, such as `fd`, `psnr` or `style_gram`.
        value: the number; None where it does not apply.
        extractor: record name of the network, None if there is none.
        alias: dashboard key without its stage.
        resize: resize protocol of the extractor.
        n_ref: images of the reference, None for pair metrics.
        n_gen: images that were evaluated.
        variant: what tells values of one metric apart, such as `nearest4` or a tap.
        tag: settings that belong to the key, such as the taps that were averaged.
        flags: remarks that belong to the key, such as `train-encoder`.
        interval: 95 % interval of the value, None if none can be given.
        details: further plain values: floor, excess, design, seed ...
        missing: missing inputs that make the value not applicable.
        shown: how far it is shown, one of `SHOWN`.
    """

    family: str
    value: float | None
    alias: str
    extractor: str | None = None
    resize: str | None = None
    n_ref: int | None = None
    n_gen: int = 0
    variant: str = ""
    tag: str = ""
    flags: tuple[str, ...] = ()
    interval: tuple[float, float] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    shown: str = SHOWN[0]

    @property
    def key(self) -> str:
        """The record key: `<family>[/<variant>][/<tag>][/<extractor>/<resize>]/n[<ref>x]<gen>[@<flag>...]`."""
        parts = [self.family, *filter(None, (self.variant, self.tag))]
        if self.extractor is not None:
            parts += [self.extractor, *([self.resize] if self.resize else [])]
        counts = f"n{self.n_gen}" if self.n_ref is None else f"n{self.n_ref}x{self.n_gen}"
        return "/".join([*parts, counts]) + "".join(f"@{flag}" for flag in self.flags)

    def entry(self) -> dict[str, Any]:
        """Return what stands in a record under the key, as plain JSON values."""
        entry: dict[str, Any] = {
            "value": _finite(self.value), "alias": self.alias, "n_ref": self.n_ref, "n_gen": self.n_gen,
            "interval": None if self.interval is None else [_finite(bound) for bound in self.interval],
            "protocol": PROTOCOL, "shown": self.shown, **{name: _plain(value) for name, value in self.details.items()},
        }  # fmt: skip
        if entry["value"] is None:
            entry |= {"status": NOT_APPLICABLE, "missing": list(self.missing)}
        return entry


def to_record(values: Sequence[Value], **facts: Any) -> dict[str, dict[str, Any]]:
    """Return entries by record key, each with facts that hold for all.

    Args:
        values: what was measured.
        **facts: plain values for every entry, such as `weights="ema"`.

    Raises:
        ValueError: if two values claim one key or one dashboard key.
    """
    record: dict[str, dict[str, Any]] = {}
    aliases: dict[str, str] = {}
    for value in values:
        if value.key in record:
            raise ValueError(f"two values claim the record key {value.key}; give one of the metrics another variant")
        if value.alias in aliases:
            raise ValueError(f"{value.key} and {aliases[value.alias]} claim the dashboard key {value.alias}")
        aliases[value.alias] = value.key
        record[value.key] = {**value.entry(), **facts}
    return record


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON takes it; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return _finite(value) if isinstance(value, float) else value
