"""Grade the evaluator's metrics in a rendered world: a card per metric, and a table.

python -m experiments.metrics.grade --world procstyle --output cards/procstyle
python -m experiments.metrics.grade --world filterstyle --photos pictures --output cards/filterstyle
python -m experiments.metrics.grade --compare cards/procstyle cards/filterstyle
"""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stylebench.data.folders import Folders
from stylebench.data.world import World
from stylebench.grading import Card, Design, Grading, Headline, PhotographStage, SceneStage, Taps
from stylebench.grading import standard_subjects as standard
from stylebench.metrics.extractors import EncoderFeatures, Extractor, PixelPCA, RandomMultiScale
from stylebench.nn.encoders import CompactEncoder, JudgeEncoder, SqueezeNetEncoder
from stylebench.statistics.agreement import grade_agreement
from stylebench.worlds.filterstyle.world import FilterStyle
from stylebench.worlds.procstyle.world import ProcStyle

_log = logging.getLogger(__name__)

_COLUMNS = ("L1", "L5", "L6", "L7", "L8", "L9", "L10", "L11", "L13", "L15", "L16")
_JUDGE = {"content_layers": ["mix2"], "style_layers": ["stem", "mix1", "mix3"], "exchange_layer": "mix5"}
_COMPACT = {
    "content_layers": ["relu2_2"], "style_layers": ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"],
    "exchange_layer": "relu4_1",
}  # fmt: skip
_SQUEEZE = {
    "content_layers": ["pool4"], "style_layers": ["conv1", "fire2", "fire3", "pool4", "fire5", "fire7"],
    "exchange_layer": "fire6",
}  # fmt: skip
_STRUCTURE = {"compact_judge": ["mix2"], "compact": ["relu3_1"], "squeezenet": ["fire3"]}  # taps of stride 4


def networks(squeezenet: Path | None) -> dict[str, Extractor]:
    """Return the extractors by name: those that ship, and SqueezeNet where its weights are given."""
    judge = JudgeEncoder(weights="shipped", **_JUDGE)
    compact = CompactEncoder(weights="shipped", padding="zeros", pooling="max", **_COMPACT)
    found: dict[str, Extractor] = {
        "compact_judge": EncoderFeatures(judge, pooled=["stem", "mix1", "mix3"]),
        "compact": EncoderFeatures(compact),
        "rand_ms": RandomMultiScale(),
        "pix_pca": PixelPCA(),
    }
    if squeezenet is not None:
        encoder = SqueezeNetEncoder(weights=str(squeezenet), normalize=True, padding="same", **_SQUEEZE)
        found["squeezenet"] = EncoderFeatures(encoder, alias="squeezenet")
    return found


def taps(extractors: Mapping[str, Extractor]) -> dict[str, Taps]:
    """Return which maps serve what, of the extractors that have maps."""
    found = {}
    for name, extractor in extractors.items():
        if isinstance(extractor, EncoderFeatures):
            encoder = extractor.encoder
            found[name] = Taps(list(encoder.style_layers), list(encoder.content_layers), _STRUCTURE[name])
        elif extractor.taps:
            second = [tap for tap in extractor.taps if tap.endswith("_2")]  # stride 4
            found[name] = Taps(list(extractor.taps), second, second)
    return found


def open_world(name: str, size_px: int, photos: Path | None) -> World:
    """Return a world."""
    if name == "procstyle":
        return ProcStyle(size_px, train_images=1000, val_images=1, test_images=200, packed=False, cache=None)
    folders = Folders(None, 256, 100_000_000, "stop", val_fraction=0.1, test_fraction=0.2)
    return FilterStyle(None if photos is None else str(photos), size_px, False, folders)


def table(cards: Sequence[Mapping[str, Any]]) -> str:
    """Return the cards as a Markdown table, best grades first."""
    head = ["metric", "axis", "grade", "tau", *_COLUMNS, "select.", "L14", "gain 4/255", "edit", "joint"]
    rows = [head, ["---"] * len(head)]
    for card in sorted(cards, key=lambda card: (card["grade"], -(card["tau"] or [-2])[0])):
        game, ladders = card["game"], card["ladders"]
        edits = game["edits"]
        worst = max(edits, key=lambda key: edits[key]) if edits else None
        bought = _number(game["gains"]["4"]) if "4" in game["gains"] else None
        others = f"({_number(game['others'][1])})" if game["others"] else "–"
        rows.append([
            f"`{card['name']}`", card["axis"], card["grade"], _interval(card["tau"]),
            *(_number((ladders.get(key, {}).get("tau") or [None])[0]) for key in _COLUMNS),
            _number(card["selectivity"]), _number(card["spread"]), bought or others,
            "–" if worst is None else f"{_number(edits[worst])} {worst}", _number(game["joint"]),
        ])  # fmt: skip
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-0.00", "0.00")


def _interval(tau: Sequence[float | None] | None) -> str:
    if tau is None:
        return "–"
    mean, low, high = tau
    return _number(mean) if low is None else f"{_number(mean)} [{_number(low)}, {_number(high)}]"


def compare(first: Path, second: Path) -> str:
    """Return how far the grades, as mean own-axis taus, of two folders of cards agree."""
    both = [{card["name"]: card for card in read(folder)} for folder in (first, second)]
    names = sorted(name for name in set(both[0]) & set(both[1]) if all(cards[name]["tau"] for cards in both))
    lines = []
    axes = {name: both[0][name]["axis"] for name in names}
    for axis in ("all", *dict.fromkeys(axes.values())):
        chosen = [name for name in names if axis in ("all", axes[name])]
        pair = [[cards[name]["tau"][0] for name in chosen] for cards in both]
        lines.append(f"{axis}: {grade_agreement(*pair)}")
    same = sum(both[0][name]["grade"] == both[1][name]["grade"] for name in names)
    return "\n".join([*lines, f"same grade: {same} of {len(names)}"])


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the cards of a folder."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def write(cards: Sequence[Card], folder: Path) -> None:
    """Write a file a card, and the table."""
    folder.mkdir(parents=True, exist_ok=True)
    for card in cards:
        (folder / f"{card.name}.json").write_text(json.dumps(card.to_dict(), indent=1) + "\n")
    (folder / "table.md").write_text(table(read(folder)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Grade, or compare grades."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.compare:
        _log.info("%s", compare(*options.compare))
        return
    world = open_world(options.world, options.size, options.photos)
    extractors = networks(options.squeezenet)
    contents = world.contents(None)
    test, train = ([contents.ids[int(i)] for i in contents.layout.splits[split]] for split in ("test", "train"))
    per_seed = max(2, -(-options.scenes // options.seeds))
    design = Design(
        styles=tuple(f"prior-{number}" for number in range(options.styles)), seeds=options.seeds, scenes=per_seed,
        sparing=min(options.sparing, per_seed), references=options.references,
        attacked=min(options.attacked, per_seed * options.seeds),
    )  # fmt: skip
    headlines = [
        Headline(f"style_worse_of_compact_judge_{other}", ("style_compact_judge", f"style_{other}"))
        for other in ("rand_ms", "squeezenet")
        if other in extractors
    ]
    stage = SceneStage(world) if options.world == "procstyle" else PhotographStage(world)
    subjects = standard(extractors, taps(extractors))
    grading = Grading(stage, extractors, subjects, headlines, design, test, train[: options.references])
    grading.climb()
    write(grading.cards({}), options.output)  # what an interrupted run leaves behind
    cards = grading.cards(grading.play())
    write(cards, options.output)
    _log.info("%d cards in %s\n%s", len(cards), options.output, table([card.to_dict() for card in cards]))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=("procstyle", "filterstyle"), default="procstyle")
    parser.add_argument("--photos", type=Path, help="folder of photographs, for filterstyle")
    parser.add_argument("--squeezenet", type=Path, help="file of torchvision's SqueezeNet 1.0 weights; none: left out")
    parser.add_argument("--scenes", type=int, default=50, help="contents, dealt out to the seeds")
    parser.add_argument("--styles", type=int, default=8, help="styles of the prior")
    parser.add_argument("--seeds", type=int, default=5, help="each with contents, nuisance and style images of its own")
    parser.add_argument("--sparing", type=int, default=1, help="contents a seed for slow metrics")
    parser.add_argument("--attacked", type=int, default=4, help="contents a style that are attacked")
    parser.add_argument("--references", type=int, default=100, help="contents of reference sets")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--output", type=Path, help="folder of the cards")
    parser.add_argument("--compare", type=Path, nargs=2, metavar="FOLDER", help="two folders of cards")
    options = parser.parse_args(arguments)
    if options.output is None and not options.compare:
        parser.error("name a folder for the cards: --output DIR")
    return options


if __name__ == "__main__":
    main()
