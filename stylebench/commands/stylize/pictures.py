"""Apply a trained model to a picture or to a folder of pictures."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from stylebench.checks import check_choice, check_optional_whole, check_whole
from stylebench.commands.stylize.guides import GuidePictures, shrunk
from stylebench.commands.stylize.variations import Variations
from stylebench.commands.stylize.watching import watching
from stylebench.commands.stylize.writing import WITH_ALPHA, WRITERS, check_writable, to_pixels, write_picture
from stylebench.data.images import IMAGE_SUFFIXES, OVER_WHITE, DecodedPicture, read_picture
from stylebench.data.listing import Listing, left_out_words, list_pictures, note_lines
from stylebench.inference.translators.base import Translator, Watch

log = logging.getLogger(__name__)

MAX_PIXELS = 200_000_000
SUFFIXES = ("png", "jpg", "webp", "same")


@dataclass(frozen=True)
class Summary:
    """What became of the pictures.

    Attributes:
        written: outputs written.
        skipped: outputs that were there already.
        failed: inputs that could not be stylized, each with the reason.
        left_out: how many files of a folder are no pictures by their name, by their ending.
        notes: names of the pictures that there is something to say of, by the note.
    """

    written: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def add(self, target: Path, picture: Path, notes: Sequence[str]) -> None:
        """Note an output that was written, and what is to say of its input."""
        self.written.append(target)
        for note in notes:
            self.notes.setdefault(note, []).append(picture.name)

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures were written, were there already, and failed."""
        return {"written": len(self.written), "skipped": len(self.skipped), "failed": len(self.failed)}

    @property
    def words(self) -> str:
        """What became of the pictures, in a line."""
        line = f"{len(self.written)} written, {len(self.skipped)} already there, {len(self.failed)} failed"
        return ", ".join(filter(None, (line, left_out_words(self.left_out))))


def stylize_path(
    translator: Translator,
    source: str | Path,
    output: str | Path,
    *,
    overwrite: bool = False,
    suffix: str = "png",
    max_pixels: int = MAX_PIXELS,
    size_px: int | None = None,
    keep_alpha: bool = True,
    guides: GuidePictures | None = None,
    variations: Variations | None = None,
    every: int | None = None,
    progress: bool = True,
    record: contextlib.AbstractContextManager[dict[str, Any]] | None = None,
    **controls: Any,
) -> Summary:
    """Stylize a picture, or every picture below a folder, at its own size.

    A folder keeps its sub-folders; outputs that exist are skipped, so that a stopped job can be started again; a
    picture that cannot be read, is too small or too large is reported and the rest goes on. Outputs appear whole or not
    at all.

    Args:
        translator: from `stylebench.load`; runs on the device it is on.
        source: a picture or a folder.
        output: for a picture: a picture file (its suffix is the format), or a folder; for a folder: a folder, which may
            lie inside the source.
        overwrite: replace outputs that exist. The source picture itself is never overwritten.
        suffix: `png`, `jpg`, `webp` or `same` (as the input): format of outputs in a folder.
        max_pixels: larger pictures are refused (decompression bombs).
        size_px: longer side that larger pictures are shrunk to first; None for their own size.
        keep_alpha: give PNG and WebP outputs of the input's size its transparency; what is seen through it was white.
        guides: pictures of styles, for a translator that takes them; see `guides.read_guides`.
        variations: what an output shows several results over; see `variations.read_variations`.
        every: for one picture that is optimized: evaluations between pictures on the way; see `watching`.
        progress: show a bar on stderr, over the pictures of a folder, or over an optimization.
        record: of the output folder, kept while the pictures of a folder are worked on; it is told how many were
            written, were there already, and failed.
        **controls: of the translator.

    Returns:
        What was written, skipped, and failed.

    Raises:
        FileNotFoundError: if the source does not exist or holds no picture.
        FileExistsError: if the output of a single picture exists and `overwrite` is off.
        ValueError: if an option or control is wrong, two pictures would get one output, or a single picture cannot be
            read (`ImageError`) or is too small.
        RuntimeError: if the output cannot be written, or memory does not suffice for a single picture.
    """
    source, output = Path(source), Path(output)
    check_optional_whole("size_px", size_px)
    if every is not None and source.is_dir():
        raise ValueError("every shows one picture on its way; the input is a folder: leave it out, or name a picture")
    chosen, varied = translator.check_controls(**controls), variations or Variations()
    if every is not None and varied.values:
        raise ValueError(
            f"every shows one result on its way, and {', '.join(varied.values)} vary; leave one of them out"
        )
    work = _Work(translator, guides or GuidePictures(), varied, max_pixels, size_px, keep_alpha, chosen)
    check_choice("suffix", suffix, SUFFIXES)
    if not source.exists():
        raise FileNotFoundError(f"there is nothing at input={source}; name a picture or a folder of pictures")
    left_out: dict[str, int] = {}
    if source.is_dir():
        listing = _listed(source, output)
        jobs, left_out = _folder_jobs(source, output, listing, suffix), dict(listing.left_out)
    else:
        jobs = {_single_output(source, output, suffix, overwrite): source}
    for target in jobs:
        work.guides.check_target(target)
        varied.check_target(target)
    check_writable(sorted({target.parent for target in jobs}))
    if not source.is_dir():
        ((target, picture),) = jobs.items()
        with watching(translator, target, every, progress) as watch:
            summary = Summary(left_out=left_out)
            summary.add(target, picture, _stylize_file(work._replace(watch=watch), picture, target))
        _tell(summary)
        return summary
    with record or contextlib.nullcontext(dict[str, Any]()) as facts:
        summary = replace(_stylize_folder(work, jobs, overwrite, progress), left_out=left_out)
        facts["pictures"], facts["left_out"] = summary.counts, summary.left_out
        facts["notes"] = {note: len(names) for note, names in summary.notes.items()}
    return summary


def synthesize(
    translator: Translator, output: str | Path, size: Sequence[int], *, guides: GuidePictures, overwrite: bool = False,
    variations: Variations | None = None, every: int | None = None, progress: bool = True, **controls: Any,
) -> Summary:  # fmt: skip
    """Write a picture that is made from styles alone.

    Args:
        translator: one that needs no contents.
        output: the picture's file.
        size: (height, width) in pixels.
        guides: pictures of styles.
        overwrite: replace an output that exists.
        variations: must be none.
        every: evaluations between pictures on the way.
        progress: show a bar on stderr.
        **controls: of the translator.

    Returns:
        What was written.

    Raises:
        FileExistsError: if the output exists and `overwrite` is off.
        ValueError: if an option or control is wrong.
        RuntimeError: if the output cannot be written.
    """
    target = Path(output)
    if variations is not None and variations.values:
        raise ValueError(f"{', '.join(variations.values)} have lists of values, which need an input; give one value")
    for side in size:
        check_whole("size_px", side)
    if target.suffix.lower() not in WRITERS:
        raise ValueError(f"cannot write {target}: the suffix decides the format, one of {', '.join(WRITERS)}")
    guides.check_target(target)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; name another output, or overwrite=true to replace it")
    controls = translator.check_controls(**controls)
    check_writable([target.parent])
    blank = torch.zeros(3, *size, device=translator.device)
    with watching(translator, target, every, progress) as watch, _explain_memory(size):
        result = translator.translate(blank, watch=watch, **guides.arguments(size), **controls)
    write_picture(target, to_pixels(result))
    return Summary(written=[target])


def default_output(source: str | Path) -> Path:
    """Return where the output of `source` goes when nobody says: `stylized/<name>` in the current folder."""
    name = Path(source).resolve()
    return Path("stylized") / (name.name if name.is_dir() else f"{name.stem}.png")


def choose_device(device: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda`, `cuda:1`, ... names.

    Raises:
        ValueError: if the name is not a device.
        RuntimeError: if there is no such device here.
    """
    available = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda" if available else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device is auto, cpu, cuda or cuda:<number>, got {device!r}") from error
    if chosen.type == "cuda" and (not available or (chosen.index or 0) >= torch.cuda.device_count()):
        raise RuntimeError(f"device={device}, but torch sees {torch.cuda.device_count()} CUDA devices; use device=cpu")
    return chosen


def to_tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Map (H, W, 3) uint8 to (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255.0)


def _single_output(source: Path, output: Path, suffix: str, overwrite: bool) -> Path:
    """Return the output file of one picture."""
    if output.suffix and not output.is_dir():
        if output.suffix.lower() not in WRITERS:
            raise ValueError(f"cannot write {output}: the suffix decides the format, one of {', '.join(WRITERS)}")
        if suffix not in (SUFFIXES[0], output.suffix[1:].lower()):
            log.warning("suffix=%s changes nothing: %s names the format", suffix, output)
        target = output
    else:
        target = output / f"{source.stem}{_suffix_for(source, suffix)}"
    if target.exists() and target.resolve() == source.resolve():
        raise ValueError(f"the output {target} is the input itself; name another output")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; name another output, or overwrite=true to replace it")
    return target


def _listed(source: Path, output: Path) -> Listing:
    """List the pictures of a folder, without those of an output folder that lies inside.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if the output is a file, or the source folder.
    """
    if output.exists() and not output.is_dir():
        raise ValueError(f"the input {source} is a folder, but the output {output} is a file; name a folder")
    if output.resolve() == source.resolve():
        raise ValueError(f"input and output are the same folder, {source}; name another output")
    listing = list_pictures(source, leave_out=output.resolve())
    if not listing.pictures:
        beside = f": {listing.words}" if listing.left_out else ""
        raise FileNotFoundError(f"no pictures (*{', *'.join(IMAGE_SUFFIXES)}) below {source}{beside}")
    if listing.left_out:
        log.warning("%s of %s: no pictures by name", listing.words, source)
    return listing


def _folder_jobs(source: Path, output: Path, listing: Listing, suffix: str) -> dict[Path, Path]:
    """Return output -> input for every picture of a folder.

    Raises:
        ValueError: if two pictures would get one output.
    """
    jobs: dict[Path, Path] = {}
    for picture in sorted(listing.pictures.values()):
        target = output / picture.relative_to(source).with_suffix(_suffix_for(picture, suffix))
        if target in jobs:
            raise ValueError(
                f"{jobs[target]} and {picture} would both become {target}; rename one of them, or keep their formats "
                "with suffix=same"
            )
        jobs[target] = picture
    return jobs


def _suffix_for(picture: Path, suffix: str) -> str:
    return picture.suffix if suffix == "same" else f".{suffix}"


class _Work(NamedTuple):
    """What is done to every picture."""

    translator: Translator
    guides: GuidePictures
    variations: Variations
    max_pixels: int
    size_px: int | None
    keep_alpha: bool
    controls: dict[str, Any]
    watch: Watch | None = None


def _stylize_folder(work: _Work, jobs: dict[Path, Path], overwrite: bool, progress: bool) -> Summary:
    summary = Summary()
    for target, picture in tqdm(jobs.items(), desc="stylize", unit="picture", disable=not progress):
        if target.exists() and not overwrite:
            summary.skipped.append(target)
            continue
        try:
            notes = _stylize_file(work, picture, target)
        except (_NoMemoryError, _UnreadableError, ValueError) as error:
            summary.failed.append((picture, str(error).removeprefix(f"{picture}: ")))
        else:
            summary.add(target, picture, notes)
    _tell(summary)
    for picture, reason in summary.failed:
        log.warning("not stylized: %s: %s", picture, reason)
    return summary


def _tell(summary: Summary) -> None:
    """Log what is to say of the inputs."""
    for line in note_lines(summary.notes):
        log.warning("%s", line)


class _NoMemoryError(RuntimeError):
    """Memory does not suffice for a picture."""


class _UnreadableError(RuntimeError):
    """The system refuses to read a picture."""


def _stylize_file(work: _Work, picture: Path, target: Path) -> list[str]:
    """Write the output of a picture; return what is to say of it."""
    try:
        read = read_picture(picture, work.max_pixels)
    except OSError as error:
        raise _UnreadableError(f"cannot read {picture}: {error.strerror or error}") from error
    size = read.pixels.shape[:2]
    with _explain_memory(size):
        image = shrunk(to_tensor(read.pixels), work.size_px).to(work.translator.device)
        given = {**work.guides.arguments(image.shape[1:]), **work.controls}
        results = [
            to_pixels(work.translator.translate(image, watch=work.watch, **{**given, **request}))
            for request in work.variations.requests
        ]
    alpha, note = _kept_alpha(work, read, results, target)
    work.variations.write(target, results, alpha)
    notes = [*read.notes, note]
    if work.size_px not in (None, work.translator.default_px) and image.shape[1:] == size:
        notes.append(f"size_px={work.size_px} changes nothing: no side is longer")
    return list(filter(None, notes))


def _kept_alpha(
    work: _Work, read: DecodedPicture, results: Sequence[NDArray[np.uint8]], target: Path
) -> tuple[NDArray[np.uint8] | None, str]:
    """Return the alpha of an output, and a note where the input's is lost though it is wanted."""
    if read.alpha is None or not work.keep_alpha:
        return None, ""
    if target.suffix.lower() not in WITH_ALPHA:
        return None, f"{OVER_WHITE}; it is kept in {' and '.join(WITH_ALPHA)}"
    if len(results) > 1 or read.alpha.shape != results[0].shape[:2]:
        return None, f"{OVER_WHITE}; it is kept in single outputs of the input's size"
    return read.alpha, ""


@contextlib.contextmanager
def _explain_memory(size: Sequence[int]) -> Iterator[None]:
    """Turn the many ways to run out of memory into one message that names the way out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        on_gpu = isinstance(error, torch.OutOfMemoryError)
        if not (on_gpu or isinstance(error, MemoryError) or "allocate memory" in text or "not enough memory" in text):
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        height, width = size
        way_out = "use device=cpu, or a smaller picture" if on_gpu else "use a smaller picture"
        raise _NoMemoryError(f"not enough memory for a picture of {width} x {height} px; {way_out}") from error
