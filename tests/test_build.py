"""What the builder makes of a `model` node."""

import pytest

from stylebench.build import method_node
from stylebench.cli.config import compose
from stylebench.shipped import options


@pytest.mark.parametrize("model", [name for name, text in options("model").items() if " discriminator:" in text])
def test_what_is_used_after_training_is_built_before_the_critics(model: str) -> None:
    node = method_node(compose("train", [f"model={model}", "dataset=procstyle"])["model"])
    assert list(node)[:2] == ["_target_", "inference"]
    assert "generator" not in node  # its inference follows it
