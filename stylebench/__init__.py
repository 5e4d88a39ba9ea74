"""Train, sweep, benchmark and reproduce style transfer, image-to-image translation and domain adaptation.

`import stylebench` is instant: torch is imported by what needs it, not here.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from stylebench.inference.loading import load


def __getattr__(name: str) -> Any:
    if name == "load":
        from stylebench.inference.loading import load

        return load
    raise AttributeError(f"module 'stylebench' has no attribute {name!r}")
