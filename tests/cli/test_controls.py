"""Every control of every model goes through the command line: none is taken for a mistyped key."""

import re
from pathlib import Path

import pytest

from stylebench.build import build_translator
from stylebench.cli.arguments import controls_apart, given_controls, keys_suggested
from stylebench.cli.config import compose
from stylebench.inference.base import Control
from stylebench.inference.loading import load
from stylebench.shipped import options

RUNS = Path(__file__).parents[1] / "frozen" / "runs"
TRAINED = sorted(path.name for path in RUNS.iterdir() if (path / "run").is_dir())
UNTRAINED = ("gatys", "texture_synthesis")


@pytest.mark.parametrize("model", sorted(options("model")))
def test_every_control_of_a_model_reaches_it(model: str) -> None:
    if model not in (*TRAINED, *UNTRAINED):
        pytest.skip("it has no kept run, and no control")
    if model in UNTRAINED:
        translator = build_translator(compose("stylize", [f"model={model}"]), "cpu")
    else:
        translator = load(RUNS / model / "run")  # type: ignore[assignment]
    for control in translator.controls:
        value = control.high if isinstance(control, Control) else control.options[-1]
        typed = f"{control.name}={value:g}" if isinstance(value, float) else f"{control.name}={value}"
        arguments = controls_apart(["input=a.png", "style=b.png", re.sub(r"e[+]0*", "e", typed)])
        given = given_controls(compose("stylize", arguments), arguments, [each.name for each in translator.controls])
        with keys_suggested("stylize"):
            assert translator.check_controls(**given)[control.name] == control.check(value)
