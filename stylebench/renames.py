"""Names of earlier versions: the classes that have moved, and the one place that translates a recorded config.

Run folders, checkpoints and exports name a class by the module it stood in when the file was written. Whoever reads
such a file translates its config first, before anything in it is looked up, compared or built.
"""

from collections.abc import Mapping
from typing import Any

from stylebench.trusted import DEPTH_LIMIT

# Earlier dotted path -> present one. A path that a file may hold is never taken out again.
MOVED_CLASSES: dict[str, str] = {
    "stylebench.metrics.extractors.EncoderFeatures": "stylebench.metrics.extractors.encoder_features.EncoderFeatures",
    "stylebench.metrics.extractors.Inception": "stylebench.metrics.extractors.inception.Inception",
    "stylebench.metrics.extractors.RandomMultiScale": "stylebench.metrics.extractors.random_network.RandomMultiScale",
    "stylebench.nn.encoders.CompactEncoder": "stylebench.nn.encoders.compact.CompactEncoder",
    "stylebench.nn.encoders.JudgeEncoder": "stylebench.nn.encoders.judge.JudgeEncoder",
    "stylebench.nn.encoders.SqueezeNetEncoder": "stylebench.nn.encoders.squeezenet.SqueezeNetEncoder",
    "stylebench.nn.encoders.VGGEncoder": "stylebench.nn.encoders.vgg.VGGEncoder",
}


def updated_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's recorded config as this version would have written it; it is no more trusted than before."""
    current: dict[str, Any] = updated(config)
    groups = _nested(current, "model", "translator", "labels", "groups")
    dataset = current.get("dataset")
    if isinstance(groups, Mapping) and isinstance(dataset, Mapping) and "groups" not in dataset:
        current["dataset"] = {**dataset, "groups": groups}  # earlier, evaluation took them from the model
    return current


def updated(node: Any, depth: int = 0) -> Any:
    """Return a recorded config with the present paths of the classes that it names.

    Args:
        node: nested mappings, sequences and plain values, as read from a file; it is left as it is.
        depth: of this node in the config.

    Returns:
        The config, unchanged but for `_target_`s of moved classes. It is no more trusted than before; what is nested
        deeper than a config may be stays as it is.
    """
    if depth > DEPTH_LIMIT:
        return node
    if isinstance(node, Mapping):
        return {
            key: _present_path(value) if key == "_target_" else updated(value, depth + 1) for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [updated(value, depth + 1) for value in node]
    return node


def _present_path(target: Any) -> Any:
    return MOVED_CLASSES.get(target, target) if isinstance(target, str) else target


def _nested(node: Any, *keys: str) -> Any:
    """Return the value at the end of a path of keys, None where there is none."""
    for key in keys:
        if not isinstance(node, Mapping):
            return None
        node = node.get(key)
    return node
