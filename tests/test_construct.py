"""Objects from config nodes: Hydra's grammar without Hydra, and the node's path in every error."""

import functools
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from stylebench.checks import UsageError
from stylebench.cli.errors import is_expected
from stylebench.construct import construct, locate
from stylebench.functional.schedules import EpochDecay
from stylebench.nn.generators.johnson import JohnsonModern
from stylebench.own_packages import BrokenModuleError
from stylebench.trusted import training_classes

NETWORK = {"_target_": "stylebench.nn.generators.johnson.JohnsonModern", "width": 2}
TRANSLATOR = {"_target_": "stylebench.inference.translators.image_to_image.ImageToImage", "generator": NETWORK}
SCHEDULE = {"_target_": "stylebench.functional.schedules.EpochDecay", "batches": 8, "constant_epochs": 1}


def own(node: Any, path: str = "config", **options: Any) -> Any:
    return construct(node, path, listed=None, **options)


def seeded(build: Any, node: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    state: dict[str, torch.Tensor] = build(node).state_dict()
    return state


def test_networks_are_drawn_as_hydra_draws_them() -> None:
    node = {
        "_target_": "torch.nn.Sequential",
        "_args_": [TRANSLATOR, {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}],
    }
    mine, hydras = seeded(own, node), seeded(lambda node: instantiate(node, _convert_="all"), node)
    assert mine.keys() == hydras.keys()
    assert all(torch.equal(mine[name], hydras[name]) for name in mine)
    listed = seeded(lambda node: construct(node, listed=training_classes()), TRANSLATOR)
    again = seeded(own, TRANSLATOR)
    assert all(torch.equal(listed[name], again[name]) for name in again)


@pytest.mark.parametrize(
    "node",
    [
        {"plain": [1, {"b": None}], "c": (1, 2), 3: True},
        {"_target_": "collections.OrderedDict", "a": 1, "b": {"_target_": "fractions.Fraction", "_args_": [1, 3]}},
        {"_target_": "builtins.dict", "_recursive_": False, "a": {"_target_": "fractions.Fraction"}},
        [{"_target_": "datetime.timedelta", "days": 2}, {"_target_": "pathlib.PurePath", "_args_": ["a", "b"]}],
        {"_target_": "builtins.dict.fromkeys", "_args_": [["a", "b"], 3], "_convert_": "all"},
    ],
    ids=["plain", "nested", "not recursive", "list", "function"],
)
def test_the_grammar_is_hydras(node: Any) -> None:
    assert own(node) == instantiate(node, _convert_="all")


def test_a_partial_leaves_the_call_and_builds_its_arguments() -> None:
    node = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5, "extra": SCHEDULE | {"decay_epochs": 1}}
    made = own(node)
    assert isinstance(made, functools.partial)
    assert made.func is torch.optim.SGD
    assert made.keywords == {"lr": 0.5, "extra": EpochDecay(8, 1, 1)}


def test_extra_arguments_are_taken_as_they_are() -> None:
    extra = {"given": [{"_target_": "no.such.Thing"}], "a": 2}
    assert own({"_target_": "collections.OrderedDict", "a": 1}, extra=extra) == OrderedDict(a=2, given=extra["given"])
    partial = own({"_target_": "collections.OrderedDict", "_partial_": True}, extra=extra)
    assert partial() == OrderedDict(extra)


def test_what_is_built_shares_no_container_with_its_config() -> None:
    node = {"a": [1], "b": {"c": 2}}
    built = own(node)
    built["a"].append(3)
    built["b"]["d"] = 4
    assert node == {"a": [1], "b": {"c": 2}}


@pytest.mark.parametrize("listed", [False, True])
def test_an_error_names_the_innermost_node_once_and_keeps_its_type(listed: bool) -> None:
    node = {"model": {"schedules": [SCHEDULE | {"decay_epochs": "x"}]}}
    with pytest.raises(ValueError, match=r"^config\.model\.schedules\[0\]: .*decay_epochs .* 'x'$") as caught:
        construct(node, listed=training_classes() if listed else None)
    assert str(caught.value).count("config.") == 1


@pytest.mark.parametrize("kind", [ValueError, FileNotFoundError, UsageError, RuntimeError])
def test_errors_keep_their_type_and_place(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, **settings: Any) -> None:
        raise kind("width is wrong")

    monkeypatch.setattr(JohnsonModern, "__init__", fail)
    with pytest.raises(kind, match=r"^model\.generator: width is wrong$"):
        own(TRANSLATOR, "model")


def test_an_error_of_the_system_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        own({"_target_": "builtins.open", "file": str(tmp_path / "none")})
    assert caught.value.filename == str(tmp_path / "none")


@pytest.mark.parametrize(
    "node",
    [{**NETWORK, "colour": 3}, {"_target_": "datetime.timedelta", "days": "text"}, {"_target_": "torch.nn.Linear"}],
)
def test_arguments_that_are_not_taken_are_bad_settings(node: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^model: .* cannot be built from its settings: ") as caught:
        own(node, "model")
    assert node["_target_"] in str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError)


def test_an_error_in_a_copy_is_reported_where_the_key_is_set() -> None:
    wrong = {**NETWORK, "head": "crooked"}
    node = {"a": {"generator": dict(wrong)}}
    with pytest.raises(ValueError, match=r"^model.network: head .*'crooked'"):
        own(node, "model", owners={"encoder": NETWORK, "model.network": wrong})
    with pytest.raises(ValueError, match=r"^model\.a\.generator: head .*'crooked'"):
        own(node, "model", owners={"model.network": {**wrong, "width": 9}})


def test_dotted_paths_lead_to_classes_and_functions() -> None:
    assert locate("torch.optim.Adam") is torch.optim.Adam
    assert locate("torch.nn.Linear.forward") is nn.Linear.forward


@pytest.mark.parametrize(
    "target",
    ["no_such_package.Thing", "torch.no_such_module.Thing", "torch.optim.Adm", "torch.optim", "Adam", "", None, 3],
)
def test_a_path_that_leads_nowhere_is_named(target: Any) -> None:
    with pytest.raises(UsageError, match="model") as caught:
        locate(target, "model")
    assert repr(target) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import torch\nimport no_such_dependency\n", r"line 2: ModuleNotFoundError: .*no_such_dependency"),
        ("from torch import no_such_name\n", r"line 1: ImportError: .*no_such_name"),
        ("\nclass Thing:\ndef f(): ...\n", r"line 3: IndentationError: "),
        ("import torch\nx = undefined\n", r"line 2: NameError: .*undefined"),
        ("import torch\n\ntorch.zeros(-1)\n", r"line 3: RuntimeError: "),
    ],
)
def test_a_module_that_fails_names_file_line_and_error(
    text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needy_package").mkdir()
    (tmp_path / "needy_package" / "__init__.py").touch()
    (tmp_path / "needy_package" / "method.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in [name for name in sys.modules if name.partition(".")[0] == "needy_package"]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(BrokenModuleError, match=rf"needy_package/method\.py, {expected}") as caught:
        locate("needy_package.method.Thing")
    assert is_expected(caught.value)
    assert "\n" not in str(caught.value)
