"""The README's tables that are made from config files; `python tests/test_readme.py` rewrites them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
MODELS = sorted((ROOT / "conf" / "model").glob("*.yaml"))
FACTS = ("method", "paper", "status")


def facts(path: Path) -> dict[str, str]:
    """Read the facts of a method from the comments at the head of its config: `# paper: ...`."""
    head = re.match(r"(#[^\n]*\n)*", path.read_text())
    assert head is not None
    return dict(re.findall(rf"^# ({'|'.join(FACTS)}): (\S[^\n]*)$", head[0], flags=re.MULTILINE))


def methods_table() -> str:
    """Return the table of methods, in the order of their names."""
    lines = ["| method | paper | config | status |", "|---|---|---|---|"]
    for path in MODELS:
        method, paper, status = (facts(path)[name] for name in FACTS)
        lines.append(f"| {method} | {paper} | `model={path.stem}` | {status} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    """Return README's text with the table as it should be."""
    table = re.compile(r"^\| method \| paper \| config \| status \|\n(\|[^\n]*\n)+", re.MULTILINE)
    assert len(table.findall(text)) == 1
    return table.sub(lambda _: methods_table() + "\n", text)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_model_states_its_facts(path: Path) -> None:
    assert tuple(facts(path)) == FACTS


def test_the_table_of_methods_is_made_from_the_configs() -> None:
    text = README.read_text()
    assert with_table(text) == text, "run: python tests/test_readme.py"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
