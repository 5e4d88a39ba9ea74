"""The comparison with the frozen commit: that it sees a difference, and that there is none."""

import hashlib
import subprocess
from pathlib import Path

import pytest
import torch

from stylebench.shipped import options
from tests.frozen import cases, compare, findings, renamed, trees


def test_a_changed_bit_a_lost_name_and_a_new_one_are_differences() -> None:
    old = {"same": torch.ones(2), "bit": torch.zeros(2), "lost": 1, "cell": ["0.1"], "nan": float("nan")}
    new = {"same": torch.ones(2), "bit": torch.tensor([0.0, -0.0]), "new": 1, "cell": ["0.2"], "nan": float("nan")}
    assert findings.differences(old, old) == []
    assert findings.differences(old, new) == [
        "lost: only 77a0089 has it",
        "new: only the current code has it",
        "bit: differs by up to 0",
        "cell: ['0.1'] -> ['0.2']",
    ]


@pytest.mark.parametrize("other", [torch.ones(2, dtype=torch.float64), torch.ones(2, 1), [1.0, 1.0], None])
def test_another_type_or_shape_is_a_difference(other: object) -> None:
    assert not findings.same(torch.ones(2), other)


def test_whole_numbers_are_no_fractions() -> None:
    assert not findings.same(1, 1.0)
    assert not findings.same(1, True)


def test_nested_values_get_dotted_names() -> None:
    assert dict(findings.flatten({"a": {"b": [1, 2]}, "c": {}, 3: ()})) == {"a.b.0": 1, "a.b.1": 2, "c": {}, "3": ()}


def test_names_are_translated_by_their_longest_known_part(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"*": {"model.network": "model.generator", "model": "m"}, "adain": {"model.network.width": "model.w"}}
    monkeypatch.setattr(renamed, "KEYS", table)
    words = ["train", "model.network.width=4", "model.network=x", "model=adain", "model/network=y", "run=model"]
    now = ["train", "model.generator.width=4", "model.generator=x", "m=adain", "model/network=y", "run=model"]
    assert renamed.translate_command(words, "gatys") == now
    assert renamed.translate_command(words[:2], "adain") == ["train", "model.w=4"]
    assert renamed.translate("val/loss/style", {"*": {"val/loss": "val/term"}}, "adain", "/") == "val/term/style"


def test_tables_concern_methods_that_there_are() -> None:
    for table in (renamed.KEYS, renamed.CHECKPOINT, renamed.COLUMNS, renamed.VALUES):
        assert set(table) <= {"*", *cases.CASES}


def test_pictures_have_the_same_bytes_everywhere(tmp_path: Path) -> None:
    cases.draw_data(tmp_path)
    files = sorted(tmp_path.rglob("*.bmp"))
    assert len(files) == len(cases.ROLES) * sum(cases.SPLITS.values())
    assert len({path.read_bytes() for path in files}) == len(files)
    pixels = findings.read_picture(tmp_path / "content" / "train" / "00.bmp")
    assert pixels.shape == (cases.HEIGHT_PX, cases.WIDTH_PX, 3)
    # At 0, 0 lies the third disc of content 0: seed 2085, center at row 5, column 3, so at a squared distance of 34;
    # red is 2085 * 3 % 256 * (256 - 34) // 256 = 96.
    assert pixels[0, 0].tolist() == [96, 160, 130]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    assert digest == "0164fa4012a13d620df656f96ecf2022fff6eb631ca273597b973bfe1ddd4ddc"


def test_a_history_without_the_commit_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(trees, "ROOT", tmp_path)
    with pytest.raises(RuntimeError, match=r"expected commit 77a0089 .*--unshallow"):
        trees.frozen_tree(tmp_path / "tree")


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        compare.make_old(tmp_path, ["adain"])
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.timeout(1800)  # three minutes of one processor
def test_all_methods_compute_what_the_frozen_commit_computed(tmp_path: Path) -> None:
    methods = [method for method in cases.CASES if method in options("model")]
    old = compare.make_old(tmp_path / "old", methods)
    (tmp_path / "new").mkdir()
    assert compare.compare(tmp_path / "new", old, methods) == {method: [] for method in methods}
