"""Real images in every task they allow: a pass of the dummies over the folders that `STYLEBENCH_SHARED` names."""

from pathlib import Path

import pytest

from stylebench.cli.config import compose
from tests.helpers.dummy_methods import TARGETS
from tests.test_dataset_tasks import SIZES, run_on

PACS = [f"pacs/{name}" for name in ("photo", "art_painting", "cartoon", "sketch")]
FACES = "stargan_v2_refs/celeba_hq"
CASES = {
    "style-photos": ("style", {"content": "content/photos256", "style": "style/paintings"}),
    "paired-facades": ("paired", {"pairs": "facades", "direction": "b_to_a"}),
    "unpaired-monet2photo": ("unpaired", {"a": "monet2photo/A", "b": "monet2photo/B"}),
    "unpaired-painters": ("unpaired", {"a": "painters/cezanne", "b": "painters/ukiyoe"}),
    "multi_domain-pacs": ("multi_domain", {"domains": PACS}),
    "multi_domain-afhq": ("multi_domain", {"domains": [f"stargan_v2_refs/afhq/ref/{name}" for name in ("cat", "dog")]}),
    "multi_domain-faces": ("multi_domain", {"domains": [f"{FACES}/ref/male", f"{FACES}/ref/female"]}),
    "adaptation-pacs": ("adaptation", {"source": PACS[0], "target": PACS[3]}),
}
# 1,600 images: more than a pass over any set here but PACS and the digits.
PASS = ["budget.batches=50", "budget.evaluate_every=50", "dataset.batch_size=32"]
FRACTIONS = ["dataset.store.val_fraction=0.2", "dataset.store.test_fraction=0.2"]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_real_folders_train_one_epoch(case: str, shared: Path, tmp_path: Path) -> None:
    task, given = CASES[case]
    config = compose(
        "train",
        [*SIZES, *PASS, *FRACTIONS, "dataset.size_px=64", "dataset.num_workers=0", "dataset.store.stored_px=128"],
    )
    for key, value in given.items():
        place = (
            [str(shared / "data" / name) for name in value] if isinstance(value, list) else str(shared / "data" / value)
        )
        config["dataset"][key] = value if key == "direction" else place
    record = run_on(config, task, tmp_path / "run")
    assert record["status"] == "finished"
    assert all(domain["count"] > 3 and not domain["skipped"] for domain in record["data"].values())


@pytest.mark.slow
@pytest.mark.parametrize("task", [name for name in TARGETS if name != "paired"])
def test_real_digits_train_one_epoch(task: str, shared: Path, tmp_path: Path) -> None:
    root = shared / "data" / "digits"
    names = {"content": "mnist", "style": "usps", "a": "mnist", "b": "usps", "source": "mnist", "target": "usps"}
    config = compose("train", [*SIZES, *PASS, "dataset=digits", f"dataset.root={root}", "dataset.num_workers=0"])
    config["dataset"].update(names, domains=["mnist", "usps"])
    assert run_on(config, task, tmp_path / "run")["status"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("task", [name for name in TARGETS if name != "adaptation"])
def test_filtered_photographs_train_one_epoch(task: str, shared: Path, tmp_path: Path) -> None:
    photographs = shared / "data" / "content" / "classic"
    fractions = [f"dataset.store.photographs.{split}_fraction=0.2" for split in ("val", "test")]
    config = compose("train", [*SIZES, *PASS, *fractions, "dataset=filterstyle", f"dataset.content={photographs}",
                               "dataset.store.size_px=64", "dataset.domains=[photo,xdog]"])  # fmt: skip
    assert run_on(config, task, tmp_path / "run")["status"] == "finished"
