"""A user's own package: found where the user says, and trusted by the user's own list alone."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stylebench.construct import construct
from stylebench.own_packages import (
    BrokenModuleError,
    how_to_trust,
    import_package,
    own_package,
    trust_file,
    trusted_packages,
)
from stylebench.trusted import TrustError, check_targets, inference_classes, resolve, training_classes

MODULE = """
import subprocess
from subprocess import Popen
from torch.optim import Adam
from stylebench.inference.translators.image_to_image import ImageToImage

class Net:
    def __init__(self, width: int = 1) -> None:
        self.width = width

class Impostor:
    __qualname__ = "Net"

def work(path: str) -> None:
    open(path, "w").close()

Alias = Net
instance = Net()
"""
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Return a function that writes a package of the user's into a folder; the current one is another."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))

    def write(parent: str = "work", name: str = "own_art", module: str = MODULE) -> Path:
        folder = tmp_path / parent / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "nets.py").write_text(module)
        (folder / "__main__.py").write_text(f"open({str(tmp_path / 'sentinel')!r}, 'w').close()\nclass Program: ...\n")
        return folder

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "own_art"]:
        del sys.modules[name]


def trust(*lines: object) -> None:
    trust_file().parent.mkdir(parents=True, exist_ok=True)
    trust_file().write_text("".join(f"{line}\n" for line in lines))


NODE = {"_target_": "own_art.nets.Net", "width": 3}


def test_an_own_class_is_refused_until_its_package_is_on_the_list(make: Make) -> None:
    folder = make()
    for listed in (training_classes(), inference_classes()):
        with pytest.raises(TrustError, match=r"config names 'own_art\.nets\.Net'"):
            construct(NODE, listed=listed)
    assert "own_art" not in sys.modules
    trust("# mine", "", folder)
    for listed in (training_classes(), inference_classes()):
        found = construct(NODE, listed=listed)
        assert (type(found).__name__, type(found).__module__, found.width) == ("Net", "own_art.nets", 3)


def test_the_refusal_says_how_and_that_command_does_it(make: Make, tmp_path: Path) -> None:
    make("here")
    with pytest.raises(TrustError) as refused:
        check_targets({"model": NODE})
    command = how_to_trust("own_art")
    assert command in str(refused.value)
    assert "own_art yourself" in str(refused.value)
    subprocess.run(command, shell=True, check=True)
    assert trusted_packages() == {"own_art": tmp_path / "here" / "own_art"}
    check_targets({"model": NODE})


@pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "torch.os.system", "stylebench.files.write_json"])
def test_no_refusal_offers_to_trust_what_nobody_wrote(make: Make, target: str) -> None:
    with pytest.raises(TrustError) as refused:
        check_targets({"_target_": target})
    assert str(trust_file()) not in str(refused.value)


def test_a_config_cannot_put_its_package_on_the_list(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make("here")
    hostile: dict[str, Any] = {
        "trusted_packages": [str(folder)], "settings": {"trusted_packages": [str(folder)]},
        "XDG_CONFIG_HOME": str(folder), "model": NODE,
    }  # fmt: skip
    with pytest.raises(TrustError, match="not on the list"):
        check_targets(hostile)
    (Path("stylebench")).mkdir()
    Path("stylebench/trusted_packages").write_text(f"{folder}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", ".")  # a relative one would read the list of the folder that one is in
    monkeypatch.setenv("HOME", str(folder.parent))
    with pytest.raises(TrustError, match="not on the list"):
        check_targets(hostile)
    assert "own_art" not in sys.modules


@pytest.mark.parametrize(
    "name",
    [
        "nets.Popen", "nets.subprocess", "nets.subprocess.Popen", "nets.Adam", "nets.ImageToImage", "nets.work",
        "nets.instance", "nets.Impostor", "nets.Missing", "nets.Net.__init__", "nets.__builtins__", "missing.Net",
        "__main__.Program", "nets",
    ],
)  # fmt: skip
def test_of_a_trusted_package_only_its_own_classes_may_be_named(make: Make, name: str, tmp_path: Path) -> None:
    trust(make())
    with pytest.raises(TrustError):
        check_targets({"_target_": f"own_art.{name}"})
    assert not (tmp_path / "sentinel").exists()


def test_nested_nodes_and_arguments_are_walked(make: Make, tmp_path: Path) -> None:
    trust(make())
    inner = {"_target_": "torch.os.system", "command": f"touch {tmp_path / 'sentinel'}"}
    for node in ({**NODE, "width": inner}, {**NODE, "_args_": [[inner]]}, {**NODE, "_partial_": True, "x": [inner]}):
        with pytest.raises(TrustError, match=r"torch\.os\.system"):
            construct(node, listed=training_classes())
    assert not (tmp_path / "sentinel").exists()


def test_an_alias_of_an_own_class_is_that_class(make: Make) -> None:
    trust(make())
    assert resolve("own_art.nets.Alias", training_classes()).__name__ == "Net"


def test_a_name_on_the_list_means_an_installed_package(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make("site")
    trust("own_art")
    with pytest.raises(TrustError, match="not on the list"):
        check_targets(NODE)
    monkeypatch.syspath_prepend(str(folder.parent))
    assert trusted_packages() == {"own_art": folder}
    check_targets(NODE)


def test_a_name_on_the_list_never_means_the_current_folder(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("here")
    trust("own_art")
    monkeypatch.syspath_prepend("")  # as `python -m` and notebooks have it
    with pytest.raises(TrustError, match="not on the list"):
        check_targets(NODE)
    assert "own_art" not in sys.modules


def test_the_listed_folder_counts_and_no_other_of_its_name(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = make("mine"), make("here", module=MODULE.replace("width: int", "theirs: int"))
    trust(mine)
    monkeypatch.syspath_prepend(str(theirs.parent))
    found = construct(NODE, listed=training_classes())
    assert Path(sys.modules[type(found).__module__].__file__ or "").parent == mine
    with pytest.raises(ImportError, match=r"own_art .* was imported before"):
        import_package("own_art", theirs)


def test_of_two_listed_folders_the_one_in_the_current_folder_counts(make: Make) -> None:
    first, here = make("work"), make("here")
    trust(first)
    assert trusted_packages() == {"own_art": first}
    trust(first, here)
    assert trusted_packages() == {"own_art": here}


@pytest.mark.parametrize("line", ["work/own_art", "./own_art", "..", "/", "own-art", "own_art.nets"])
def test_a_line_that_names_no_package_is_refused(make: Make, line: str) -> None:
    trust("# first", line)
    with pytest.raises(ValueError, match="trusted_packages, line 2"):
        trusted_packages()


def test_a_listed_folder_that_holds_no_package_is_named(make: Make, tmp_path: Path) -> None:
    trust(tmp_path / "gone" / "own_art")
    with pytest.raises(TrustError, match=r"gone/own_art holds no package"):
        check_targets(NODE)


def test_a_package_that_fails_to_import_is_not_half_there(make: Make) -> None:
    folder = make()
    (folder / "__init__.py").write_text("raise RuntimeError('mine')")
    with pytest.raises(BrokenModuleError, match="RuntimeError: mine"):
        import_package("own_art", folder)
    assert "own_art" not in sys.modules


def test_a_typed_package_is_looked_for_here_then_on_the_list_then_where_it_is_installed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = make("site")
    assert own_package("own_art") is None
    monkeypatch.syspath_prepend(str(installed.parent))
    assert own_package("own_art") == installed
    listed = make("work")
    trust(listed)
    assert own_package("own_art") == listed
    here = make("here")
    assert own_package("own_art") == here
    assert own_package("__main__") is None


def test_a_trusted_module_that_fails_is_named_with_the_line(make: Make) -> None:
    folder = make(module="import torch\nx = undefined\n")
    trust(folder)
    with pytest.raises(TrustError, match=rf"{folder}/nets\.py, line 2: NameError: .*undefined"):
        check_targets(NODE)
    (folder / "__init__.py").write_text("import no_such_dependency\n")
    del sys.modules["own_art"]
    with pytest.raises(TrustError, match=rf"{folder}/__init__\.py, line 1: ModuleNotFoundError: .*no_such_dependency"):
        check_targets(NODE)
