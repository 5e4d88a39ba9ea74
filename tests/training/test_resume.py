"""Which checkpoint a run continues from, and when it refuses."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from stylebench.binding import binding_part, changed_content, differences
from stylebench.run_folder import RunFolder
from stylebench.training.resume import check_content, find_start, fingerprint, spans_its_length

CONFIG = {
    "seed": 0, "run": "a", "resume": "auto", "budget": {"batches": 10, "evaluate_every": 5},
    "model": {"weight_style": 1.0}, "ema": {"decay": 0.9},
    "trainer": {"precision": "32-true", "devices": 1},
}  # fmt: skip


def changed(**entries: Any) -> dict[str, Any]:
    config = {key: dict(value) if isinstance(value, dict) else value for key, value in CONFIG.items()}
    for dotted, value in entries.items():
        node, (*path, last) = config, dotted.split("__")
        for part in path:
            node = node[part]  # type: ignore[assignment]
        node[last] = value  # type: ignore[index]
    return config


def write_run(folder: Path, batches: list[int], config: dict[str, Any] = CONFIG) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "record.json").write_text('{"batches": 1}')
    for done in batches:
        entry = {"format": 1, "version": "0", "batches": done, "config": config, "ema": None, "record": {}}
        torch.save({"stylebench": entry, "state_dict": {}}, folder / "checkpoints" / f"batch-{done:09d}.ckpt")


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def test_fingerprint_ignores_length_place_and_devices() -> None:
    free = changed(run="b", resume="must", budget__batches=99, budget__evaluate_every=2, trainer__devices=4)
    assert fingerprint(free) == fingerprint(CONFIG)


@pytest.mark.parametrize(
    "binding",
    [{"seed": 1}, {"model__weight_style": 2.0}, {"ema": None}, {"trainer__precision": "bf16-mixed"}],
)
def test_fingerprint_sees_what_decides_the_weights(binding: dict[str, Any]) -> None:
    assert fingerprint(changed(**binding)) != fingerprint(CONFIG)


def test_differences_name_key_and_values() -> None:
    assert differences(CONFIG, changed(model__weight_style=2.0)) == {"model.weight_style": "1.0 -> 2.0"}


def test_find_start_takes_the_newest_checkpoint(tmp_path: Path) -> None:
    write_run(tmp_path, [5, 10])
    start = find_start(tmp_path, "auto", CONFIG)
    assert start.batches == 10
    assert start.record == {"batches": 1}


def test_find_start_falls_back_over_a_damaged_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_run(tmp_path, [5, 10])
    damage(tmp_path / "checkpoints" / "batch-000000010.ckpt")
    with caplog.at_level(logging.WARNING):
        assert find_start(tmp_path, "auto", CONFIG).batches == 5
    assert "batch-000000010.ckpt" in caplog.text


def test_find_start_begins_in_an_empty_folder(tmp_path: Path) -> None:
    assert find_start(tmp_path, "auto", CONFIG).checkpoint is None


def test_what_follows_the_place_of_a_domain_or_of_weights_binds_nothing() -> None:
    def config(place: str, weights: str, direction: str = "a_to_b") -> dict[str, Any]:
        encoder = {"weights": weights, "pooling": "max"}
        return {
            "dataset": {"domains": [place, "b"], "direction": direction, "root": place, "store": {"cache": place}},
            "encoder": encoder,
            "model": {"labels": {"domains": [place, "b"]}, "encoder": encoder},
        }

    assert binding_part(config("a", "w.pth")) == {"dataset.direction": "a_to_b", "model.encoder.pooling": "max"}
    assert differences(config("a", "w.pth"), config("elsewhere/a", "v.pth")) == {}
    other = config("a", "w.pth", direction="b_to_a")
    other["model"]["labels"]["domains"] = ["other"]  # follows no key
    assert list(differences(config("a", "w.pth"), other)) == ["dataset.direction", "model.labels.domains"]


def test_content_is_compared_by_digest_order_and_presence() -> None:
    def facts(encoder: str = "e" * 64, **digests: str) -> dict[str, Any]:
        data = {role: {"path": "anywhere", "digest": digest} for role, digest in digests.items()}
        return {"data": data, "encoder": {"digest": encoder}}

    before = facts(a="1" * 64, b="2" * 64)
    assert changed_content(before, facts(a="1" * 64, b="2" * 64)) == {}
    assert changed_content(before, facts(a="3" * 64, b="2" * 64)) == {
        "dataset.a": "digest 111111111111 -> 333333333333"
    }
    assert changed_content(before, facts("f" * 64, a="1" * 64, b="2" * 64)).keys() == {"encoder.weights"}
    assert changed_content(before, facts(b="2" * 64, a="1" * 64)).keys() == {"dataset"}
    assert changed_content(before, facts(a="1" * 64)) == {"dataset.b": "digest 222222222222 -> (none)"}


def test_find_start_refuses_another_run_and_moves_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, [5])
    with pytest.raises(ValueError, match=r"seed: 0 -> 1.*another folder by run=.*resume=restart"):
        find_start(tmp_path, "auto", changed(seed=1))
    start = find_start(tmp_path, "restart", changed(seed=1))
    assert (start.checkpoint, start.sets_aside) == (None, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "record.json"]
    assert not find_start(tmp_path / "new", "restart", CONFIG).sets_aside


def test_other_content_is_refused_with_its_key(tmp_path: Path) -> None:
    write_run(tmp_path, [5])
    start = find_start(tmp_path, "auto", CONFIG)
    check_content(tmp_path, start, {"data": {}})
    with pytest.raises(ValueError, match=r"dataset\.a: digest \(none\) -> 111111111111.*resume=restart"):
        check_content(tmp_path, start, {"data": {"a": {"digest": "1" * 64}}})


def test_a_run_that_was_set_aside_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, [5])
    assert RunFolder(tmp_path).set_aside() == tmp_path / "earlier-1"
    assert (tmp_path / "earlier-1" / "checkpoints" / "batch-000000005.ckpt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["earlier-1"]
    with pytest.raises(ValueError, match=r"holds no checkpoint; the run that was here lies in .*/earlier-1"):
        find_start(tmp_path, "must", CONFIG)


def test_must_names_what_differs(tmp_path: Path) -> None:
    write_run(tmp_path, [5])
    with pytest.raises(ValueError, match=r"bound to other values \(seed: 0 -> 1\)"):
        find_start(tmp_path, "must", changed(seed=1))


def test_of_another_method_nothing_else_is_said(tmp_path: Path) -> None:
    first, second = ({"_target_": f"methods.{name}", f"weight_{name}": 1.0} for name in ("one", "other"))
    write_run(tmp_path, [5], {**CONFIG, "model": first})
    with pytest.raises(ValueError, match=r"values \(model\._target_: methods\.one -> methods\.other\)\. To continue"):
        find_start(tmp_path, "must", {**CONFIG, "model": second})


@pytest.mark.parametrize("mode", ["auto", "must"])
@pytest.mark.parametrize("part", ["model__schedule", "adaptation"])
def test_another_length_is_refused_where_something_changes_over_it(tmp_path: Path, mode: str, part: str) -> None:
    falling = changed(**{part: {"batches": 10}})
    assert spans_its_length(falling)
    assert not spans_its_length(changed())
    write_run(tmp_path, [5], falling)
    assert find_start(tmp_path, mode, falling).batches == 5
    longer = changed(**{part: {"batches": 20}}, budget__batches=20)
    name = part.replace("__", ".")
    with pytest.raises(ValueError, match=rf"{name}\.batches: 10 -> 20\).*over its length"):
        find_start(tmp_path, mode, longer)
    own = changed(**{part: {"batches": 10}}, budget__batches=20)  # a number that the length has nothing to do with
    assert not spans_its_length(own)
    assert find_start(tmp_path, mode, own).batches == 5
    assert (tmp_path / "record.json").exists()  # and nothing was moved


def test_must_fails_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"resume=must.*no checkpoint.*run="):
        find_start(tmp_path, "must", CONFIG)


def test_must_fails_when_all_are_damaged(tmp_path: Path) -> None:
    write_run(tmp_path, [5])
    damage(tmp_path / "checkpoints" / "batch-000000005.ckpt")
    with pytest.raises(ValueError, match=r"none of the 1 checkpoints .* is intact"):
        find_start(tmp_path, "must", CONFIG)


def test_never_refuses_a_folder_that_holds_a_run(tmp_path: Path) -> None:
    write_run(tmp_path, [5])
    with pytest.raises(ValueError, match=r"already holds a run.*resume=auto.*run="):
        find_start(tmp_path, "never", CONFIG)


def test_an_unknown_mode_lists_the_modes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"never, auto, must, restart.*'yes'"):
        find_start(tmp_path, "yes", CONFIG)
