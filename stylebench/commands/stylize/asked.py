"""What a command line asks of a model: its controls, the pictures that steer it, and what varies."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from stylebench.checks import read_paths
from stylebench.commands.stylize.guides import GuidePictures, read_guides, with_others
from stylebench.commands.stylize.variations import Variations, read_variations
from stylebench.inference.translators.base import Translator

_log = logging.getLogger(__name__)


class Asked(NamedTuple):
    """What is asked of a model, checked and read.

    Attributes:
        controls: a value for each; the first one of what varies.
        guides: pictures.
        variations: what varies.
    """

    controls: dict[str, Any]
    guides: GuidePictures
    variations: Variations


def read_asked(translator: Translator, config: Mapping[str, Any], given: Mapping[str, Any]) -> Asked:
    """Read what is asked of a model.

    Args:
        translator: the model.
        config: of `stylize`.
        given: what was typed for controls, and for pictures that no key of the command is for.

    Raises:
        FileNotFoundError: if a picture is missing.
        UnknownControlError: if the model knows nothing of a name.
        TypeError, ValueError: if a value is wrong, a picture needs a control that is not given, or there is nothing to
            work on for an option.
    """
    others = [picture for picture in translator.inputs if picture.name not in ("content", *config)]
    words = {word for picture in others for word in picture.keywords}
    steering = {word: value for word, value in given.items() if word in words}
    controls = {name: value for name, value in given.items() if name not in words}
    weights = config["style_weights"]
    listed = weights if weights is None or isinstance(weights, list) else [weights]
    variations = read_variations(
        translator,
        {**given, "style_weights": listed},
        **{key: config[key] for key in ("interpolate", "columns", "frame_ms")},
    )
    first = variations.requests[0]
    chosen = translator.check_controls(**{**controls, **{name: first[name] for name in controls if name in first}})
    for note in translator.check_pictures(steering, controls):
        _log.warning("%s", note)
    guides = read_guides(
        translator,
        read_paths("style", config["style"]),
        first.get("style_weights", listed),
        read_paths("masks", config["masks"]),
        config["max_pixels"],
        encode=not variations.values,  # a control may change what is made of a style
        **chosen,
    )
    return Asked(chosen, with_others(guides, others, steering, config["max_pixels"]), variations)
