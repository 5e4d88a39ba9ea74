r"""Features of PACS, made once: what SqueezeNet sees in each image, as it is, stylized, and with jittered colors.

    python -m experiments.adaptation.pacs_features --data data/pacs --weights squeezenet1_0_imagenet.pth \
      --stylizer outputs/adain_pacs --output features/

Mean activations of all taps over central crops of 128 px: `<domain>.npz`, with labels and which images are for testing
(a fifth, by hash). The photographs of the training are stylized toward each other domain, too, by its training images
and by those of another one, and jittered: `photo,<target>,<way>.npz`.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.adaptation.pixels_statistics import AS_THEY_ARE, JITTERED, RANDOM, STYLIZED
from stylebench.adaptation.stylized import stylized
from stylebench.build import build
from stylebench.cli.config import compose
from stylebench.data.augmentation import CropSettings
from stylebench.data.central_crops import CentralCrops
from stylebench.data.domain import Domain
from stylebench.data.splits import Indices
from stylebench.nn.classifiers.encoder_head import EncoderHead

SIZE_PX = 128
DOMAINS = ("photo", "art_painting", "cartoon", "sketch")
CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
SOURCE, TARGETS = DOMAINS[0], DOMAINS[1:]


def file_of(folder: Path, domain: str, target: str = "", way: str = AS_THEY_ARE) -> Path:
    """Return where the features of a domain lie, as it is or changed toward a target."""
    name = domain if way == AS_THEY_ARE else f"{domain},{target},{way.replace(' ', '_')}"
    return folder / f"{name}.npz"


def seen(network: EncoderHead, domain: Domain, indices: Indices) -> NDArray[np.float32]:
    """Return the features of images, (N, C)."""
    crops = CentralCrops(domain, indices, CropSettings((SIZE_PX, SIZE_PX), None, False), 64)
    return np.concatenate([network.pooled(images).numpy() for images in crops])


def changed(data: Path, stylizer: Path, target: str, way: str) -> dict[str, Any]:
    """Return the config under `dataset.stylize` for a way to change the pixels."""
    if way == JITTERED:
        return {"jitter": 0.5, "originals": False}
    other = TARGETS[(TARGETS.index(target) + 1) % len(TARGETS)]
    return {"run": str(stylizer), "styles": None if way == STYLIZED else str(data / other), "originals": False}


def main() -> None:
    """Write the files that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "weights", "stylizer", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    options.output.mkdir(parents=True, exist_ok=True)
    words = ["model=classifier", "dataset=folders", "dataset.source=x", "dataset.target=y", "encoder=squeezenet"]
    words += [f"encoder.weights={options.weights}", "dataset.store.val_fraction=0", "dataset.store.test_fraction=0.2"]
    config = compose("train", words)
    encoder, store = build(config["encoder"], "encoder"), build(config["dataset"]["store"], "dataset.store")
    network = EncoderHead(len(CLASSES), encoder, [tap for tap in encoder.taps if "pool" not in tap]).eval()
    domains = {name: store.open(str(options.data / name)) for name in DOMAINS}
    for name, domain in domains.items():
        if not (path := file_of(options.output, name)).exists():
            everything = np.arange(len(domain))
            np.savez(
                path,
                features=seen(network, domain, everything),
                labels=domain.labels,
                test=np.isin(everything, domain.split("test")),
            )
    for target in TARGETS:
        for way in (STYLIZED, RANDOM, JITTERED):
            if not (path := file_of(options.output, SOURCE, target, way)).exists():
                settings = {"stylize": changed(options.data, options.stylizer, target, way), "size_px": SIZE_PX}
                pair = {"source": domains[SOURCE], "target": domains[target]}
                made = stylized(pair, store, {**settings, "resize_px": None}, seed=0)["source"]
                chosen = made.split("train")
                np.savez(path, features=seen(network, made, chosen), labels=made.labels[chosen])


if __name__ == "__main__":
    main()
