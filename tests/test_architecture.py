"""The shape of the code base: imports point down, Hydra stays at the top, files stay readable."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "stylebench"
LONGEST_FILE = 400
LAYERS = {   # a layer may import those with a smaller number, and its own
    "benchmark": 0, "checks": 0, "files": 0, "locks": 0, "machine": 0, "shipped": 0, "help": 1, "messages": 1,
    "functional": 1, "nn": 2,
    "run_folder": 1, "trusted": 1, "construct": 2, "renames": 2, "arguments": 3, "data": 3,
    "guides": 4, "loading": 4, "metrics": 4, "watching": 4,
    "export": 5, "stylize": 5, "methods": 5, "loggers": 6, "callbacks": 7, "prepare": 8,
    "report": 8, "resume": 8, "profile": 8, "build": 9, "evaluate": 10, "run": 10, "cli": 11, "__main__": 12,
}  # fmt: skip
HYDRA_FILES = {"run.py", "cli.py", "__main__.py"}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "stylebench" and len(parts) > 1 and parts[1] in LAYERS else None


def test_imports_point_down() -> None:
    wrong = []
    for path in sources():
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if name == "__init__":
            continue
        for imported in imports(path):
            target = layer(imported)
            if target is not None and target != name and LAYERS[target] >= LAYERS[name]:
                wrong.append(f"{path.relative_to(ROOT)} imports {imported}")
    assert not wrong


def test_the_wheel_lists_every_package() -> None:
    folders = {path.parent.relative_to(ROOT) for path in PACKAGE.rglob("*.py")}
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {".".join(folder.parts) for folder in folders} == set(listed) - {"stylebench.conf"}


def test_statistics_need_no_torch() -> None:
    hidden = ("torch", "pytorch_lightning", "torchvision", "torchmetrics")
    wrong = [
        f"{path.name} imports {name}"
        for path in (PACKAGE / "benchmark").rglob("*.py")
        for name in imports(path)
        if name.split(".")[0] in hidden or (layer(name) or "benchmark") not in ("benchmark", "files")
    ]
    assert not wrong


def test_every_module_has_a_layer() -> None:
    names = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in sources()} - {"__init__"}
    assert names <= set(LAYERS)


def test_no_import_cycles() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in sources()
    }
    edges = {name: {i for i in imports(path) if i in modules and i != name} for name, path in modules.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"cycle: {' -> '.join((*trail, name))}"
        if name not in done:
            for target in edges[name]:
                visit(target, (*trail, name))
            done.add(name)

    edges.pop("stylebench", None)  # its lazy attribute names stylebench.loading
    for name in edges:
        edges[name].discard("stylebench")
    for name in edges:
        visit(name, ())


@pytest.mark.parametrize("library", ["hydra", "omegaconf"])
def test_only_the_top_knows(library: str) -> None:
    knowing = {path.name for path in sources() if any(name.split(".")[0] == library for name in imports(path))}
    assert knowing <= HYDRA_FILES


def test_plain_modules_do_not_import_lightning() -> None:
    plain = [
        PACKAGE / f"{name}.py"
        for name in ("files", "locks", "run_folder", "trusted", "construct", "renames", "loading", "export", "stylize")
    ]
    plain += [*(PACKAGE / "nn").rglob("*.py"), *(PACKAGE / "functional").glob("*.py")]
    assert not [path.name for path in plain if any(name.startswith("pytorch_lightning") for name in imports(path))]


def told(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module, without its docstrings."""
    tree = ast.parse(path.read_text())
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef)
    bodies = [node.body[0] for node in ast.walk(tree) if isinstance(node, holders)]
    docstrings = {id(first.value) for first in bodies if isinstance(first, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_ground_floors_name_no_config_keys() -> None:
    """A constructor names its own parameter; who builds it adds the place in the config."""
    groups = "model|dataset|encoder|metrics|trainer|logger|budget|checkpoint|ema|adaptation"
    key = re.compile(rf"\b({groups})[./=][a-z_]")
    paths = [path for room in ("functional", "nn") for path in (PACKAGE / room).rglob("*.py")]
    assert not [f"{path.relative_to(ROOT)}:{line}" for path in paths for line, text in told(path) if key.search(text)]


def test_nothing_imports_the_other_lightning() -> None:
    assert not [path.name for path in sources() if any(name.split(".")[0] == "lightning" for name in imports(path))]


def test_files_stay_readable() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FILE}


def test_one_module_reads_pickled_files() -> None:
    readers = {path.name for path in sources() if re.search(r"torch\.load\(|weights_only=False", path.read_text())}
    assert readers == {"files.py"}


def test_print_is_for_the_command_line() -> None:
    printing = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                printing.add(path.name)
    assert printing <= {"cli.py"}


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, stylebench; print([m for m in ('torch', 'numpy', 'hydra', 'PIL') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_package_works_where_torch_is_missing() -> None:
    code = "import sys; sys.modules['torch'] = None; import stylebench; print(stylebench.__version__)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"\d+\.\d+\.\d+", shown.strip())
