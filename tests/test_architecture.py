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
ROOMS = [  # a row imports only from the rows above it
    [
        "binding",
        "checks",
        "construct",
        "download",
        "files",
        "locks",
        "machine",
        "own_packages",
        "renames",
        "run_folder",
        "shipped",
        "trusted",
    ],
    ["statistics"],
    ["functional"],
    ["nn"],
    ["data"],
    ["worlds"],
    ["optimization"],
    ["inference"],
    ["metrics"],
    ["grading"],
    ["adaptation"],
    ["methods"],
    ["training"],
    ["build"],
    ["benchmark"],
    ["commands"],
    ["cli"],
    ["skeletons"],  # of methods and of their tests, which compose configs as a command does
    ["__main__"],
]
GROUND_FLOOR = ROOMS[0]
NO_LIGHTNING = {*GROUND_FLOOR, "statistics", "functional", "nn", "worlds", "optimization", "inference"}
KNOW_HYDRA = {"commands", "cli", "__main__"}
PRINT = {"commands", "cli"}
HEAVY = ("torch", "pytorch_lightning", "torchvision", "torchmetrics")


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def room_of(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "stylebench" and len(parts) > 1 and parts[1] in FLOORS else None


FLOORS = {name: floor for floor, row in enumerate(ROOMS) for name in row}


def test_imports_point_down() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {imported}"
        for path in sources()
        if room(path) != "__init__"
        for imported in imports(path)
        if (target := room_of(imported)) is not None and FLOORS[target] > FLOORS[room(path)]
    ]
    assert not wrong


def test_every_module_has_a_room_and_every_room_one_place() -> None:
    assert {room(path) for path in sources()} - {"__init__"} <= set(FLOORS)
    assert len(FLOORS) == sum(map(len, ROOMS))


def test_the_wheel_lists_every_package() -> None:
    folders = {path.parent.relative_to(ROOT) for path in PACKAGE.rglob("*.py")}
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {".".join(folder.parts) for folder in folders} == set(listed) - {"stylebench.conf"}


def test_statistics_need_no_torch() -> None:
    wrong = [
        f"{path.name} imports {name}"
        for path in (PACKAGE / "statistics").rglob("*.py")
        for name in imports(path)
        if name.split(".")[0] in HEAVY or (room_of(name) or "statistics") not in ("statistics", *GROUND_FLOOR)
    ]
    assert not wrong


def test_the_ground_floor_is_imported_where_torch_is_missing() -> None:
    hide = "; ".join(f"sys.modules[{name!r}] = None" for name in HEAVY)
    modules = ", ".join(f"stylebench.{name}" for name in GROUND_FLOOR)
    subprocess.run([sys.executable, "-c", f"import sys; {hide}; import {modules}"], check=True)


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

    edges.pop("stylebench", None)  # its lazy attribute names stylebench.inference.loading
    for name in edges:
        edges[name].discard("stylebench")
    for name in edges:
        visit(name, ())


@pytest.mark.parametrize("library", ["hydra", "omegaconf"])
def test_only_the_top_knows(library: str) -> None:
    knowing = {room(path) for path in sources() if any(name.split(".")[0] == library for name in imports(path))}
    assert knowing <= KNOW_HYDRA


def test_plain_modules_do_not_import_lightning() -> None:
    plain = [path for path in sources() if room(path) in NO_LIGHTNING]
    plain += (PACKAGE / "commands" / "stylize").glob("*.py")
    assert not [path.name for path in plain if any(name.startswith("pytorch_lightning") for name in imports(path))]


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
                printing.add(room(path))
    assert printing <= PRINT


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, stylebench; print([m for m in ('torch', 'numpy', 'hydra', 'PIL') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_package_works_where_torch_is_missing() -> None:
    code = "import sys; sys.modules['torch'] = None; import stylebench; print(stylebench.__version__)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"\d+\.\d+\.\d+", shown.strip())


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
