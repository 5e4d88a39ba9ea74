"""Every named data set: its configuration holds together, and a small tree of its layout passes through all of it."""

import functools
import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from torchvision.datasets import MNIST, SVHN, USPS, CelebA

from stylebench.build import build
from stylebench.cli.config import compose
from stylebench.data.releases.release import Release, ReleaseFile
from stylebench.data.tasks import TASKS
from stylebench.shipped import options

Config = dict[str, Any]
NAMED = sorted(name for name, text in options("dataset").items() if re.search(r"^release:\s*$", text, re.MULTILINE))
ISSUE = {
    "coco", "wikiart", "horse2zebra", "summer2winter_yosemite", "monet2photo", "vangogh2photo", "maps", "facades",
    "edges2shoes", "cityscapes", "celeba", "celeba_hq", "afhq_v2", "pacs", "office31", "digits", "set5", "set14",
    "bsd100",
}  # fmt: skip
NEEDS_AGREEMENT = {"wikiart", "cityscapes", "celeba", "celeba_hq"}
TEST_SETS = {"set5", "set14", "bsd100"}
COUNT = 5  # images of a folder in a tree
PLACE = "PLACE"  # stands for the root until it is known


@functools.cache
def composed(name: str) -> str:
    """Return the `dataset` node of a set as JSON; composing takes a quarter of a second."""
    return json.dumps(compose("prepare", [f"dataset={name}", f"dataset.root={PLACE}"], allow_missing=True)["dataset"])


def settings(name: str, root: Path = Path("data"), **overrides: Any) -> Config:
    """Return the `dataset` node of a set that lies in a folder."""
    return {**json.loads(composed(name).replace(PLACE, str(root))), **overrides}


def files_of(release: Config) -> dict[str, ReleaseFile]:
    return {short: ReleaseFile(**entry) for short, entry in release["files"].items()}


def small(release: Config) -> Release:
    """Build a set's release that asks for few images, trusts any file, and can reach no one."""
    loose = {"sha256": None, "md5": None, "size_bytes": None, "mirrors": []}
    files = {short: {**entry, **loose} for short, entry in release["files"].items()}
    layout = {key: min(least, COUNT) for key, least in release["layout"].items()}
    return build({**release, "files": files, "layout": layout})  # type: ignore[no-any-return]


def tree(name: str, layout: dict[str, int]) -> list[str]:
    """Return the paths of a small tree of a set, named as its publisher does."""
    numbers = range(COUNT)
    if name == "cityscapes":
        parts = (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_color"))
        return [f"{top}/{split}/ulm/ulm_{i:06d}_000019_{ending}.png"
                for top, ending in parts for split in ("train", "val") for i in numbers]  # fmt: skip
    if name in TEST_SETS:
        return [f"image_SRF_4/img_{i:03d}_SRF_4_{kind}.png" for kind in ("HR", "LR", "bicubic", "A+") for i in numbers]
    if name == "office31":
        return [f"{domain}/images/{kind}/frame_{i:04d}.jpg"
                for domain in layout for kind in ("bike", "mug") for i in numbers]  # fmt: skip
    if name == "pacs":
        return [f"{domain}/{kind}/pic_{i:03d}.jpg" for domain in layout for kind in ("dog", "horse") for i in numbers]
    if name == "digits":
        return list(layout)
    folders = [key for key in layout if not key.endswith(".txt") and key != "wikiart"]
    return [f"{folder}/{i:06d}.jpg" for folder in folders for i in numbers]


def write_celeba_tables(root: Path) -> None:
    columns = ["Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young"]
    rows = ["1 -1 -1 -1 1", "-1 1 -1 1 -1", "-1 -1 1 -1 -1", "1 -1 -1 1 1", "-1 1 -1 -1 1"]
    images = [f"{i:06d}.jpg" for i in range(COUNT)]
    lines = [f"{image} {row}" for image, row in zip(images, rows, strict=True)]
    (root / "list_attr_celeba.txt").write_text("\n".join([str(COUNT), " ".join(columns), *lines]) + "\n")
    (root / "list_eval_partition.txt").write_text("".join(f"{image} {i // 4}\n" for i, image in enumerate(images)))


@pytest.fixture
def plant(write_images: Callable[..., Any]) -> Callable[[str, Path], list[str]]:
    """Write a set's small tree below a folder; return its paths."""

    def run(name: str, root: Path) -> list[str]:
        paths = tree(name, settings(name)["release"]["layout"])
        pictures = [path for path in paths if path.endswith((".jpg", ".png"))]
        write_images(root, pictures, (20, 40))
        for path in set(paths) - set(pictures):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(path.encode())
        if name == "celeba":
            write_celeba_tables(root)
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())

    return run


def publish(name: str, planted: Path, paths: list[str], root: Path) -> None:
    """Pack a small tree into the files that the publisher offers, and place them by hand."""
    release = settings(name)["release"]
    root.mkdir()
    for file in files_of(release).values():
        keys = file.keys(release["layout"])
        mine = [
            path for path in paths if any(PurePosixPath(path).match(key) or path.startswith(f"{key}/") for key in keys)
        ]
        assert mine, f"{file.name} gives nothing"
        if not file.extract:
            (root / file.name).write_bytes((planted / mine[0]).read_bytes())
        elif file.name.endswith("ubyte.gz"):
            (root / file.name).write_bytes(gzip.compress((planted / mine[0]).read_bytes()))
        else:
            inside = {f"{name}/{PurePosixPath(path).relative_to(file.into)}": planted / path for path in mine}
            pack(root / file.name, inside)


def pack(archive: Path, members: dict[str, Path]) -> None:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for inside, path in members.items():
                packed.write(path, inside)
        return
    with tarfile.open(archive, "w:gz") as file:
        for inside, path in members.items():
            info = tarfile.TarInfo(inside)
            info.size = path.stat().st_size
            file.addfile(info, io.BytesIO(path.read_bytes()))


def test_the_issue_names_no_more_sets() -> None:
    assert set(NAMED) == ISSUE


@pytest.mark.parametrize("name", NAMED)
def test_the_configuration_holds_together(name: str) -> None:
    release = settings(name)["release"]
    files, built = files_of(release), build(release)
    assert built.name == name
    assert re.search(rf"^root: data/{name} ", options("dataset")[name], re.MULTILINE)
    assert all(str(built.describe()[key]).strip() for key in ("title", "paper", "license", "homepage"))
    assert built.steps
    layout = release["layout"]
    given = [key for file in files.values() for key in file.keys(layout)]
    assert set(given) == set(layout)  # every part comes from some file, and no file gives what nobody asks for
    for file in files.values():
        assert all(PurePosixPath(key).is_relative_to(file.into) for key in file.keys(layout))
        assert all(url.startswith(("https://", "http://")) for url in file.mirrors)
        assert (file.size_bytes or 0) <= release["max_gb"] * 1e9
    if release["size_gb"] and all(file.size_bytes for file in files.values()):
        assert release["size_gb"] == pytest.approx(
            sum(file.size_bytes or 0 for file in files.values()) / 1e9, abs=0.006
        )


@pytest.mark.parametrize("name", NAMED)
def test_what_needs_an_agreement_says_so(name: str) -> None:
    release = settings(name)["release"]
    assert release["license_click"] is (name in NEEDS_AGREEMENT)
    assert release["license_accepted"] is False
    assert all(file.mirrors for file in files_of(release).values()) or name == "cityscapes"


@pytest.mark.parametrize("name", NAMED)
def test_a_tree_of_its_layout_passes(name: str, plant: Callable[[str, Path], list[str]], tmp_path: Path) -> None:
    plant(name, tmp_path)
    release = small(settings(name)["release"])
    assert release.missing(tmp_path) == []
    release.prepare(tmp_path)
    assert not (tmp_path / ".release.json").exists()  # nothing had to be brought


@pytest.mark.parametrize("name", NAMED)
def test_a_missing_part_is_named(name: str, plant: Callable[[str, Path], list[str]], tmp_path: Path) -> None:
    paths = plant(name, tmp_path)
    release = small(settings(name)["release"])
    for key in list(release.layout)[:4]:
        mine = [path for path in paths if PurePosixPath(path).match(key) or path.startswith(f"{key}/")]
        kept = (tmp_path / mine[0]).read_bytes()
        (tmp_path / mine[0]).unlink()
        if len(mine) <= COUNT:  # else there are more than the small layout asks for
            with pytest.raises(FileNotFoundError, match=re.escape(f"{key}: found ")):
                release.prepare(tmp_path)
        (tmp_path / mine[0]).write_bytes(kept)
    for path in paths:
        (tmp_path / path).unlink()
    assert [line.split(":")[0] for line in release.missing(tmp_path)] == list(release.layout)
    with pytest.raises(FileNotFoundError) as caught:
        release.prepare(tmp_path)
    assert all(f"put {file['name']} (" in str(caught.value) for file in release.files.values())


@pytest.mark.parametrize("name", NAMED)
def test_its_published_files_become_domains_for_its_tasks(
    name: str, plant: Callable[[str, Path], list[str]], tmp_path: Path
) -> None:
    planted, root = tmp_path / "planted", tmp_path / "root"
    publish(name, planted, plant(name, planted), root)
    dataset = settings(name, root, size_px=16, resize_px=None)
    small(dataset["release"]).prepare(root)
    if name == "digits":
        return  # its store reads real digits only
    if name == "coco":
        dataset["style"] = str(root / "val2017")
    if name == "wikiart":
        dataset["content"] = str(root / "wikiart" / "Cubism")
    assert dataset["tasks"]
    for task in (task for task in TASKS if task.name in dataset["tasks"]):
        domains = task.open(build(dataset["store"]), dataset)
        assert all(len(domain) >= 1 for domain in domains.values())
        drawn = {key: dataset[key] for key in ("size_px", "resize_px", "flip", "batch_size", "on_small")}
        if name in TEST_SETS:
            assert all(len(domain.split("test")) == COUNT for domain in domains.values())
            made = task(domains, seed=0, **drawn)
            assert made.size("test") == COUNT
            with pytest.raises(ValueError, match="training image"):
                made.check_trainable()
        elif name != "celeba":  # five faces do not fill every split of two domains
            task(domains, seed=0, **drawn)


def test_the_digits_are_torchvisions() -> None:
    published = {name: digest for name, digest in MNIST.resources}
    published |= {name: digest for _, name, digest in [*USPS.split_list.values(), *SVHN.split_list.values()]}
    files = files_of(settings("digits")["release"]).values()
    assert {file.name: file.md5 for file in files} == {file.name: published[file.name] for file in files}
    addresses = [url for url, _, _ in [*USPS.split_list.values(), *SVHN.split_list.values()]]
    assert all(url in addresses for file in files if not file.extract for url in file.mirrors)
    mirrors = {url.rsplit("/", 1)[0] + "/" for file in files if file.extract for url in file.mirrors}
    assert set(MNIST.mirrors) <= mirrors


def test_the_faces_are_torchvisions() -> None:
    published = {name: digest for _, digest, name in CelebA.file_list}
    files = files_of(settings("celeba")["release"]).values()
    assert {file.name: file.md5 for file in files} == {file.name: published[file.name] for file in files}


@pytest.mark.parametrize("name", ["pacs", "digits"])
def test_real_folders_of_other_sizes_say_what_they_lack(name: str, shared: Path) -> None:
    """The real PACS at hand has 85 % of the images, the real digits have no SVHN."""
    missing = build(settings(name)["release"]).missing(shared / "data" / name)
    if name == "digits":
        assert [line.split(":")[0] for line in missing] == ["SVHN/train_32x32.mat", "SVHN/test_32x32.mat"]
    else:
        assert "photo: found 1,414, expected at least 1,670" in missing
