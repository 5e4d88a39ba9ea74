"""The list of classes that an untrusted config may name."""

import functools
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from stylebench.construct import construct
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.nn.generators.johnson import JohnsonModern
from stylebench.shipped import shipped_targets
from stylebench.trusted import (
    DEPTH_LIMIT,
    FOREIGN,
    UNSHIPPED,
    TrustError,
    check_targets,
    inference_classes,
    resolve,
    training_classes,
)

CONF = Path(__file__).resolve().parents[1] / "conf"


@pytest.mark.parametrize("name", sorted(training_classes()))
def test_listed_name_is_a_class_defined_in_that_module(name: str) -> None:
    module, _, qualname = name.rpartition(".")
    found = vars(importlib.import_module(module))[qualname]
    assert isinstance(found, type)
    assert (found.__module__, found.__qualname__) == (module, qualname)
    assert resolve(name, training_classes()) is found


def named_targets(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["_target_"]] if "_target_" in node else []
        return own + [name for value in node.values() for name in named_targets(value)]
    return [name for value in node for name in named_targets(value)] if isinstance(node, list) else []


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_every_target_of_our_own_configs_is_listed(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    for name in named_targets(content):
        other = OmegaConf.select(OmegaConf.create(content), name[2:-1]) if name.startswith("${") else None
        resolve(other or name, training_classes())


def test_what_ships_is_read_as_yaml_reads_it() -> None:
    contents = [yaml.safe_load(path.read_text()) for path in CONF.rglob("*.yaml")]
    named = {name for content in contents for name in named_targets(content) if not name.startswith("${")}
    assert shipped_targets() == named


def test_the_list_is_what_ships_and_what_is_written_out() -> None:
    ours = {name for name in shipped_targets() if name.startswith("stylebench.")}
    assert training_classes() == ours | FOREIGN | UNSHIPPED
    assert not UNSHIPPED & shipped_targets(), "a shipped file names these: they are on the list by that"
    assert not [name for name in FOREIGN if name.startswith("stylebench.")]


def test_a_shipped_file_lists_no_class_of_another_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "new.yaml").write_text(
        "_target_: stylebench.methods.new.New   # theirs\n# _target_: stylebench.methods.old.Old\n"
        "parts:\n  - _target_: torch.load\n  - {_target_: stylebench.nn.new.Net, width: 3}\n"
    )
    monkeypatch.setattr("stylebench.shipped.conf_folder", lambda: tmp_path)
    for cached in (shipped_targets, training_classes, inference_classes):
        cached.cache_clear()
    try:
        assert shipped_targets() == {"stylebench.methods.new.New", "torch.load", "stylebench.nn.new.Net"}
        assert training_classes() - FOREIGN - UNSHIPPED == {"stylebench.methods.new.New", "stylebench.nn.new.Net"}
        assert inference_classes() - FOREIGN == {"stylebench.nn.new.Net"}
    finally:
        for cached in (shipped_targets, training_classes, inference_classes):
            cached.cache_clear()


def test_public_aliases_resolve() -> None:
    assert resolve("torch.optim.Adam", training_classes()) is torch.optim.Adam
    assert resolve("torch.optim.lr_scheduler.StepLR", training_classes()) is torch.optim.lr_scheduler.StepLR


def build(node: Any) -> Any:
    return construct(node, listed=training_classes())


def touching(sentinel: Path) -> dict[str, dict[str, Any]]:
    """Nodes that would create the sentinel file, or hand out the means to, if they were run."""
    command, text = f"touch {sentinel}", str(sentinel)
    names = {
        "torch.os.system": {"command": command},
        "os.system": {"command": command},
        "torch.utils.collect_env.run": {"command": command},
        "subprocess.check_call": {"args": ["touch", text]},
        "builtins.open": {"file": text, "mode": "w"},
        "builtins.exec": {"_args_": [f"open({text!r}, 'w')"]},
        "builtins.getattr": {"_args_": ["torch", "os"]},
        "torch.save": {"obj": 1, "f": text},
        "torch.load": {"f": text, "weights_only": False},
        "torch.hub.load": {"repo_or_dir": text, "model": "x", "source": "local"},
        "functools.partial": {"_args_": [print]},
        "hydra.utils.get_method": {"path": "os.system"},
        "hydra.utils.get_class": {"path": "subprocess.Popen"},
        "hydra.utils.instantiate": {"config": {"_target_": "os.system", "command": command}},
        "pathlib.Path.touch": {"self": text},
        "stylebench.files.write_json": {"path": text, "value": 1},
        "stylebench.nn.generators.johnson.torch.save": {"obj": 1, "f": text},
        "stylebench.nn.generators.johnson.F.pad": {},
        "stylebench.nn.generators.johnson.JohnsonModern.__init__": {},
        "stylebench.nn.generators.johnson._initialize_as_torch7": {},
        "stylebench.nn.generators.johnson.nn": {},
        "torch.nn.Sequential": {},
        "torch.optim": {},
        "torch": {},
        "": {},
        ".torch.optim.Adam": {},
        "torch..optim": {},
        "torch.optim.Adam\n": {},
        "torch.optim.adam.__builtins__": {},
        "torch.optim.adam.Adam.__init__.__globals__": {},
        "stylebench_no_such_module.Thing": {},
    }
    return {name: {"_target_": name, **arguments} for name, arguments in names.items()}


PLACES: dict[str, Callable[[Any], Any]] = {
    "bare": lambda node: node,
    "partial": lambda node: {**node, "_partial_": True},
    "nested": lambda node: {"a": {"b": node}},
    "list": lambda node: {"a": [1, [node]]},
    "argument": lambda node: {
        "_target_": "stylebench.inference.translators.image_to_image.ImageToImage",
        "generator": node,
    },
    "args": lambda node: {"_target_": "stylebench.inference.translators.image_to_image.ImageToImage", "_args_": [node]},
    "args in args": lambda node: {"_target_": "torch.optim.Adam", "_args_": [{"_args_": [node]}], "_partial_": True},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", touching(Path("x")))
def test_hostile_target_runs_nothing(name: str, place: str, tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    config = PLACES[place](touching(sentinel)[name])
    if name == "functools.partial":  # a function is not a plain value either
        with pytest.raises(TrustError):
            check_targets(config)
        return
    for attempt in (check_targets, build):
        with pytest.raises(TrustError, match="not on the list"):
            attempt(config)
    assert not sentinel.exists()


@pytest.mark.parametrize("target", [print, None, 3, ["torch.optim.Adam"], {"_target_": "torch.optim.Adam"}, b"a.b"])
def test_target_that_is_no_text_is_refused(target: Any) -> None:
    with pytest.raises(TrustError, match="not on the list"):
        check_targets({"x": {"_target_": target}})


def test_refusal_names_target_and_place() -> None:
    with pytest.raises(TrustError, match=r"config\.model\.nets\[1\] names 'torch\.load'"):
        check_targets({"model": {"nets": [{}, {"_target_": "torch.load"}]}})


def test_an_impostor_with_a_listed_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.optim.sgd as module

    impostor = type("Adam", (), {"__module__": "torch.optim.adam"})
    monkeypatch.setattr(module, "Impostor", impostor, raising=False)
    with pytest.raises(TrustError, match="not on the list"):
        resolve("torch.optim.sgd.Impostor", training_classes())


def test_interpolations_and_objects_are_refused() -> None:
    with pytest.raises(TrustError, match="interpolation"):
        check_targets({"a": "${oc.env:HOME}"})
    with pytest.raises(TrustError, match="holds a Tensor; a config holds plain values"):
        check_targets({"a": [torch.zeros(1)]})
    with pytest.raises(TrustError, match="key of type tuple"):
        check_targets({(1, 2): 3})


def test_self_containing_config_is_refused() -> None:
    config: dict[str, Any] = {}
    config["again"] = [config]
    with pytest.raises(TrustError, match=f"deeper than {DEPTH_LIMIT}"):
        check_targets(config)


def test_build_makes_nested_objects_arguments_and_partials() -> None:
    node = {
        "_target_": "stylebench.inference.translators.image_to_image.ImageToImage",
        "generator": {"_target_": "stylebench.nn.generators.johnson.JohnsonModern", "_args_": [2], "head": "paper"},
    }
    model = construct(node, listed=inference_classes())
    assert isinstance(model, ImageToImage)
    assert isinstance(model.generator, JohnsonModern)
    assert (model.generator.width, model.generator.head) == (2, "paper")
    made = build(
        {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.5, "betas": [0.5, 0.9], "_convert_": "all"}
    )
    assert isinstance(made, functools.partial)
    assert tuple(made(model.parameters()).defaults["betas"]) == (0.5, 0.9)
    assert build({"plain": [1, {"b": None}]}) == {"plain": [1, {"b": None}]}


def test_build_checks_everything_before_it_builds_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    monkeypatch.setattr(JohnsonModern, "__init__", lambda self, **given: built.append(1))
    first = {"_target_": "stylebench.nn.generators.johnson.JohnsonModern"}
    with pytest.raises(TrustError):
        build([first, {"_target_": "torch.load"}])
    assert not built


def test_inference_list_is_narrower_than_the_training_list() -> None:
    assert inference_classes() < training_classes()
    check_targets({"_target_": "torch.optim.SGD"})
    with pytest.raises(TrustError):
        check_targets({"_target_": "torch.optim.SGD"}, inference_classes())


def test_inference_list_leaves_out_what_trains_or_judges_others() -> None:
    rooms = ("stylebench.inference.", "stylebench.nn.", "stylebench.optimization.")
    others = {name for name in training_classes() if name.startswith(rooms)} - inference_classes()
    assert {name for name in others if ".discriminators." not in name} == {"stylebench.nn.encoders.judge.JudgeEncoder"}
    assert "stylebench.nn.discriminators.patch.PatchDiscriminator" in others
    assert not [name for name in inference_classes() if ".discriminators." in name]


def test_checking_one_name_imports_no_other_listed_module() -> None:
    program = (
        "import sys\n"
        "from stylebench.trusted import TrustError, check_targets\n"
        "import stylebench.construct\n"
        "assert 'torch' not in sys.modules and 'yaml' not in sys.modules, 'importing trusted imports too much'\n"
        "try:\n    check_targets({'_target_': 'json.tool.main'})\n"
        "except TrustError:\n    pass\n"
        "else:\n    raise SystemExit('accepted')\n"
        "assert 'json.tool' not in sys.modules and 'torch' not in sys.modules\n"
        "check_targets({'_target_': 'torch.optim.Adam'})\n"
        "assert 'pytorch_lightning' not in sys.modules and 'stylebench.nn.generators.johnson' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
