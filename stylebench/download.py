"""Download one file from a list of mirrors: resumable, verified, atomic.

Unfinished bytes lie in `.<name>.partial` beside the target, with a note of where they came from. They are continued
only where the rest is sure to belong to them: from the same address while its ETag or date has not changed, or from
any mirror if the digest of the whole is known. Everything else starts over.
"""

import contextlib
import hashlib
import http.client
import json
import logging
import os
import re
import shutil
import socket
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from tqdm import tqdm

from stylebench.files import write_json

DIGESTS = ("sha256", "md5")  # names of the algorithms that publishers use
TIMEOUT_S = 30.0  # without a byte
STALL_S, STALL_BYTES_PER_S = 60.0, 1024  # a mirror slower than this over this time is left
ATTEMPTS = 3  # in a row without getting further than before, for each mirror
SHORT_ATTEMPTS = 5  # in a row that get further by less than SHORT_BYTES each, for each mirror
SHORT_BYTES = 2**20
BACKOFF_S = 1.0  # before the second attempt; doubled for each further short one
_CHUNK = 2**20
_USER_AGENT = "stylebench"
_TRANSIENT = {408, 425, 429, *range(500, 600)}  # answers that may be better the next time
_NETWORK = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)
_SCHEMES = ("http", "https")

_log = logging.getLogger(__name__)

Digests = Mapping[str, str]


class DownloadError(RuntimeError):
    """A file that no mirror delivered.

    Attributes:
        reasons: (address, reason) of every mirror, in the order they were tried.
        another: whether some mirror delivered a whole file with another digest.
    """

    def __init__(self, name: str, reasons: Sequence[tuple[str, str]], another: bool) -> None:
        lines = [f"  {url}: {reason}" for url, reason in reasons] or ["  there is none"]
        super().__init__(f"no mirror delivered {name}:\n" + "\n".join(lines))
        self.reasons = list(reasons)
        self.another = another


class Fetched(NamedTuple):
    """A downloaded file: the address that delivered it, its size, its digests by algorithm."""

    url: str
    size: int
    digests: dict[str, str]


class _TryAgainError(Exception):
    """A failure that may pass."""


class _GiveUpError(Exception):
    """A failure that this mirror will repeat."""


class _AnotherFileError(_GiveUpError):
    """A mirror that has a file with another size or digest."""


@dataclass(frozen=True)
class _Wanted:
    """What is known of a file before it is there."""

    target: Path
    digests: Digests
    size: int | None
    max_bytes: int

    @property
    def partial(self) -> Path:
        return _unfinished(self.target)[0]

    @property
    def note(self) -> Path:
        return _unfinished(self.target)[1]


def download(
    mirrors: Sequence[str],
    target: Path,
    *,
    digests: Digests,
    size: int | None,
    max_bytes: int,
    timeout_s: float = TIMEOUT_S,
    backoff_s: float = BACKOFF_S,
) -> Fetched:
    """Download a file from the first mirror that delivers it; continue what an earlier call left unfinished.

    Args:
        mirrors: http and https addresses, tried in order. Redirects are followed, but never from https to http.
        target: where the file goes; it appears whole and verified, or not at all.
        digests: what is known of its content by algorithm, `sha256` or `md5`: hexadecimal digits, all or the first of
            them; may be empty.
        size: its size in bytes, if it is known.
        max_bytes: refuse a larger one.
        timeout_s: longest wait for a byte, in seconds.
        backoff_s: wait before the second attempt at a mirror, in seconds; doubled for each further one.

    Returns:
        Where it came from, its size, and both digests.

    Raises:
        DownloadError: if no mirror delivers it; with the reason of each.
        ValueError: if an address is neither http nor https.
    """
    for url in mirrors:
        if urllib.parse.urlsplit(url).scheme not in _SCHEMES:
            raise ValueError(f"a mirror of {target.name} must be an http or https address, got {url!r}; correct it")
    target.parent.mkdir(parents=True, exist_ok=True)
    wanted = _Wanted(target, digests, size, max_bytes)
    failures: dict[str, _GiveUpError] = {}
    for url in mirrors:
        try:
            return _from_mirror(url, wanted, timeout_s, backoff_s)
        except _GiveUpError as error:
            failures[url] = error
    another = any(isinstance(error, _AnotherFileError) for error in failures.values())
    raise DownloadError(target.name, [(url, str(error)) for url, error in failures.items()], another)


def discard_partial(target: Path) -> None:
    """Remove what an unfinished download of a file left beside it, so that the next one starts over."""
    for path in _unfinished(target):
        path.unlink(missing_ok=True)


def file_digests(path: Path) -> dict[str, str]:
    """Return SHA-256 and MD5 of a file in hexadecimal digits, reading it once; with a progress bar if it takes long."""
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in DIGESTS}
    with path.open("rb") as file, progress_bar(f"checking {path.name}", path.stat().st_size) as bar:
        while chunk := file.read(_CHUNK):
            for each in hashes.values():
                each.update(chunk)
            bar.update(len(chunk))
    return {name: each.hexdigest() for name, each in hashes.items()}


def differing(wanted: Digests, found: Digests) -> str:
    """Say how digests do not begin as wanted, or return an empty text where all do."""
    wrong = [name for name, value in wanted.items() if not found[name].startswith(value.lower())]
    return "; ".join(f"expected {name} {wanted[name].lower()}, found {found[name]}" for name in wrong)


def progress_bar(title: str, total: int | None, done: int = 0) -> Any:
    """Return a progress bar in bytes, on stderr; nothing is shown of what takes less than a second."""
    # In a log file every update is a line of its own: there, fewer.
    interval = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(
        desc=title, total=total, initial=done, unit="B", unit_scale=True, unit_divisor=1024, delay=1.0,
        mininterval=interval, leave=False,
    )  # fmt: skip


def _from_mirror(url: str, wanted: _Wanted, timeout_s: float, backoff_s: float) -> Fetched:
    """Try one mirror until it delivers, refuses, or fails too often without getting (much) further."""
    failures, short, furthest = 0, 0, _length(wanted.partial)
    while True:
        try:
            continued = _transfer(url, wanted, timeout_s)
            return _finish(url, wanted, continued)
        except _TryAgainError as error:
            reached = _length(wanted.partial)
            failures = 0 if reached > furthest else failures + 1
            short = 0 if reached >= furthest + SHORT_BYTES else short + 1
            furthest = max(furthest, reached)
            if failures >= ATTEMPTS:
                raise _GiveUpError(str(error)) from None
            if short >= SHORT_ATTEMPTS:
                raise _GiveUpError(
                    f"{error}; {short} attempts in a row got further by less than {SHORT_BYTES:,} bytes each. Run "
                    "again later, which goes on where that is possible, or get the file by hand"
                ) from None
            _log.warning("%s: %s; trying %s again", wanted.target.name, error, url)
            time.sleep(backoff_s * 2 ** max(0, short - 1))


def _transfer(url: str, wanted: _Wanted, timeout_s: float) -> bool:
    """Append to the partial file what it lacks; return whether it was continued, not started over."""
    request, offset = _request(url, wanted)
    with _network(), _open(request, offset, timeout_s, wanted) as answer:
        if answer is None:
            return True
        continued: bool = answer.status == http.client.PARTIAL_CONTENT
        offset = offset if continued else 0  # else the range was refused, or the file has changed
        total = _check_answer(answer, offset, wanted)
        write_json(wanted.note, {"url": url, "validator": _validator(answer.headers), "total": total})
        with wanted.partial.open("ab" if continued else "wb") as file:
            _copy(answer, file, wanted, total, offset)
    received = _length(wanted.partial)
    if total is not None and received != total:
        raise _TryAgainError(f"the connection broke off after {received:,} of {total:,} bytes")
    if wanted.size is not None and received != wanted.size:
        discard_partial(wanted.target)
        raise _AnotherFileError(f"the file has {received:,} bytes instead of {wanted.size:,}")
    return continued


def _request(url: str, wanted: _Wanted) -> tuple[urllib.request.Request, int]:
    """Ask for the rest of the partial file if it can be trusted, else for the whole; return the offset too."""
    request = urllib.request.Request(url, headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"})
    note = _read_note(wanted.note)
    offset = _length(wanted.partial)
    limit = wanted.size if wanted.size is not None else wanted.max_bytes
    same = note.get("url") == url and note.get("validator") is not None
    if not offset or offset > limit or not (same or wanted.digests):
        return request, 0
    request.add_header("Range", f"bytes={offset}-")
    if same:
        request.add_header("If-Range", note["validator"])
    return request, offset


@contextlib.contextmanager
def _open(request: urllib.request.Request, offset: int, timeout_s: float, wanted: _Wanted) -> Iterator[Any]:
    """Send a request; yield the answer, or None if the partial file turns out to be complete."""
    try:
        answer = _opener().open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        if error.headers.get("Content-Range", "").strip() != f"bytes */{offset}":
            discard_partial(wanted.target)
            raise _TryAgainError("it does not have the rest of the file that was begun") from None
        yield None
    else:
        with answer:
            yield answer


def _check_answer(answer: Any, offset: int, wanted: _Wanted) -> int | None:
    """Leave a mirror whose answer cannot be the file; return the size of the whole file where the answer says it."""
    headers = answer.headers
    if headers.get_content_type() == "text/html" and "Content-Disposition" not in headers:
        raise _GiveUpError("it answered with a web page instead of the file (a login, a notice, a quota)")
    begin, total = _sizes(headers)
    known = _read_note(wanted.note).get("total")
    if offset and (begin != offset or (None not in (total, known) and total != known)):
        discard_partial(wanted.target)
        raise _TryAgainError("it sent the rest of another file than the one that was begun")
    if total is None:
        return None
    if wanted.size is not None and total != wanted.size:
        raise _AnotherFileError(f"the file has {total:,} bytes instead of {wanted.size:,}")
    if total > wanted.max_bytes:
        raise _GiveUpError(f"the file has {total:,} bytes, more than the {wanted.max_bytes:,} that are allowed for it")
    free = shutil.disk_usage(wanted.target.parent).free
    if total - offset > free:
        raise RuntimeError(
            f"{wanted.target.name} needs {total - offset:,} more bytes, but only {free:,} are free under "
            f"{wanted.target.parent}; free some, or choose a folder on another disk"
        )
    return total


def _copy(answer: Any, file: IO[bytes], wanted: _Wanted, total: int | None, offset: int) -> None:
    """Copy the answer's body as it comes, so that a kill loses little."""
    limit = wanted.size if wanted.size is not None else wanted.max_bytes
    since, counted = time.monotonic(), 0
    with progress_bar(wanted.target.name, total, offset) as bar:
        while chunk := answer.read1(_CHUNK):
            offset += len(chunk)
            if offset > limit:
                discard_partial(wanted.target)
                raise _GiveUpError(f"the file has more than the {limit:,} bytes that are allowed for it")
            file.write(chunk)
            file.flush()
            bar.update(len(chunk))
            counted += len(chunk)
            if (elapsed := time.monotonic() - since) > STALL_S:
                if counted < elapsed * STALL_BYTES_PER_S:
                    raise _GiveUpError(f"it sent less than {STALL_BYTES_PER_S} bytes a second")
                since, counted = time.monotonic(), 0
        os.fsync(file.fileno())


def _finish(url: str, wanted: _Wanted, continued: bool) -> Fetched:
    """Verify the partial file and put it in its place."""
    found = file_digests(wanted.partial)
    wrong = differing(wanted.digests, found)
    if wrong:
        discard_partial(wanted.target)
        if continued:  # its parts may be of two files; one that is started over may be right
            raise _TryAgainError(f"the pieces make another file: {wrong}")
        raise _AnotherFileError(f"it has another file: {wrong}")
    fetched = Fetched(url, _length(wanted.partial), found)
    os.replace(wanted.partial, wanted.target)
    discard_partial(wanted.target)
    return fetched


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """Sort what goes wrong on the way into what may pass and what will not."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        passing = error.code in _TRANSIENT
        raise (_TryAgainError if passing else _GiveUpError)(f"HTTP {error.code} {error.reason}") from None
    except _NETWORK as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            raise _TryAgainError("no answer in time") from None
        nameless = isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME
        lasting = nameless or isinstance(reason, ssl.SSLCertVerificationError)
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise (_GiveUpError if lasting else _TryAgainError)(text) from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http and https, but not from a protected connection to an open one."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in _SCHEMES or (req.type == "https" and scheme != "https"):
            fp.close()
            raise _GiveUpError(f"it redirects from {req.type} to {scheme}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener that knows http and https; urllib's usual one would also read local files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _sizes(headers: Any) -> tuple[int | None, int | None]:
    """Return where the body begins in the file, and the size of the whole file; None where the answer does not say."""
    if (content_range := headers.get("Content-Range")) is not None:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range.strip())
        if found is None:
            return None, None
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _validator(headers: Any) -> str | None:
    """Return what tells one version of a file from another; a weak ETag does not vouch for single bytes."""
    etag: str | None = headers.get("ETag")
    date: str | None = headers.get("Last-Modified")
    return etag if etag and not etag.startswith("W/") else date


def _unfinished(target: Path) -> tuple[Path, Path]:
    """Return where a file's bytes lie until all are there, and the note of where they came from."""
    return target.with_name(f".{target.name}.partial"), target.with_name(f".{target.name}.partial.json")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read_note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(path.read_bytes())
    except (OSError, ValueError):  # without a note the download starts over
        return {}
    return note if isinstance(note, dict) else {}
