"""List the pictures of a folder: the one way for every command, with what was left out."""

import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stylebench.data.images import IMAGE_SUFFIXES

_NAMED, _EXAMPLES = 8, 3  # endings, and pictures, that a message names


@dataclass(frozen=True)
class Listing:
    """Pictures, and what lies beside them.

    Attributes:
        pictures: the files by their id, sorted: posix paths relative to the folder.
        left_out: how many other files there are, by their ending; `broken link` and `no regular file` are such, too.
            Hidden files are not counted: nobody means them.
    """

    pictures: Mapping[str, Path]
    left_out: Mapping[str, int]

    @property
    def words(self) -> str:
        """What was left out, `left out 8 files (.gif)`; empty if nothing was."""
        return left_out_words(self.left_out)


def left_out_words(left_out: Mapping[str, int]) -> str:
    """Return `left out 8 files (.gif)` for counts by ending; nothing for none."""
    count = sum(left_out.values())
    if not count:
        return ""
    named = sorted(left_out, key=lambda ending: (-left_out[ending], ending))
    more = ", ..." if len(named) > _NAMED else ""
    return f"left out {count} file{'s' if count > 1 else ''} ({', '.join(named[:_NAMED])}{more})"


def note_lines(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Return notes on pictures as lines for a log, each with the names of the first pictures that it is about."""
    return [
        f"{len(names)} picture{'s' if len(names) > 1 else ''} ({', '.join(names[:_EXAMPLES])}"
        f"{', ...' if len(names) > _EXAMPLES else ''}): {note}"
        for note, names in notes.items()
    ]


def list_pictures(folder: Path, leave_out: Path | None = None) -> Listing:
    """List the pictures below a folder, with all its sub-folders.

    A picture is a regular file, or a link to one, whose name has one of the endings `IMAGE_SUFFIXES`, in any case.
    Hidden files and folders (`._000.jpg`, `.ipynb_checkpoints`) are passed over. Links to folders are followed, each
    folder is read once, and its own place goes before a link to it.

    Args:
        folder: where to look.
        leave_out: a folder below it that is passed over, resolved: outputs may lie among inputs.

    Returns:
        The pictures, and what was left out.
    """
    return sort_out({file.relative_to(folder).as_posix(): file for file in _walk(folder, leave_out)})


def sort_out(files: Mapping[str, Path]) -> Listing:
    """Tell the pictures among some files from the others, by their names and kinds."""
    left_out = {id_: _reason(file) for id_, file in files.items()}
    return Listing(
        {id_: files[id_] for id_ in sorted(files) if not left_out[id_]},
        dict(sorted(Counter(reason for reason in left_out.values() if reason).items())),
    )


def _reason(file: Path) -> str:
    """Return why a file is no picture; nothing if it is one."""
    if file.suffix.lower() not in IMAGE_SUFFIXES:
        return file.suffix.lower() or "no ending"
    if file.is_file():
        return ""
    return "no regular file" if file.exists() else "broken link"


def _walk(folder: Path, leave_out: Path | None) -> Iterator[Path]:
    """Yield what lies below a folder and is no folder, without hidden ones; links come behind what is in its place."""
    seen: set[tuple[int, int]] = set()
    waiting = deque([folder])
    while waiting:
        current = waiting.popleft()
        status = current.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(current) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = Path(entry.path)
                if entry.name.startswith("."):
                    continue
                if not entry.is_dir():
                    yield path
                elif leave_out is None or path.resolve() != leave_out:
                    (waiting.append if entry.is_symlink() else waiting.appendleft)(path)
