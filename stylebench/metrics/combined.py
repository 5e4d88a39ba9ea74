"""Metrics that are made of others' values."""

from collections.abc import Mapping

from stylebench.functional.artfid import artfid
from stylebench.metrics.records import Value

_HUNDRED = 100.0  # scales a kernel distance to the size of a Frechet one


class ArtFD:
    """(1 + content distance) (1 + distance of sets): ArtFID's form on whatever networks are here, hence `artfd`.

    A distance of sets of a few hundred images is mostly its floor, and the product hides which factor moved: read it
    beside both, which the record holds. With fewer than 2,000 images a kernel distance times 100 is the better factor.

    Args:
        content: item whose value is the content distance: LPIPS, or a perceptual distance in its form.
        style: item whose value is the distance of sets.

    Source: Wright & Ommer 2022; the name ArtFID is kept for its own Inception network, which is not offered here.
    """

    stem = "artfd"

    def __init__(self, content: str, style: str) -> None:
        self.content, self.style = content, style

    def combine(self, values: Mapping[str, Value]) -> Value:
        """Return the product of two values.

        Args:
            values: main values by item.

        Raises:
            ValueError: if there is no such item.
        """
        unknown = [name for name in (self.content, self.style) if name not in values]
        if unknown:
            raise ValueError(
                f"artfd is made of the items {self.content} and {self.style}; there is no {', '.join(unknown)}"
            )
        content, style = values[self.content], values[self.style]
        kernel = style.family in ("kd", "kid")
        stem = "art_kd" if kernel else self.stem
        alias = f"{stem}_{style.alias.partition('_')[2] or style.alias}"
        if content.value is None or style.value is None:
            return Value(stem, None, alias, missing=(*content.missing, *style.missing))
        factor = max(style.value, 0.0) * (_HUNDRED if kernel else 1.0)
        details = {
            "content": content.value, "content_key": content.key, "style": style.value, "style_key": style.key,
            "floor": artfid(0.0, max(float(style.details.get("floor", 0.0)), 0.0)), "larger_is_better": False,
        }  # fmt: skip
        networks = "+".join(filter(None, (content.tag or content.extractor, style.extractor)))
        value = artfid(content.value, factor)
        return Value(stem, value, alias, networks, style.resize, n_ref=style.n_ref, n_gen=style.n_gen, details=details)
