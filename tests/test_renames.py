"""Names of earlier versions: what older files call a class is found where it stands today."""

import json
from pathlib import Path

import pytest
import torch

from stylebench.build import build
from stylebench.files import read_pickle
from stylebench.functional.schedules import InverseDecay
from stylebench.inference.loading import load, read_checkpoint
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.nn.generators.johnson import JohnsonModern
from stylebench.renames import KEYS, MOVED_CLASSES, present_key, updated, updated_config, updated_override
from stylebench.shipped import options
from stylebench.training.callbacks.checkpoints import AtomicCheckpointIO
from stylebench.training.resume import find_start, fingerprint
from stylebench.trusted import DEPTH_LIMIT, TrustError, resolve, training_classes
from tests.frozen.cases import CASES

RECORDED = [
    line
    for line in (Path(__file__).parent / "recorded_targets.txt").read_text().splitlines()
    if not line.startswith("#")
]
NODE = {
    "_target_": "stylebench.inference.translators.image_to_image.ImageToImage",
    "generator": {"_target_": "earlier.rooms.Johnson", "width": 2, "norm": "instance", "head": "tanh"},
}


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> str:
    """A class that an earlier version had in another module; return its present path."""
    present = f"{JohnsonModern.__module__}.JohnsonModern"
    monkeypatch.setitem(MOVED_CLASSES, "earlier.rooms.Johnson", present)
    return present


def went_with_its_method(name: str) -> bool:
    """Tell whether a present class is not there because a method that kept runs are of was removed."""
    return name not in training_classes() and not set(CASES) <= set(options("model"))


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_name_leads_to_a_listed_class(name: str) -> None:
    present = updated({"_target_": name})["_target_"]
    if went_with_its_method(present):
        pytest.skip("the method was removed since")
    found = resolve(present, training_classes())
    assert f"{found.__module__}.{found.__qualname__}" in training_classes()


def test_every_moved_class_is_where_the_table_says() -> None:
    for name in filter(lambda name: not went_with_its_method(name), MOVED_CLASSES.values()):
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
    """A checkpoint as the first format has it."""
    torch.manual_seed(3)
    weights = ImageToImage(JohnsonModern(width=2)).state_dict()
    state = {f"translator.{key}": value for key, value in weights.items()}
    averages = {
        "decay": 0.9,
        "updates": 3,
        "networks": {"translator": {key: value + 1 for key, value in weights.items()}},
    }
    entry = {"format": 1, "version": "0.1.0", "batches": 3, "config": config, "ema": averages, "record": {}}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"stylebench": entry, "state_dict": {**state, "translators.x": torch.zeros(1)}}, path)
    return path


def test_a_checkpoint_that_names_an_earlier_module_loads(tmp_path: Path, moved: str) -> None:
    path = save(tmp_path / "a.ckpt", {"model": {"translator": NODE}})
    assert isinstance(load(path).generator, JohnsonModern)
    assert read_checkpoint(path)["stylebench"]["config"]["model"]["inference"]["generator"]["_target_"] == moved


def test_networks_of_the_first_format_are_found_for_use_and_for_training(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", {"model": {"translator": NODE}})
    for found in (read_checkpoint(path), AtomicCheckpointIO().load_checkpoint(path)):
        assert list(found["stylebench"]["ema"]["networks"]) == ["model"]
        assert {name.partition(".")[0] for name in found["state_dict"]} == {"model", "translators"}
        assert found["stylebench"]["config"]["model"]["inference"] == updated(NODE)
    old = read_pickle(path)
    del old["stylebench"]["ema"]
    torch.save({**old, "stylebench": {**old["stylebench"], "format": 2}}, path)
    assert "translator.generator.body.0.weight" in read_checkpoint(path)["state_dict"]  # a method's own name


def test_an_export_that_names_an_earlier_module_loads(tmp_path: Path, moved: str) -> None:
    from stylebench.inference.export import export

    folder = export(save(tmp_path / "a.ckpt", {"model": {"translator": NODE}}), tmp_path / "out")
    facts = json.loads((folder / "model.json").read_text())
    assert facts["model"]["generator"]["_target_"] == moved
    old = {**facts, "format": 1, "translator": NODE}
    del old["model"]
    (folder / "model.json").write_text(json.dumps(old))
    assert isinstance(load(folder).generator, JohnsonModern)


def test_a_run_that_names_an_earlier_module_goes_on(tmp_path: Path, moved: str) -> None:
    old = {"seed": 0, "model": {"translator": NODE}}
    save(tmp_path / "checkpoints" / "batch-000000003.ckpt", old)
    generator = {**NODE["generator"], "_target_": moved}
    present = {"seed": 0, "model": {"generator": generator, "inference": {**NODE, "generator": generator}}}
    assert find_start(tmp_path, "must", present).batches == 3
    assert fingerprint(updated_config(old)) == fingerprint(present)


@pytest.mark.parametrize(
    ("override", "present"),
    [
        ("model.translator.init=noise", "model.init=noise"),
        ("model.translator.generator_ab.width=4", "model.generator.width=4"),
        ("model/network=johnson_paper", "model/generator=johnson_paper"),
        ("model.translator.encoder.weights=x", "encoder.weights=x"),
        ("model.optimizer.lr=1", "model.optimizers.generator.lr=1"),
        ("encoder.adain_layer=relu3_1", "encoder.exchange_layer=relu3_1"),
        ("dataset.release.licence_accepted=true", "dataset.release.license_accepted=true"),
        ("report=true", "panel=true"),
        ("metrics=report", "metrics=report"),
        ("objective=val/loss/style", "optimized_metric=val/loss/style"),
        ("model.objective=lsgan", "model.objective=lsgan"),
        ("++model.translator={a: model.translator}", "++model.inference={a: model.translator}"),
        ("~model.translator", "~model.inference"),
        ("model.translators=3", "model.translators=3"),
        ("seed=model.translator", "seed=model.translator"),
    ],
)  # fmt: skip
def test_recorded_overrides_are_translated_by_their_keys(override: str, present: str) -> None:
    assert updated_override(override, "fast_transfer") == present
    assert updated_override(present, "fast_transfer") == present


@pytest.mark.parametrize("width", [8, None])
def test_a_recorded_config_gets_every_key_of_today(width: int | None) -> None:
    generator, judge, other = {"width": width}, {"width": 2}, {"width": 3}
    model = {
        "_target_": "stylebench.methods.cyclegan.CycleGAN",
        "translator": {"generator_ab": generator, "generator_ba": other},
        "discriminator_a": judge,
        "discriminator_b": other,
    }
    found = updated_config({"seed": 0, "model": model})
    assert found == updated_config(found)
    assert found["model"] == {
        "_target_": "stylebench.methods.cyclegan.CycleGAN",
        "generator": generator,
        "generator_ab": generator,
        "generator_ba": other,
        "discriminator": judge,
        "discriminator_a": judge,
        "discriminator_b": other,
        "inference": {"generator_ab": generator, "generator_ba": other},
    }


def test_the_exchange_layer_of_every_recorded_encoder_is_found() -> None:
    old = {"_target_": "stylebench.nn.encoders.vgg.VGGEncoder", "adain_layer": "relu4_1"}
    new = {"_target_": "stylebench.nn.encoders.vgg.VGGEncoder", "exchange_layer": "relu4_1"}
    assert updated({"a": [old], "adain_layer": 3}) == {"a": [new], "adain_layer": 3}


def test_the_terms_of_a_recorded_data_set_are_found() -> None:
    target = {"_target_": "stylebench.data.releases.release.Release"}
    old = {**target, "licence": "none stated", "licence_click": False, "licence_accepted": True}
    new = {**target, "license": "none stated", "license_click": False, "license_accepted": True}
    assert updated({"release": old}) == {"release": new}


def test_settings_that_are_null_are_translated_too() -> None:
    model = {"_target_": "stylebench.methods.gatys.Gatys", "translator": {"tile_px": None, "weight_style": 3}}
    found = updated_config({"model": model})["model"]
    assert found["inference"] == {"tile_px": None, "weight_style": 3}
    assert {key: found[key] for key in found if key not in ("_target_", "inference")} == model["translator"]


def test_a_texture_of_an_earlier_version_is_optimized_by_the_class_of_both() -> None:
    names = ("stylebench.methods.gatys.Gatys", "stylebench.methods.texture_synthesis.TextureSynthesis")
    for name in names:
        model = {"_target_": name, "translator": {"evaluations": 3}, "snapshots": [2]}
        found = updated_config({"model": model})["model"]
        assert found["_target_"] == "stylebench.methods.gatys.Gatys"
        assert found["evaluations"] == 3


def test_the_rates_of_adain_are_those_of_its_decoder() -> None:
    assert updated_override("model.optimizer.lr=1", "adain") == "model.optimizers.decoder.lr=1"
    model = {"_target_": "stylebench.methods.adain.AdaIN", "translator": {}, "optimizer": {"lr": 1}, "lr_decay": 0.5}
    found = updated_config({"model": model})["model"]
    assert found["optimizers"] == {"decoder": {"lr": 1}}
    assert build(found["schedule"]) == InverseDecay(0.5)


def test_no_present_key_is_an_earlier_one() -> None:
    for table in KEYS.values():
        for new in table.values():
            assert present_key(new) == new


def test_a_moved_name_is_held_to_the_list_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MOVED_CLASSES, "earlier.rooms.Johnson", "torch.utils.collect_env.run")
    with pytest.raises(TrustError, match=r"torch\.utils\.collect_env\.run"):
        load(save(tmp_path / "a.ckpt", {"model": {"inference": NODE}}))
