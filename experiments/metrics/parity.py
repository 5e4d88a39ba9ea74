"""Compare our Frechet distance with torch-fidelity's, torchmetrics' and clean-fid's: one network file, same images.

    PYTHONPATH=<tools> python -m experiments.metrics.parity --first <pictures> --second <other pictures>
        [--size 256 128] [--images 120] [--seed 0]

`<tools>` holds torch-fidelity (0.4.0) and clean-fid (0.1.35), which the project does not depend on; `pip install
--no-deps --target <tools> torch-fidelity==0.4.0 clean-fid==0.1.35` puts them there. A tool that is not there is left
out.

The file holds the published network's layers with weights by He and the running statistics of one batch of the images
in its BatchNorm layers, so that features have unit scale: with torch's own weights they are near 1e-8 and any two
distances agree. Ours go through the evaluator. torch-fidelity and clean-fid read the same images as PNG files;
clean-fid resizes and computes, its custom feature extractor being our network, which the other rows check.
"""

import argparse
import importlib.util
import json
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from experiments.metrics.photos import read_squares, sample_files
from stylebench.data.images import write_png
from stylebench.metrics.batch import EvaluationBatch
from stylebench.metrics.evaluator import Evaluator
from stylebench.metrics.extractors import Inception
from stylebench.metrics.extractors.inception import TFInception, load_network, randomize
from stylebench.metrics.resizing import resize_clean
from stylebench.metrics.sets import FrechetDistance

logger = logging.getLogger(__name__)

BATCH = 20
CALIBRATION = 40  # images in the batch that gives BatchNorm its statistics
TOLERANCE = 1e-3  # relative
SCALES = (0.1, 10.0)  # within which the features' standard deviation must lie, or parity says nothing
Pair = tuple[Tensor, Tensor]


def network_file(images: Tensor, path: Path, seed: int) -> None:
    """Write a network with weights by He and the running statistics of the images in its BatchNorm layers."""
    network = TFInception()
    randomize(network, seed)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the statistics of one batch, not a share of them
    network.train()
    with torch.no_grad():
        network((resize_clean(images.float(), Inception.size_px) - 128) / 128)
    torch.save(network.eval().state_dict(), path)


def ours(weights: Path, resize: str, sets: Pair) -> dict[str, float]:
    """Return our distance through the evaluator, and the standard deviation of the features."""
    extractor = Inception(str(weights), resize=resize)
    evaluator = Evaluator({"inception": extractor}, {"fd": FrechetDistance("inception")})
    places = [torch.split(torch.arange(len(images)), BATCH) for images in sets]
    reference = evaluator.reference_features("inception", ((sets[0][part], part) for part in places[0]))
    for part in places[1]:
        evaluator.update(EvaluationBatch(sets[1][part], part))
    (value,) = evaluator.compute({"inception": reference})
    return {"value": float(value.value or 0.0), "sd": float(reference.rows().std(0).mean())}


def torchmetrics_distance(weights: Path, antialias: bool, sets: Pair) -> float:
    """Return torchmetrics' distance of uint8 images."""
    metric = FrechetInceptionDistance(feature_extractor_weights_path=str(weights), antialias=antialias)
    for images, real in zip(sets, (True, False), strict=True):
        for batch in torch.split(images, BATCH):
            metric.update(batch, real=real)
    return float(metric.compute())


def fidelity_distance(weights: Path, folders: tuple[str, str]) -> float:
    """Return torch-fidelity's distance of two folders."""
    from torch_fidelity import calculate_metrics  # here, as the project does not depend on it

    found = calculate_metrics(
        input1=folders[0], input2=folders[1], fid=True, cuda=False, batch_size=BATCH, verbose=False, cache=False,
        save_cpu_ram=True, feature_extractor="inception-v3-compat", feature_extractor_weights_path=str(weights),
    )  # fmt: skip
    return float(found["frechet_inception_distance"])


def clean_distance(weights: Path, folders: tuple[str, str]) -> float:
    """Return clean-fid's distance of two folders, by its own resize, reading order and matrix root."""
    from cleanfid import fid  # here, as the project does not depend on it

    network = TFInception()
    load_network(network, weights)
    network.eval()
    with warnings.catch_warnings():  # it calls SciPy's sqrtm by arguments that are on their way out
        warnings.simplefilter("ignore", DeprecationWarning)
        value = fid.compute_fid(
            *folders, mode="clean", num_workers=0, batch_size=BATCH, device=torch.device("cpu"), verbose=False,
            custom_feat_extractor=lambda levels: network((levels - 128) / 128),
        )  # fmt: skip
    return float(value)


def compare(weights: Path, sets: Pair, folder: Path) -> list[dict[str, Any]]:
    """Return a row for each tool: our value at its resize, its own, and how far they are apart."""
    folders = (str(folder / "first"), str(folder / "second"))
    for name, images in zip(folders, sets, strict=True):
        for number, image in enumerate(images):
            write_png(image.permute(1, 2, 0).numpy(), Path(name) / f"{number:05d}.png")
    cases = [
        ("torchmetrics, antialias=False", "legacy_tf", lambda: torchmetrics_distance(weights, False, sets)),
        ("torchmetrics, as it comes", "tm19", lambda: torchmetrics_distance(weights, True, sets)),
    ]
    if importlib.util.find_spec("torch_fidelity"):
        cases.append(("torch-fidelity", "legacy_tf", lambda: fidelity_distance(weights, folders)))
    if importlib.util.find_spec("cleanfid"):
        cases.append(("clean-fid", "clean", lambda: clean_distance(weights, folders)))
    mine = {resize: ours(weights, resize, sets) for resize in ("legacy_tf", "tm19", "clean")}
    rows = []
    for tool, resize, call in cases:
        value, theirs = mine[resize]["value"], call()
        apart = abs(value - theirs) / abs(theirs)
        sound = apart <= TOLERANCE and SCALES[0] <= mine[resize]["sd"] <= SCALES[1]
        rows.append({"tool": tool, "resize": resize, "ours": value, "theirs": theirs, "relative": apart,
                     "feature_sd": mine[resize]["sd"], "agrees": sound})  # fmt: skip
        logger.info(json.dumps(rows[-1]))
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Format rows as Markdown."""
    lines = ["| tool | resize | ours | theirs | relative difference | features' sd |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row['tool']} | {row['resize']} | {row['ours']:.6f} | {row['theirs']:.6f} | {row['relative']:.1e} | "
        f"{row['feature_sd']:.3f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    """Run what the command line asks for; return 1 if a tool disagrees."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--second", type=Path, required=True, help="folder of other pictures")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 128), help="sides of the squares of each in px")
    parser.add_argument("--images", type=int, default=120, help="pictures of each")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the choice of pictures")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folders = (arguments.first, arguments.second)
    files = [sample_files(folder, arguments.images, arguments.seed) for folder in folders]
    sets = (read_squares(files[0], arguments.size[0]), read_squares(files[1], arguments.size[1]))
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "network.pth"
        network_file(sets[0][:CALIBRATION], weights, arguments.seed)
        rows = compare(weights, sets, Path(folder))
    logger.info(table(rows))
    return 0 if all(row["agrees"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
