"""Names of earlier versions: what older files call a class is found where it stands today."""

from pathlib import Path

import pytest
import torch

from stylebench.loading import load, read_checkpoint
from stylebench.nn.johnson import JohnsonModern
from stylebench.nn.translators import ImageToImage
from stylebench.renames import MOVED_CLASSES, updated
from stylebench.resume import find_start, fingerprint
from stylebench.trusted import DEPTH_LIMIT, TrustError, resolve, training_classes

RECORDED = [
    line
    for line in (Path(__file__).parent / "recorded_targets.txt").read_text().splitlines()
    if not line.startswith("#")
]
NODE = {
    "_target_": "stylebench.nn.translators.ImageToImage",
    "generator": {"_target_": "earlier.rooms.Johnson", "width": 2, "norm": "instance", "head": "tanh"},
}


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> str:
    """A class that an earlier version had in another module; return its present path."""
    present = f"{JohnsonModern.__module__}.JohnsonModern"
    monkeypatch.setitem(MOVED_CLASSES, "earlier.rooms.Johnson", present)
    return present


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_name_leads_to_a_listed_class(name: str) -> None:
    found = resolve(updated({"_target_": name})["_target_"], training_classes())
    assert f"{found.__module__}.{found.__qualname__}" in training_classes()


def test_every_moved_class_is_where_the_table_says() -> None:
    for name in MOVED_CLASSES.values():
        found = resolve(name, training_classes())
        assert f"{found.__module__}.{found.__qualname__}" == name
    assert not MOVED_CLASSES.keys() & set(MOVED_CLASSES.values())


def test_only_targets_change_wherever_they_stand(moved: str) -> None:
    old = {"_target_": "earlier.rooms.Johnson", "note": "earlier.rooms.Johnson"}
    config = {"model": {"parts": [old, 3, {"x": old}]}, "_target_": 5, 2: None}
    new = {"_target_": moved, "note": "earlier.rooms.Johnson"}
    assert updated(config) == {"model": {"parts": [new, 3, {"x": new}]}, "_target_": 5, 2: None}
    assert old["_target_"] == "earlier.rooms.Johnson"


@pytest.mark.usefixtures("moved")
def test_what_is_nested_too_deep_is_left_to_the_refusal() -> None:
    node: object = {}
    for _ in range(20 * DEPTH_LIMIT):
        node = {"x": node}
    assert updated(node) == node


def save(path: Path, config: object) -> Path:
    torch.manual_seed(3)
    state = {f"translator.{key}": value for key, value in ImageToImage(JohnsonModern(width=2)).state_dict().items()}
    entry = {"format": 1, "version": "0.1.0", "batches": 3, "config": config, "ema": None, "record": {}}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"stylebench": entry, "state_dict": state}, path)
    return path


def test_a_checkpoint_that_names_an_earlier_module_loads(tmp_path: Path, moved: str) -> None:
    path = save(tmp_path / "a.ckpt", {"model": {"translator": NODE}})
    assert isinstance(load(path).generator, JohnsonModern)
    assert read_checkpoint(path)["stylebench"]["config"]["model"]["translator"]["generator"]["_target_"] == moved


def test_an_export_that_names_an_earlier_module_loads(tmp_path: Path, moved: str) -> None:
    from stylebench.export import export

    folder = export(save(tmp_path / "a.ckpt", {"model": {"translator": NODE}}), tmp_path / "out")
    facts = folder / "model.json"
    assert moved in facts.read_text()
    facts.write_text(facts.read_text().replace(moved, "earlier.rooms.Johnson"))
    assert isinstance(load(folder).generator, JohnsonModern)


def test_a_run_that_names_an_earlier_module_goes_on(tmp_path: Path, moved: str) -> None:
    save(tmp_path / "checkpoints" / "batch-000000003.ckpt", {"seed": 0, "model": {"translator": NODE}})
    present = {"seed": 0, "model": {"translator": {**NODE, "generator": {**NODE["generator"], "_target_": moved}}}}
    assert find_start(tmp_path, "must", present).batches == 3
    assert fingerprint(updated({"seed": 0, "model": {"translator": NODE}})) == fingerprint(present)


def test_a_moved_name_is_held_to_the_list_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MOVED_CLASSES, "earlier.rooms.Johnson", "torch.utils.collect_env.run")
    with pytest.raises(TrustError, match=r"torch\.utils\.collect_env\.run"):
        load(save(tmp_path / "a.ckpt", {"model": {"translator": NODE}}))
