"""What is asked of a setting before it is used: each check names the parameter and the value that it was given."""

import difflib
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Size = int | tuple[int, int]  # side of a square, or height and width, in pixels
_QUOTES = ("'", '"')


class UsageError(ValueError):
    """A command line that cannot be understood; the message says what can."""


class UnknownControlError(ValueError):
    """A model was given a control that it does not declare.

    Attributes:
        name: of the control.
    """

    def __init__(self, name: str, told: str) -> None:
        super().__init__(told)
        self.name = name


def check_whole(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number that counts or measures something.

    Args:
        name: the parameter, for the message.
        value: what it was given.
        least: smallest number that will do.

    Raises:
        ValueError: if it is not a whole number of at least `least`; a switch is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return value


def check_optional_whole(name: str, value: Any, least: int = 1) -> int | None:
    """Return a whole number, or None where none was given; see `check_whole`.

    Raises:
        ValueError: if it is neither.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise ValueError(f"{name} must be a whole number of at least {least}, or null, got {value!r}")
    return value


def check_size(name: str, value: Any) -> Size:
    """Return the size of a picture: a side of a square in pixels, or (height, width).

    Args:
        name: the parameter, for the message.
        value: what it was given: a whole number, or two as [height, width].

    Raises:
        ValueError: if a side is not a whole number of at least 1.
    """
    given = list(value) if isinstance(value, list | tuple) else [value, value]
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side >= 1 for side in given)
    if not whole or len(given) != 2:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}; for two sides, [height,width]")
    height, width = given
    return height if height == width else (height, width)


def sides(size: Size) -> tuple[int, int]:
    """Return height and width of a size."""
    return (size, size) if isinstance(size, int) else size


def size_advice(size: Size, multiple: int) -> str:
    """Say what to set a size to where a number does not divide its sides; nothing where it does."""
    for side in sides(size):
        if side % multiple:
            return f"set {'it' if side == size else side} to {nearest_multiples(side, multiple)}"
    return ""


def size_text(size: Size) -> str:
    """Return a size as a config gives it: `64`, or `[64,32]` for a height and a width."""
    return str(size) if isinstance(size, int) else f"[{size[0]},{size[1]}]"


def check_number(name: str, value: Any, least: float = 0.0, most: float = math.inf) -> float:
    """Return a finite number within a range.

    Args:
        name: the parameter, for the message.
        value: what it was given.
        least: smallest number that will do.
        most: largest number that will do.

    Raises:
        ValueError: if it is not a finite number, or out of the range; a switch is not a number.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most or math.isinf(value):
        bounds = f"a finite number of at least {least:g}" if most == math.inf else f"a number in [{least:g}, {most:g}]"
        raise ValueError(f"{name} must be {bounds}, got {value!r}")
    return value  # type: ignore[no-any-return]


def check_choice(name: str, value: T, choices: Iterable[T]) -> T:
    """Return one of several values.

    Args:
        name: the parameter, for the message.
        value: what it was given.
        choices: what it may be; of a mapping, its keys.

    Raises:
        ValueError: naming the choices; True and False are not 1 and 0.
    """
    known = tuple(choices)
    if not any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in known):
        raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, got {value!r}")
    return value


def check_switch(name: str, value: Any) -> bool:
    """Return a value that is either on or off.

    Raises:
        ValueError: if it is neither true nor false.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value


def read_name(key: str, value: Any) -> str:
    """Return a value that names one thing: a path, or a domain of a data set.

    Quotes that a shell has left around it go; a whole number is the name of a folder such as `2020`.

    Args:
        key: the parameter, for the message.
        value: what it was given.

    Raises:
        UsageError: if it is empty, a list, or of another kind.
    """
    if isinstance(value, Path) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    if isinstance(value, list | tuple):
        example = f"{key}={value[0]}" if value and isinstance(value[0], str) else f"{key}=<path>"
        raise UsageError(f"{key} takes one path, got a list of {len(value)}: {list(value)!r}; write {example}")
    if not isinstance(value, str):
        text = str(value).lower() if isinstance(value, bool) else value
        raise UsageError(
            f"{key} takes a path, got {value!r}; a name that reads like this needs quotes: '{key}=\"{text}\"'"
        )
    name = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES else value
    if not name.strip():
        raise UsageError(f"{key} takes a path, got an empty text; write {key}=<path>, or leave it out")
    return name


def read_path(key: str, value: Any) -> str:
    """Return a value that names a file or folder, with `~` as the home folder; see `read_name`.

    Raises:
        UsageError: as `read_name`, or if there is no such home folder.
    """
    name = read_name(key, value)
    path = os.path.expanduser(name)
    if path.startswith("~") and not os.path.lexists(path):
        raise UsageError(f"{key}={name}: there is no home folder {name.partition('/')[0]}; write the path in full")
    return path


def read_paths(key: str, value: Any) -> list[str]:
    """Return a value that names one or several files or folders; nothing and an empty list name none.

    Raises:
        UsageError: as `read_path`, of one of them.
    """
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        return [read_path(key, value)]
    return [read_path(f"{key}[{place}]", one) for place, one in enumerate(value)]


def nearest_multiples(number: int, of: int) -> str:
    """Return the multiples of `of` around a number that is none, `12 or 16`; a number below the first gets that one."""
    below = number // of * of
    return f"{below} or {below + of}" if below else f"{of}"


def closest(word: str, words: Iterable[str]) -> str:
    """Return ` (did you mean '...'?)` for the word that resembles `word` most, or nothing."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
