"""Make roles out of what a data set's files hold, with links and lists instead of copies."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from stylebench.checks import closest
from stylebench.files import atomic_write

PARTITIONS = ("train", "val", "test")  # by the number in CelebA's list
_LISTED = 3  # names in a message


class Links:
    """Gather files and folders under other names, by symbolic links.

    A source without a pattern is a folder, linked as a whole. One with `*` names files, which are linked one by one
    into a folder without sub-folders. What lies at a place already and is no link stays as it is.

    Args:
        links: new paths and the paths or patterns they lead to, all below the root. Of several sources the first that
            exists is taken: releases of the same data differ.
        strip: endings that are taken off the names of linked files, before the suffix.

    Raises:
        ValueError: if a path leaves the root.
    """

    def __init__(self, *, links: Mapping[str, Sequence[str]], strip: Sequence[str]) -> None:
        for path in (*links, *(source for sources in links.values() for source in sources)):
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise ValueError(f"links must be relative and without '..', got {path!r}; correct the configuration")
        self.links = {target: list(sources) for target, sources in links.items()}
        self.strip = list(strip)

    def arrange(self, root: Path) -> None:
        """Make the links.

        Args:
            root: the folder of the data set.

        Raises:
            FileNotFoundError: if nothing matches a source.
            ValueError: if two files would get the same name.
            OSError: if the file system knows no links.
        """
        for target, sources in self.links.items():
            found = {source: paths for source in sources if (paths := sorted(root.glob(source)))}
            if not found:
                raise FileNotFoundError(
                    f"expected {' or '.join(sources)} below {root}, found nothing of that name; get the data again"
                )
            source, paths = next(iter(found.items()))
            if re.search(r"[*?[]", source):
                self._link_files(root / target, paths)
            else:
                _link(root / target, paths[0])

    def _link_files(self, folder: Path, files: Sequence[Path]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        names: dict[str, Path] = {}
        for file in files:
            stem = file.stem
            for ending in self.strip:
                stem = stem.removesuffix(ending)
            other = names.setdefault(stem + file.suffix, file)
            if other != file:
                raise ValueError(f"{other} and {file} would both be called {stem}{file.suffix}; remove one of them")
        for name, file in names.items():
            _link(folder / name, file)


class AttributeLists:
    """Write lists of the images with certain attributes, in the three published splits.

    A list holds paths such as `train/000001.jpg`, where `train`, `val` and `test` beside it are links to the one
    folder of images: so the lists know the splits although the folder does not.

    Args:
        table: text file whose first line is a count, whose second names the attributes, and whose further lines hold
            an image and 1 or -1 for each attribute.
        partition: text file of lines that hold an image and 0 (train), 1 (val) or 2 (test).
        images: folder of the images.
        folder: where the lists go.
        lists: name of each list, with the attributes that its images must have (true) or not have (false).
    """

    def __init__(
        self, *, table: str, partition: str, images: str, folder: str, lists: Mapping[str, Mapping[str, bool]]
    ) -> None:
        self.table, self.partition, self.images, self.folder = table, partition, images, folder
        self.lists = {name: dict(wanted) for name, wanted in lists.items()}

    def arrange(self, root: Path) -> None:
        """Write the lists that are missing or have changed, and the links beside them.

        Args:
            root: the folder of the data set.

        Raises:
            FileNotFoundError: if images that the table names are missing.
            ValueError: if a table cannot be read, an attribute is unknown, or no image has what a list asks for.
        """
        splits = dict(_rows(root / self.partition, skip=0, width=2))
        attributes, *rows = _rows(root / self.table, skip=1)
        columns = self._columns(root, attributes)
        self._check(root, [row[0] for row in rows], splits)
        folder = root / self.folder
        for split in PARTITIONS:
            _link(folder / split, root / self.images)
        for name, wanted in columns.items():
            chosen = [row[0] for row in rows if all(row[column] == value for column, value in wanted)]
            if not chosen:
                raise ValueError(f"no image in {root / self.table} fits the list {name}, {self.lists[name]}; change it")
            text = "".join(f"{PARTITIONS[int(splits[image])]}/{image}\n" for image in chosen).encode()
            path = folder / f"{name}.txt"
            if not path.exists() or path.read_bytes() != text:
                with atomic_write(path) as file:
                    file.write(text)

    def _columns(self, root: Path, attributes: Sequence[str]) -> dict[str, list[tuple[int, str]]]:
        """Return the columns that each list looks at, with the words it wants there."""
        for attribute in sorted({attribute for wanted in self.lists.values() for attribute in wanted}):
            if attribute not in attributes:
                raise ValueError(
                    f"no attribute {attribute!r}{closest(attribute, attributes)} in {root / self.table}; there are "
                    f"{', '.join(attributes)}"
                )
        return {
            name: [(attributes.index(attribute) + 1, "1" if has else "-1") for attribute, has in wanted.items()]
            for name, wanted in self.lists.items()
        }

    def _check(self, root: Path, images: Sequence[str], splits: Mapping[str, str]) -> None:
        """Refuse tables that do not fit together or the images."""
        odd = [image for image in images if splits.get(image) not in ("0", "1", "2")]
        if odd:
            raise ValueError(f"{root / self.partition} has no split for {_some(odd)} of {self.table}; get both again")
        absent = sorted(set(images) - set(os.listdir(root / self.images)))
        if absent:
            raise FileNotFoundError(
                f"{self.table} names images that are not in {root / self.images}: {_some(absent)}; get them again"
            )


def _rows(path: Path, skip: int, width: int | None = None) -> Iterator[list[str]]:
    """Yield the words of a table's lines behind the skipped ones.

    Without a width the first line names the columns but for the first, and the others have one word more.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            row = [sys.intern(word) for word in line.split()]  # -1 and 1 by the million, each stored once
            if number <= skip or not row:
                continue
            if width is None:
                width = len(row) + 1
            elif len(row) != width:
                raise ValueError(f"line {number} of {path} should have {width} words, found {len(row)}; get it again")
            yield row


def _link(place: Path, target: Path) -> None:
    """Make a relative link, unless something other than a link lies there already."""
    place.parent.mkdir(parents=True, exist_ok=True)
    relative = os.path.relpath(target, place.parent)
    if place.is_symlink() and os.readlink(place) != relative:
        place.unlink(missing_ok=True)
    with contextlib.suppress(FileExistsError):
        place.symlink_to(relative, target_is_directory=target.is_dir())


def _some(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more:,} more" if more > 0 else "")
