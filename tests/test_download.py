"""Downloads from a server on this machine that is slow, lies, breaks off, redirects, refuses ranges, or is dead."""

import hashlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from stylebench import download as module
from stylebench.download import DownloadError, Fetched, download, file_digests
from tests.helpers.file_server import Server, serving

DATA = bytes(range(256)) * 1200  # 307,200 bytes
SHA256 = hashlib.sha256(DATA).hexdigest()
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[..., Fetched]:
    """Download to a temporary folder with short waits."""

    def run(*mirrors: str, **settings: Any) -> Fetched:
        defaults = {"digests": {}, "size": None, "max_bytes": 10**6, "timeout_s": 10.0, "backoff_s": 0.001}
        return download(mirrors, tmp_path / "set.zip", **(defaults | settings))

    return run


def dead_url() -> str:
    """Return an address at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/set.zip"


def only_the_file(folder: Path) -> None:
    assert [path.name for path in folder.iterdir()] == ["set.zip"]
    assert (folder / "set.zip").read_bytes() == DATA


def nothing(folder: Path) -> None:
    assert not (folder / "set.zip").exists()


def test_download_verifies_and_says_what_came(server: Server, fetch: Any, tmp_path: Path) -> None:
    url = server.url("set.zip", DATA)
    assert fetch(url, digests={"sha256": SHA256.upper(), "md5": MD5}, size=len(DATA)) == Fetched(
        url, len(DATA), {"sha256": SHA256, "md5": MD5}
    )
    only_the_file(tmp_path)


def test_a_digest_may_be_known_by_its_beginning_alone(server: Server, fetch: Any, tmp_path: Path) -> None:
    url = server.url("set.zip", DATA)
    assert fetch(url, digests={"sha256": SHA256[:8].upper()}).digests["sha256"] == SHA256
    with pytest.raises(DownloadError, match=f"expected sha256 {SHA256[1:9]}, found {SHA256}"):
        fetch(url, digests={"sha256": SHA256[1:9]})


def test_download_replaces_an_older_file(server: Server, fetch: Any, tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(b"old")
    fetch(server.url("set.zip", DATA))
    only_the_file(tmp_path)


def test_interrupted_download_transfers_only_the_rest(server: Server, fetch: Any, tmp_path: Path) -> None:
    url = server.url("set.zip", DATA, stops=[100_000])
    fetch(url)
    only_the_file(tmp_path)
    first, second = server.seen
    assert (first.range, first.sent) == (None, 100_000)
    assert (second.range, second.status, second.sent) == ("bytes=100000-", 206, len(DATA) - 100_000)


def test_download_is_continued_by_a_later_process(server: Server, fetch: Any, tmp_path: Path) -> None:
    """As after a kill: the partial file and its note are all that is left."""
    url = server.url("set.zip", DATA, stops=[50_000, 0, 0, 0])
    with pytest.raises(DownloadError, match=r"broke off after 50,000 of 307,200 bytes"):
        fetch(url)
    nothing(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".set.zip.partial", ".set.zip.partial.json"]
    server.seen.clear()
    fetch(url)
    only_the_file(tmp_path)
    assert [(seen.range, seen.sent) for seen in server.seen] == [("bytes=50000-", len(DATA) - 50_000)]


@pytest.mark.parametrize("validators", [{"etag": '"v1"'}, {"etag": None, "modified": "Sun, 01 Jan 2023 00:00:00 GMT"}])
def test_a_file_that_changed_meanwhile_is_downloaded_anew(
    validators: dict[str, str | None], server: Server, fetch: Any, tmp_path: Path
) -> None:
    url = server.url("set.zip", bytes(len(DATA)), stops=[50_000, 0, 0, 0], **validators)
    with pytest.raises(DownloadError):
        fetch(url)
    server.seen.clear()
    changed = {key: None if value is None else value.replace("1", "2") for key, value in validators.items()}
    fetch(server.url("set.zip", DATA, **changed))
    only_the_file(tmp_path)  # no byte of the old file
    assert [(seen.range, seen.status) for seen in server.seen] == [("bytes=50000-", 200)]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_validator_and_digest_nothing_is_continued(
    etag: str | None, server: Server, fetch: Any, tmp_path: Path
) -> None:
    fetch(server.url("set.zip", DATA, stops=[100_000], etag=etag))
    only_the_file(tmp_path)
    assert [(seen.range, seen.sent) for seen in server.seen] == [(None, 100_000), (None, len(DATA))]


def test_a_known_digest_lets_another_mirror_continue(server: Server, fetch: Any, tmp_path: Path) -> None:
    first = server.url("first.zip", DATA, stops=[100_000, 0, 0, 0], etag=None)
    fetched = fetch(first, server.url("second.zip", DATA, etag=None), digests={"md5": MD5})
    only_the_file(tmp_path)
    assert fetched.url.endswith("second.zip")
    assert (server.seen[-1].range, server.seen[-1].sent) == ("bytes=100000-", len(DATA) - 100_000)


def test_another_mirror_starts_anew_where_no_digest_is_known(server: Server, fetch: Any, tmp_path: Path) -> None:
    fetch(server.url("first.zip", bytes(len(DATA)), stops=[100_000, 0, 0, 0]), server.url("second.zip", DATA))
    only_the_file(tmp_path)
    assert server.seen[-1].range is None


def test_pieces_of_two_files_are_noticed_and_downloaded_anew(server: Server, fetch: Any, tmp_path: Path) -> None:
    (tmp_path / ".set.zip.partial").write_bytes(b"rubbish of an older version")
    fetch(server.url("set.zip", DATA), digests={"sha256": SHA256})
    only_the_file(tmp_path)
    assert [seen.range for seen in server.seen] == ["bytes=27-", None]


def test_a_refused_range_starts_anew(server: Server, fetch: Any, tmp_path: Path) -> None:
    fetch(server.url("set.zip", DATA, stops=[100_000], ranges=False))
    only_the_file(tmp_path)
    assert [(seen.range, seen.status, seen.sent) for seen in server.seen] == [
        (None, 200, 100_000),
        ("bytes=100000-", 200, len(DATA)),
    ]


def test_a_server_that_never_gets_to_the_end_is_left(server: Server, fetch: Any, tmp_path: Path) -> None:
    """Without ranges the same bytes come again and again: that is no progress."""
    with pytest.raises(DownloadError):
        fetch(server.url("set.zip", DATA, stops=[100_000] * 99, ranges=False))
    assert len(server.seen) == 1 + module.ATTEMPTS


def test_a_server_that_gets_further_each_time_is_kept(
    server: Server, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHORT_BYTES", 40_000)
    fetch(server.url("set.zip", DATA, stops=[40_000] * 7))
    only_the_file(tmp_path)
    assert len(server.seen) == 8 > module.SHORT_ATTEMPTS > module.ATTEMPTS
    assert sum(seen.sent for seen in server.seen) == len(DATA)


def test_a_complete_partial_file_is_only_verified(server: Server, fetch: Any, tmp_path: Path) -> None:
    """Killed between the last byte and the rename: the server answers 416."""
    (tmp_path / ".set.zip.partial").write_bytes(DATA)
    fetch(server.url("set.zip", DATA), digests={"sha256": SHA256})
    only_the_file(tmp_path)
    assert [(seen.status, seen.sent) for seen in server.seen] == [(416, 0)]


def test_a_partial_file_longer_than_the_file_is_thrown_away(server: Server, fetch: Any, tmp_path: Path) -> None:
    (tmp_path / ".set.zip.partial").write_bytes(DATA + b"more")
    fetch(server.url("set.zip", DATA), digests={"sha256": SHA256})
    only_the_file(tmp_path)
    assert [seen.status for seen in server.seen] == [416, 200]


def test_the_rest_of_another_range_is_not_taken(server: Server, fetch: Any, tmp_path: Path) -> None:
    fetch(server.url("set.zip", DATA, stops=[100_000], wrong_range=True))
    only_the_file(tmp_path)
    assert [seen.range for seen in server.seen] == [None, "bytes=100000-", None]


def test_a_wrong_digest_says_what_was_expected_and_found(server: Server, fetch: Any, tmp_path: Path) -> None:
    url = server.url("set.zip", DATA[:-1] + b"!")
    found = hashlib.sha256(DATA[:-1] + b"!").hexdigest()
    with pytest.raises(DownloadError, match=f"expected sha256 {SHA256}, found {found}"):
        fetch(url, digests={"sha256": SHA256})
    assert list(tmp_path.iterdir()) == []
    assert len(server.seen) == 1  # the mirror would deliver the same again


def test_a_wrong_digest_leads_to_the_next_mirror(server: Server, fetch: Any, tmp_path: Path) -> None:
    fetched = fetch(server.url("bad.zip", bytes(100)), server.url("good.zip", DATA), digests={"md5": MD5})
    assert fetched.url.endswith("good.zip")
    only_the_file(tmp_path)


def test_a_truncated_file_is_noticed_by_its_size(server: Server, fetch: Any, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="has 100 bytes instead of 307,200"):
        fetch(server.url("set.zip", DATA[:100]), size=len(DATA))
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_file_of_undeclared_length_is_noticed_too(server: Server, fetch: Any) -> None:
    with pytest.raises(DownloadError, match="has 100 bytes instead of 307,200"):
        fetch(server.url("set.zip", DATA[:100], length=False), size=len(DATA))


@pytest.mark.parametrize("length", [True, False])
def test_a_file_above_the_limit_is_refused(length: bool, server: Server, fetch: Any, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"more than the 307,199( bytes)? that are allowed|more than the 307,199"):
        fetch(server.url("set.zip", DATA, length=length), max_bytes=len(DATA) - 1)
    nothing(tmp_path)
    assert len(server.seen) == 1


def test_a_web_page_is_not_taken_for_the_file(server: Server, fetch: Any, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="web page"):
        fetch(server.url("set.zip", b"<html>quota</html>", kind="text/html; charset=utf-8"))
    nothing(tmp_path)


def test_redirects_are_followed_with_the_range(server: Server, fetch: Any, tmp_path: Path) -> None:
    real = server.url("real.zip", DATA, stops=[100_000])
    fetch(server.url("set.zip", DATA, redirect=real))
    only_the_file(tmp_path)
    assert [(seen.path, seen.range) for seen in server.seen][-1] == ("/real.zip", "bytes=100000-")


@pytest.mark.parametrize("to", ["file:///etc/hostname", "ftp://127.0.0.1/set.zip", "data:text/plain,x"])
def test_redirects_to_other_schemes_are_not_followed(to: str, server: Server, fetch: Any, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"not followed|HTTP 302"):
        fetch(server.url("set.zip", DATA, redirect=to))
    assert len(server.seen) == 1
    nothing(tmp_path)


def test_redirects_from_https_to_http_are_not_followed() -> None:
    from email.message import Message
    from io import BytesIO
    from urllib.request import Request

    handler = module._Redirects()
    secure = Request("https://example.org/set.zip")
    with pytest.raises(module._GiveUpError, match="from https to http,"):
        handler.redirect_request(secure, BytesIO(), 302, "Found", Message(), "http://example.org/set.zip")
    plain = Request("http://example.org/set.zip")
    followed = handler.redirect_request(plain, BytesIO(), 302, "Found", Message(), "https://example.org/set.zip")
    assert followed is not None
    assert followed.full_url == "https://example.org/set.zip"


def test_a_loop_of_redirects_ends(server: Server, fetch: Any) -> None:
    url = server.url("set.zip", DATA)
    server.paths["/set.zip"].redirect = url
    with pytest.raises(DownloadError, match="infinite loop"):
        fetch(url)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_not_repeated(status: int, server: Server, fetch: Any) -> None:
    with pytest.raises(DownloadError, match=f"HTTP {status}"):
        fetch(server.url("set.zip", DATA, statuses=[status] * 9))
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_overloaded_server_is_asked_again(
    status: int, server: Server, fetch: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fetch(server.url("set.zip", DATA, statuses=[status] * 2))
    only_the_file(tmp_path)
    assert f"HTTP {status}" in caplog.text
    assert "trying" in caplog.text


def test_every_mirror_is_tried_and_its_reason_told(server: Server, fetch: Any, tmp_path: Path) -> None:
    dead = dead_url()
    gone = server.url("gone.zip", DATA, statuses=[404])
    ill = server.url("ill.zip", DATA, statuses=[503] * 9)
    with pytest.raises(DownloadError) as caught:
        fetch(dead, gone, ill)
    assert [url for url, _ in caught.value.reasons] == [dead, gone, ill]
    text = str(caught.value)
    assert re.search(rf"{dead}: .*[Rr]efused", text)
    assert re.search(rf"{gone}: HTTP 404", text)
    assert re.search(rf"{ill}: HTTP 503", text)
    assert len(text.splitlines()) == 4
    assert list(tmp_path.iterdir()) == []


def test_the_wait_grows_between_attempts(fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    with pytest.raises(DownloadError):
        fetch(dead_url(), backoff_s=2.0)
    assert waits == [2.0, 4.0]


def test_a_silent_server_is_left_after_the_timeout(server: Server, fetch: Any) -> None:
    begin = time.monotonic()
    with pytest.raises(DownloadError, match="no answer in time"):
        fetch(server.url("set.zip", DATA, delay_s=5.0), timeout_s=0.05)
    assert time.monotonic() - begin < 4.5


def test_a_slow_server_is_waited_for(server: Server, fetch: Any, tmp_path: Path) -> None:
    fetch(server.url("set.zip", DATA, delay_s=0.02), timeout_s=0.5)
    only_the_file(tmp_path)


def test_a_server_that_sends_a_byte_and_hangs_up_is_left(
    server: Server, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    url = server.url("set.zip", DATA, stops=[1] * 20)
    with pytest.raises(
        DownloadError, match=r"broke off after 5 of .*; 5 attempts in a row .* 1,048,576 bytes each\. Run again later"
    ):
        fetch(url, backoff_s=2.0)
    assert len(server.seen) == module.SHORT_ATTEMPTS
    assert [wait for wait in waits if wait] == [2.0, 4.0, 8.0, 16.0]  # the server's own waits are 0
    server.paths["/set.zip"].stops.clear()
    fetch(url)  # as the message says
    only_the_file(tmp_path)
    assert server.seen[-1].range == "bytes=5-"


def test_a_server_that_only_trickles_is_left(server: Server, fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.05)
    monkeypatch.setattr(module, "STALL_BYTES_PER_S", 10**9)
    with pytest.raises(DownloadError, match="bytes a second"):
        fetch(server.url("set.zip", DATA, delay_s=0.03))


def test_a_kill_in_the_middle_keeps_what_had_come(server: Server, fetch: Any, tmp_path: Path) -> None:
    url = server.url("set.zip", DATA, delay_s=0.05)
    code = (
        "import sys; from pathlib import Path; from stylebench.download import download; "
        "download([sys.argv[1]], Path(sys.argv[2]), digests={}, size=None, max_bytes=10**6)"
    )
    job = subprocess.Popen([sys.executable, "-c", code, url, str(tmp_path / "set.zip")])
    partial = tmp_path / ".set.zip.partial"
    while job.poll() is None and not (partial.exists() and partial.stat().st_size > 50_000):
        time.sleep(0.01)
    job.kill()
    assert job.wait() == -signal.SIGKILL
    had = partial.stat().st_size
    assert 50_000 < had < len(DATA)
    server.paths["/set.zip"].delay_s = 0.0
    fetch(url)
    only_the_file(tmp_path)
    assert server.seen[-1].range == f"bytes={had}-"
    assert server.seen[-1].sent == len(DATA) - had


@pytest.mark.parametrize("note", ["", "[]", "{", json.dumps({"url": 3})])
def test_a_damaged_note_costs_only_time(note: str, server: Server, fetch: Any, tmp_path: Path) -> None:
    (tmp_path / ".set.zip.partial").write_bytes(b"rubbish")
    (tmp_path / ".set.zip.partial.json").write_text(note)
    fetch(server.url("set.zip", DATA))
    only_the_file(tmp_path)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a.zip", "/etc/passwd", "javascript:x"])
def test_an_address_that_is_no_web_address_is_refused(url: str, fetch: Any) -> None:
    with pytest.raises(ValueError, match="must be an http or https address"):
        fetch(url)


def test_no_mirror_at_all_is_an_error(fetch: Any) -> None:
    with pytest.raises(DownloadError, match="there is none"):
        fetch()


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (ssl.SSLCertVerificationError("certificate has expired"), "certificate has expired"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "example.org/set.zip: Name or service"),
    ],
)
def test_what_will_not_pass_is_not_asked_again(
    reason: OSError, told: str, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Opener:
        def open(self, request: Any, timeout: float) -> None:
            asked.append(request)
            raise URLError(reason)

    monkeypatch.setattr(module, "_opener", Opener)
    with pytest.raises(DownloadError, match=told):
        fetch("https://example.org/set.zip")
    assert len(asked) == 1


def test_a_full_disk_is_told_before_a_byte_comes(
    server: Server, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(RuntimeError, match="307,200 more bytes, but only 1,000 are free"):
        fetch(server.url("set.zip", DATA))


def test_a_progress_bar_goes_to_stderr_only_if_it_takes_long(
    server: Server, fetch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(server.url("set.zip", DATA))
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_file_digests_are_those_of_hashlib(tmp_path: Path) -> None:
    data = os.urandom(2_500_000)  # more than two chunks
    (tmp_path / "a").write_bytes(data)
    assert file_digests(tmp_path / "a") == {
        "sha256": hashlib.sha256(data).hexdigest(),
        "md5": hashlib.md5(data).hexdigest(),
    }
