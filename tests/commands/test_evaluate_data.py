"""Which data a run is evaluated on, and what they are called."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stylebench.checks import UsageError
from stylebench.commands.evaluate_data import data_label, with_data
from stylebench.inference.loading import TrainedModel

CONFIG = {
    "seed": 0,
    "dataset": {"domains": ["a", "b"], "content": None, "size_px": 32, "store": {"content": None, "cache": None}},
    "model": {"labels": {"domains": ["a", "b"]}},
}
RECORD = {"data": {"a": {"digest": "1" * 64}, "b": {"digest": "2" * 64}}}
MODEL = TrainedModel(Path("r"), {}, {}, "ema", {"record": RECORD}, CONFIG)


def opened(**digests: str) -> Any:
    data = {role: {"digest": digest} for role, digest in digests.items()}
    return SimpleNamespace(task=SimpleNamespace(describe=lambda: data))


SAME, OTHER = opened(a="1" * 64, b="2" * 64), opened(a="3" * 64, b="2" * 64)


def label(given: dict[str, Any], found: Any) -> str:
    return data_label(Path("r"), MODEL, with_data(CONFIG, given), found, given)


def test_equal_content_is_the_runs_own_wherever_it_lies() -> None:
    assert label({}, SAME) == ""
    assert label({"domains": ["new/a", "new/b"]}, SAME) == ""
    assert label({"store": {"cache": "elsewhere"}}, SAME) == ""


def test_other_content_and_other_sizes_get_a_name_of_their_own() -> None:
    names = [
        label({"domains": ["c", "b"]}, OTHER),
        label({"size_px": 64}, SAME),
        label({"domains": ["a", "b"]}, OTHER),
        label({"size_px": 64}, OTHER),
    ]
    assert re.fullmatch(r"domains=\['c', 'b'\]-[0-9a-f]{8}", names[0])
    assert re.fullmatch(r"size_px=64-[0-9a-f]{8}", names[1])
    assert len(set(names)) == 4
    with pytest.raises(ValueError, match=r"dataset\.a: digest 111111111111 -> 333333333333"):
        label({}, OTHER)


def test_what_followed_a_key_follows_it_and_unknown_keys_are_refused() -> None:
    config = {"dataset": {**CONFIG["dataset"], "content": "x", "store": {"content": "x", "cache": "x"}}}  # type: ignore[dict-item]
    changed = with_data(config, {"content": "y"})["dataset"]
    assert (changed["content"], changed["store"]) == ("y", {"content": "y", "cache": "x"})
    assert config["dataset"]["content"] == "x"
    with pytest.raises(UsageError, match=r"no key 'dataset\.contnet' \(did you mean 'content'\?\)"):
        with_data(config, {"contnet": "y"})
