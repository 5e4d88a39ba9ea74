"""What tests of read-outs share: contents, and mean readings of renders whose strength is known."""

from collections.abc import Callable, Sequence

from torch import Tensor

from stylebench.data.world import SOURCE, World
from stylebench.worlds.procstyle.world import ProcStyle
from stylebench.worlds.strength import StrengthReader

SCENES = tuple(f"test-{number:05d}" for number in range(32))
UNSEEN = 50  # a nuisance draw that no calibration uses
MakeReader = Callable[[World, str], StrengthReader]


def eight(world: World) -> list[str]:
    """Return the contents that the readers of `make_reader` know."""
    return list(SCENES[:8]) if isinstance(world, ProcStyle) else world.contents(None).ids


def render(world: World, ids: Sequence[str], style: str, strength: float) -> Tensor:
    """Render a strength with unseen nuisance; strength 0 is the source."""
    name, amount = (style, strength) if strength else (SOURCE, 1.0)
    return world.render(ids, name, purpose="calibration", draw=UNSEEN, strength=amount)


def means(reader: StrengthReader, images: Tensor, ids: Sequence[str]) -> dict[str, float]:
    """Return the mean reading of each component that can be read."""
    readings = reader.read(images, ids)
    read = {name: values for name, values in readings.components.items() if not values.isnan().all()}
    return {name: float(values.nanmean()) for name, values in read.items()}


def misses(reader: StrengthReader, ids: Sequence[str], strengths: Sequence[float], bound: float) -> list[str]:
    """Say which components read a known strength, up to the highest they follow, by more than `bound` off."""
    found = []
    for strength in strengths:
        for name, value in means(reader, render(reader.world, ids, reader.style, strength), ids).items():
            if strength <= reader.highest[name] and abs(value - strength) > bound:
                found.append(f"{name} of {reader.style} reads {value:.3f} at {strength}")
    return found
