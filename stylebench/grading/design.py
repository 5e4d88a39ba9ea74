"""How much a grading measures."""

from dataclasses import dataclass

from stylebench.checks import check_whole


@dataclass(frozen=True)
class Design:
    """How much is measured.

    Attributes:
        styles: at least two, each also serves as the wrong style of its neighbor.
        seeds: each has contents, nuisance and style images of its own.
        scenes: contents a seed.
        sparing: of these, contents for slow metrics.
        references: contents of the reference sets, none of them among the others.
        attacked: contents a style that are attacked.
        levels: half sides of the boxes, of 255.
    """

    styles: tuple[str, ...]
    seeds: int = 5
    scenes: int = 10
    sparing: int = 2
    references: int = 100
    attacked: int = 4
    levels: tuple[int, ...] = (2, 4, 8)

    def __post_init__(self) -> None:
        fewest = {"seeds": 1, "scenes": 2, "sparing": 1, "references": 6, "attacked": 1}
        for name, least in fewest.items():
            check_whole(name, getattr(self, name), least)
        if len(self.styles) < 2 or self.sparing > self.scenes or self.attacked > self.seeds * self.scenes:
            raise ValueError(
                "a grading needs two styles or more, and no more sparing or attacked contents than there are, got "
                f"{len(self.styles)} styles, {self.scenes} scenes, {self.sparing} sparing, {self.attacked} attacked"
            )
