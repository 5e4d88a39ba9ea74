"""The configuration: every option composes, names only what may be built, and explains its keys."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from stylebench.cli.config import compose
from stylebench.cli.help import KINDS
from stylebench.shipped import options as shipped_options
from stylebench.trusted import check_targets

CONF = Path(__file__).resolve().parents[1] / "conf"
PREFIXES = ("stylebench.", "torch.", "torchvision.", "torchmetrics.", "pytorch_lightning.")
GIVEN = ["dataset.content=photos", "dataset.style=painting.jpg"]


def options(group: str) -> list[tuple[str, str]]:
    return [(group, path.stem) for path in sorted((CONF / group).glob("*.yaml"))]


def every_option() -> list[tuple[str, str]]:
    return [option for group in KINDS.values() for option in options(group)]


def targets(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["_target_"]] if "_target_" in node else []
        return own + [target for value in node.values() for target in targets(value)]
    return [target for value in node for target in targets(value)] if isinstance(node, list) else []


@pytest.mark.parametrize(("group", "name"), every_option())
def test_every_option_composes_and_names_listed_targets(group: str, name: str) -> None:
    chosen_by = {
        "model/style_loss": "gatys", "model/minimizer": "gatys", "model/schedule": "cyclegan",
        "model/network": "classifier",
    }  # fmt: skip
    around = [f"model={chosen_by[group]}"] if group in chosen_by else []
    config = compose(
        "train", [*around, f"{group}={name}", *([] if (group, name) == ("dataset", "procedural") else GIVEN)]
    )
    found = targets(config)
    assert found
    assert all(target.startswith(PREFIXES) for target in found)
    check_targets(config)


@pytest.mark.parametrize(
    "command", ["train", "stylize", "classify", "calibrate", "export", "profile", "prepare", "new"]
)
def test_every_command_has_a_config_that_composes(command: str) -> None:
    given = {
        "stylize": ["run=x", "input=y"],
        "calibrate": ["run=x", "domain=y"],
        "classify": ["run=x", "input=y"],
        "export": ["run=x", "output=y"],
        "new": [],
    }.get(command, GIVEN)
    assert compose(command, given)


FILES = sorted(CONF.rglob("*.yaml"))
DEFINING = [path for path in FILES if path.relative_to(CONF).parts[0] != "experiment"]  # those set keys of the others


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_every_file_says_what_it_is(path: Path) -> None:
    assert path.read_text().removeprefix("# @package _global_\n").startswith("# ")


@pytest.mark.parametrize("path", DEFINING, ids=lambda path: str(path.relative_to(CONF)))
def test_every_key_is_explained(path: Path) -> None:
    text = path.read_text()
    lines = re.split(r"^hydra:", text, flags=re.MULTILINE)[0].splitlines()
    unexplained = [
        line
        for before, line in pairwise(lines)
        if re.match(r"\s*[a-z]\w*:\s+\S", line) and "#" not in line + before and "${" not in line
    ]
    assert not unexplained


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_every_file_is_plain_yaml(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.parametrize("name", sorted(shipped_options("experiment")))
def test_every_experiment_composes_and_sets_keys_that_there_are(name: str) -> None:
    text = shipped_options("experiment")[name]
    given = [] if "override /dataset: procedural" in text else GIVEN
    config = compose("train", [f"experiment={name}", *given])
    check_targets(config)
    choices = re.findall(r"^  - override /(\S+): (\S+)", text, flags=re.MULTILINE)
    plain = compose("train", [*given, *(f"{group}={option}" for group, option in choices)])
    assert not _unknown(config, plain)


def test_debug_makes_a_run_of_any_model_small() -> None:
    config = compose("train", [*GIVEN, "debug=tiny"])
    assert (config["budget"]["batches"], config["dataset"]["size_px"]) == (4, 32)
    assert not _unknown(config, compose("train", GIVEN))


def _unknown(config: dict[str, Any], plain: dict[str, Any]) -> list[str]:
    """Return the keys that only the first has, but for parts that it empties: null in place of a mapping."""
    known = _leaves(plain)
    return [key for key in _leaves(config) if not any(f"{leaf}.".startswith(f"{key}.") for leaf in known)]


def _leaves(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, dict) or not node:
        return [prefix]
    return [leaf for key, value in node.items() for leaf in _leaves(value, f"{prefix}.{key}" if prefix else key)]


def test_betas_reach_the_optimizer_as_a_plain_list() -> None:
    from torch import nn

    from stylebench.build import build

    config = compose("train", [*GIVEN, "+model.optimizers.generator.betas=[0.5,0.999]"])
    optimizer = build(config["model"]["optimizers"]["generator"])(nn.Linear(1, 1).parameters())
    assert type(optimizer.defaults["betas"]) in (list, tuple)  # a ListConfig would end up in checkpoints


FOLLOWED = "_target_: ${model.optimizers.generator._target_}"
FOLLOWING = [name for name, text in shipped_options("model").items() if FOLLOWED in text]


@pytest.mark.parametrize("model", FOLLOWING)
def test_the_discriminators_optimizer_follows_the_generators_until_it_is_set(model: str) -> None:
    given = ["dataset=procstyle", f"model={model}", "model.optimizers.generator.lr=3e-4"]
    assert compose("train", given)["model"]["optimizers"]["discriminator"]["lr"] == 3e-4
    other = compose("train", [*given, "model.optimizers.generator._target_=torch.optim.AdamW"])["model"]["optimizers"]
    assert other["discriminator"]["_target_"] == "torch.optim.AdamW"
    optimizers = compose("train", [*given, "model.optimizers.discriminator.lr=1e-4"])["model"]["optimizers"]
    assert (optimizers["generator"]["lr"], optimizers["discriminator"]["lr"]) == (3e-4, 1e-4)
