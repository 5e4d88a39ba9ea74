"""A named data set is brought, recognized, verified and pinned, or the message says what to do."""

import hashlib
import io
import json
import os
import re
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from stylebench.data.releases import archives
from stylebench.data.releases import release as module
from stylebench.data.releases.archives import ArchiveError
from stylebench.data.releases.release import RECORD, Release
from stylebench.download import download
from stylebench.files import DamagedFileError
from tests.helpers.file_server import Server, serving

MAKE = Callable[..., Release]


def pack(members: dict[str, bytes]) -> bytes:
    """Return a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def images(*folders: str, count: int = 3) -> dict[str, bytes]:
    return {f"{folder}/{i}.jpg": f"{folder} {i}".encode() for folder in folders for i in range(count)}


ARCHIVE = pack(images("horses/trainA", "horses/trainB"))
OTHER = pack(images("horses/trainA", "horses/trainB", count=4))
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> MAKE:
    """Make a release of one archive with trainA and trainB; keyword arguments override its settings."""

    def quick(*arguments: Any, **settings: Any) -> Any:
        return download(*arguments, **settings, timeout_s=10.0, backoff_s=0.001)

    monkeypatch.setattr(module, "download", quick)

    def run(*mirrors: str, file: dict[str, Any] | None = None, **settings: Any) -> Release:
        archive = {"name": "horses.zip", "mirrors": list(mirrors), "extract": True, **(file or {})}
        defaults: dict[str, Any] = {
            "name": "horses", "title": "Horses", "paper": "Somebody 2017", "license": "research only",
            "homepage": "https://example.org/horses", "size_gb": 0.1, "images": 6, "license_click": False,
            "license_accepted": False, "files": {"archive": archive}, "layout": {"trainA": 3, "trainB": 3},
            "arrange": [], "steps": ["get horses.zip by the link on the home page"], "max_gb": 0.01, "max_files": 100,
            "keep_archives": False,
        }  # fmt: skip
        return Release(**(defaults | settings))

    return run


def names(root: Path) -> list[str]:
    """Return what a root holds besides the record."""
    return sorted(path.name for path in root.iterdir() if path.name != RECORD)


def dead(server: Server, name: str = "dead.zip", status: int = 404) -> str:
    return server.url(name, b"", statuses=[status] * 99)


def test_prepare_brings_the_data(server: Server, make: MAKE, tmp_path: Path) -> None:
    url = server.url("horses.zip", ARCHIVE)
    make(url, file={"sha256": SHA256, "size_bytes": len(ARCHIVE)}).prepare(tmp_path / "data")
    assert names(tmp_path / "data") == ["trainA", "trainB"]
    assert (tmp_path / "data/trainB/2.jpg").read_bytes() == b"horses/trainB 2"
    assert json.loads((tmp_path / "data" / RECORD).read_text()) == {
        "horses.zip": {
            "url": url,
            "size_bytes": len(ARCHIVE),
            "sha256": SHA256,
            "md5": hashlib.md5(ARCHIVE).hexdigest(),
        }
    }


def test_a_complete_folder_downloads_nothing(server: Server, make: MAKE, tmp_path: Path) -> None:
    release = make(server.url("horses.zip", ARCHIVE))
    release.prepare(tmp_path)
    release.prepare(tmp_path)
    assert len(server.seen) == 1


def test_a_complete_folder_that_cannot_be_written_is_accepted(make: MAKE, tmp_path: Path) -> None:
    for name in images("trainA", "trainB"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    make().prepare(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trainA", "trainB"]


def test_a_file_placed_by_hand_is_verified_used_and_kept(make: MAKE, tmp_path: Path) -> None:
    (tmp_path / "horses.zip").write_bytes(ARCHIVE)
    make(file={"sha256": SHA256}).prepare(tmp_path)
    assert names(tmp_path) == ["horses.zip", "trainA", "trainB"]
    assert json.loads((tmp_path / RECORD).read_text())["horses.zip"]["url"] is None


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_file_placed_by_hand_with_another_digest_is_refused(algorithm: str, make: MAKE, tmp_path: Path) -> None:
    (tmp_path / "horses.zip").write_bytes(OTHER)
    published, found = (hashlib.new(algorithm, data).hexdigest() for data in (ARCHIVE, OTHER))
    with pytest.raises(DamagedFileError) as caught:
        make(file={algorithm: published}).prepare(tmp_path)
    text = str(caught.value)
    assert f"expected {algorithm} {published}, found {found}" in text
    assert "Remove it" in text
    assert f"dataset.release.files.archive.{algorithm}=null" in text
    assert names(tmp_path) == ["horses.zip"]


def test_a_truncated_file_placed_by_hand_is_refused_by_its_size(make: MAKE, tmp_path: Path) -> None:
    (tmp_path / "horses.zip").write_bytes(ARCHIVE[:100])
    with pytest.raises(DamagedFileError, match=f"expected {len(ARCHIVE):,} bytes, found 100"):
        make(file={"sha256": SHA256, "size_bytes": len(ARCHIVE)}).prepare(tmp_path)


def test_the_first_file_is_trusted_and_then_pinned(make: MAKE, tmp_path: Path) -> None:
    (tmp_path / "horses.zip").write_bytes(ARCHIVE)
    make().prepare(tmp_path)
    (tmp_path / "horses.zip").write_bytes(OTHER)
    (tmp_path / "trainA/0.jpg").unlink()
    with pytest.raises(DamagedFileError, match="not the file that was first used here") as caught:
        make().prepare(tmp_path)
    text = str(caught.value)
    assert f"expected sha256 {SHA256}, found {hashlib.sha256(OTHER).hexdigest()}" in text
    assert f"remove horses.zip from {tmp_path / RECORD}" in text
    assert not (tmp_path / "trainA/0.jpg").exists()
    (tmp_path / RECORD).unlink()
    make().prepare(tmp_path)
    assert (tmp_path / "trainA/3.jpg").exists()


def test_a_pinned_file_that_the_publisher_replaced_is_refused(server: Server, make: MAKE, tmp_path: Path) -> None:
    url = server.url("horses.zip", ARCHIVE)
    make(url).prepare(tmp_path)
    (tmp_path / "trainA/0.jpg").unlink()
    server.url("horses.zip", OTHER)
    with pytest.raises(RuntimeError) as caught:
        make(url).prepare(tmp_path)
    assert f"expected sha256 {SHA256}, found {hashlib.sha256(OTHER).hexdigest()}" in str(caught.value)
    assert f"If the publisher has replaced it, remove horses.zip from {tmp_path / RECORD}." in str(caught.value)
    server.url("horses.zip", ARCHIVE)
    make(url).prepare(tmp_path)


def test_a_published_digest_that_no_mirror_meets_is_told(server: Server, make: MAKE, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        make(server.url("horses.zip", OTHER), file={"sha256": SHA256, "size_bytes": len(OTHER)}).prepare(tmp_path)
    text = str(caught.value)
    assert f"expected sha256 {SHA256}, found {hashlib.sha256(OTHER).hexdigest()}" in text
    assert "add dataset.release.files.archive.sha256=null dataset.release.files.archive.size_bytes=null" in text
    assert names(tmp_path) == []


def test_dead_mirrors_leave_a_short_message_with_the_steps(server: Server, make: MAKE, tmp_path: Path) -> None:
    first, second = dead(server), dead(server, "ill.zip", 503)
    with pytest.raises(RuntimeError) as caught:
        make(first, second, file={"sha256": SHA256, "size_bytes": len(ARCHIVE)}).prepare(tmp_path)
    assert str(caught.value).splitlines() == [
        f"Horses in {tmp_path} is incomplete:",
        "  trainA: found nothing, expected at least 3",
        "  trainB: found nothing, expected at least 3",
        "no mirror delivered horses.zip:",
        f"  {first}: HTTP 404 Not Found",
        f"  {second}: HTTP 503 Service Unavailable",
        "By hand (home page: https://example.org/horses):",
        "  1. get horses.zip by the link on the home page",
        f"  2. put horses.zip ({len(ARCHIVE):,} bytes, sha256 {SHA256}) into {tmp_path}",
        f"  3. run again: stylebench prepare dataset=horses dataset.root={tmp_path}",
    ]
    (tmp_path / "horses.zip").write_bytes(ARCHIVE)
    make(first, second, file={"sha256": SHA256}).prepare(tmp_path)  # as the message says
    assert names(tmp_path) == ["horses.zip", "trainA", "trainB"]


def test_only_the_first_missing_parts_are_named(server: Server, make: MAKE, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "0.jpg").write_bytes(b"x")
    with pytest.raises(RuntimeError) as caught:
        make(dead(server), layout={"a": 1, "b": 1, "c": 2, "d": 1, "e": 1, "f": 1}).prepare(tmp_path)
    assert str(caught.value).splitlines()[:6] == [
        f"Horses in {tmp_path} is incomplete:",
        "  a: found nothing, expected at least 1",
        "  c: found nothing, expected at least 2",
        "  d: found nothing, expected at least 1",
        "  and 2 more",
        "no mirror delivered horses.zip:",
    ]


def test_terms_are_asked_for_before_anything_is_downloaded(server: Server, make: MAKE, tmp_path: Path) -> None:
    url = server.url("horses.zip", ARCHIVE)
    with pytest.raises(FileNotFoundError) as caught:
        make(url, license_click=True).prepare(tmp_path)
    text = str(caught.value)
    assert "research only (https://example.org/horses)" in text
    assert f"dataset.root={tmp_path} dataset.release.license_accepted=true" in text
    assert "put horses.zip (size and digest unknown) into" in text
    assert server.seen == []
    make(url, license_click=True, license_accepted=True).prepare(tmp_path)
    assert names(tmp_path) == ["trainA", "trainB"]


def test_files_behind_a_login_are_asked_for_by_name(make: MAKE, tmp_path: Path) -> None:
    for accepted in (False, True):
        with pytest.raises(FileNotFoundError) as caught:
            make(license_click=True, license_accepted=accepted).prepare(tmp_path)
        assert "license_accepted" not in str(caught.value)
        assert "put horses.zip" in str(caught.value)
    (tmp_path / "horses.zip").write_bytes(ARCHIVE)
    make(license_click=True).prepare(tmp_path)
    assert names(tmp_path) == ["horses.zip", "trainA", "trainB"]


@pytest.mark.parametrize(
    ("member", "match"), [("../evil.jpg", "leaves the folder"), ("/evil.jpg", "absolute path"), ("evil", "a link")]
)
def test_a_hostile_archive_leaves_nothing_behind(
    member: str, match: str, server: Server, make: MAKE, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name in (*images("trainA", "trainB"), member):
            info = tarfile.TarInfo(name)
            info.size = 1
            if name == "evil":
                info.type, info.linkname, info.size = tarfile.SYMTYPE, "/etc", 0
            file.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(ArchiveError, match=match):
        make(server.url("horses.zip", buffer.getvalue())).prepare(tmp_path / "data")
    assert names(tmp_path / "data") == ["horses.zip"]
    assert not (tmp_path / "evil.jpg").exists()
    assert "sha256" not in json.loads((tmp_path / "data" / RECORD).read_text())["horses.zip"]  # not trusted


def test_an_archive_larger_than_the_limit_is_refused(server: Server, make: MAKE, tmp_path: Path) -> None:
    big = pack({"trainA/0.jpg": os.urandom(200_000)})
    with pytest.raises(RuntimeError, match="more than the 100,000 that are allowed"):
        make(server.url("horses.zip", big), max_gb=1e-4).prepare(tmp_path)
    with pytest.raises(ArchiveError, match="more than the 5 files"):
        make(server.url("horses.zip", ARCHIVE), max_files=5).prepare(tmp_path)


def test_an_archive_of_something_else_is_refused(server: Server, make: MAKE, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"expected trainA, trainB in it, found cats"):
        make(server.url("horses.zip", pack(images("cats")))).prepare(tmp_path)
    assert names(tmp_path) == ["horses.zip"]


def test_an_archive_that_lacks_a_part_is_told(server: Server, make: MAKE, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        make(server.url("horses.zip", pack(images("trainA") | images("trainB", count=2)))).prepare(tmp_path)
    assert "trainB: found 2, expected at least 3" in str(caught.value)
    assert "trainA" not in str(caught.value)


@pytest.mark.parametrize("top", ["", "horses/", "download/horses/images/"])
def test_the_top_folders_of_an_archive_do_not_matter(top: str, server: Server, make: MAKE, tmp_path: Path) -> None:
    members = images(f"{top}trainA", f"{top}trainB") | {"__MACOSX/x": b"", "splits/list.txt": b""}
    make(server.url("horses.zip", pack(members))).prepare(tmp_path)
    assert names(tmp_path) == (["splits", "trainA", "trainB"] if not top else ["trainA", "trainB"])


def test_only_what_is_missing_is_downloaded(server: Server, make: MAKE, tmp_path: Path) -> None:
    files = {
        part: {
            "name": f"{part}.zip",
            "mirrors": [server.url(f"{part}.zip", pack(images(part)))],
            "extract": True,
            "gives": [part],
        }
        for part in ("trainA", "trainB")
    }
    for name in images("trainA"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    make(files=files).prepare(tmp_path)
    assert [seen.path for seen in server.seen] == ["/trainB.zip"]
    assert (tmp_path / "trainA/0.jpg").read_bytes() == b"mine"


def test_files_go_where_they_belong(server: Server, make: MAKE, tmp_path: Path) -> None:
    import gzip

    files = {
        "labels": {
            "name": "labels.gz",
            "mirrors": [server.url("labels.gz", gzip.compress(b"0123"))],
            "extract": True,
            "into": "MNIST/raw",
            "gives": ["MNIST/raw/labels"],
        },
        "plain": {"name": "usps.bz2", "mirrors": [server.url("usps.bz2", b"BZh")], "into": "USPS"},
        "placed": {"name": "test.mat", "into": "SVHN"},
    }
    (tmp_path / "test.mat").write_bytes(b"mat")
    make(files=files, layout={"MNIST/raw/labels": 1, "USPS/usps.bz2": 1, "SVHN/test.mat": 1}).prepare(tmp_path)
    assert names(tmp_path) == ["MNIST", "SVHN", "USPS"]
    assert (tmp_path / "MNIST/raw/labels").read_bytes() == b"0123"
    assert (tmp_path / "USPS/usps.bz2").read_bytes() == b"BZh"
    assert (tmp_path / "SVHN/test.mat").read_bytes() == b"mat"


def test_data_in_a_folder_below_is_pointed_to(server: Server, make: MAKE, tmp_path: Path) -> None:
    below = tmp_path / "old" / "horses"
    for name in images("trainA", "trainB"):
        (below / name).parent.mkdir(parents=True, exist_ok=True)
        (below / name).write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=re.escape(f"set dataset.root={below}")):
        make(server.url("horses.zip", ARCHIVE)).prepare(tmp_path)
    assert server.seen == []
    make().prepare(below)


def test_keep_archives_keeps_them(server: Server, make: MAKE, tmp_path: Path) -> None:
    make(server.url("horses.zip", ARCHIVE), keep_archives=True).prepare(tmp_path)
    assert names(tmp_path) == ["horses.zip", "trainA", "trainB"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", ["download", "extract", "merge", "tidy"])
def test_a_killed_prepare_is_continued(
    step: str, server: Server, make: MAKE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = make(server.url("horses.zip", ARCHIVE, stops=[300] if step == "download" else []))

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if step == "download":
            patched.setattr("stylebench.download._log.warning", die)  # before the second attempt
        elif step == "extract":
            patched.setattr(archives, "extract", die)
        elif step == "merge":
            replace, calls = os.replace, []

            def once(source: Any, target: Any) -> None:
                if "extracted" in str(source):
                    calls.append(source)
                    if len(calls) > 1:
                        raise Killed
                replace(source, target)

            patched.setattr(archives.os, "replace", once)
            patched.setattr(archives.shutil, "rmtree", lambda *_, **__: None)  # a kill cleans up nothing
        else:
            unlink = Path.unlink
            patched.setattr(
                Path, "unlink", lambda path, **known: die() if path.suffix == ".zip" else unlink(path, **known)
            )
        with pytest.raises(Killed):
            release.prepare(tmp_path)
    release.prepare(tmp_path)
    assert names(tmp_path) == ["trainA", "trainB"]
    assert not release.missing(tmp_path)
    if step == "download":
        assert [seen.range for seen in server.seen] == [None, "bytes=300-"]
    else:
        assert len(server.seen) == 1


def test_another_job_is_waited_for(
    server: Server, make: MAKE, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    release = make(server.url("horses.zip", ARCHIVE))
    lock = FileLock(module._lock_file(tmp_path))
    lock.acquire()
    job = threading.Thread(target=release.prepare, args=(tmp_path,))
    job.start()
    while "waiting for another job that prepares Horses" not in caplog.text:
        time.sleep(0.005)
    assert server.seen == []
    assert list(tmp_path.iterdir()) == []
    lock.release()
    job.join()
    assert names(tmp_path) == ["trainA", "trainB"]


def test_no_lock_stays_beside_the_data(server: Server, make: MAKE, tmp_path: Path) -> None:
    make(server.url("horses.zip", ARCHIVE)).prepare(tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [RECORD, "trainA", "trainB"]
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert module._lock_file(tmp_path / "link") == module._lock_file(tmp_path / "data")  # one folder, one lock
    assert module._lock_file(tmp_path) != module._lock_file(tmp_path / "data")


def test_a_cache_that_cannot_be_written_is_told(make: MAKE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RuntimeError, match=r"cannot write to the cache folder .*cache: .* set STYLEBENCH_CACHE"):
        make().prepare(tmp_path / "data")


@pytest.mark.parametrize("text", ["", "[]", '{"horses.zip": 3}', "{"])
def test_a_damaged_record_is_not_overlooked(text: str, make: MAKE, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(text)
    (tmp_path / "horses.zip").write_bytes(ARCHIVE)
    with pytest.raises(DamagedFileError, match="remove it to trust those files again"):
        make().prepare(tmp_path)


def test_layout_counts_images_files_and_patterns(make: MAKE, tmp_path: Path) -> None:
    for name in (
        "train/cat/a.jpg", "train/cat/deep/b.PNG", "train/cat/note.txt", "train/cat/.c.jpg", "train/cat/.tmp/d.jpg",
        "SRF_4/x_HR.png", "SRF_4/x_LR.png", "list.txt",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    layout = {"train/cat": 2, "train": 2, "SRF_4/*_HR.png": 1, "list.txt": 1}
    assert make(layout=layout).missing(tmp_path) == []
    assert make(layout={key: count + 1 for key, count in layout.items()}).missing(tmp_path) == [
        "train/cat: found 2, expected at least 3",
        "train: found 2, expected at least 3",
        "SRF_4/*_HR.png: found 1, expected at least 2",
        "list.txt: found 1, expected at least 2",
    ]
    assert make(layout={"nowhere": 1}).missing(tmp_path) == ["nowhere: found nothing, expected at least 1"]


def test_arrangements_run_on_complete_data(server: Server, make: MAKE, tmp_path: Path) -> None:
    class Step:
        def arrange(self, root: Path) -> None:
            with (root / "seen").open("a") as file:
                file.write((root / "trainA/0.jpg").read_text() + "\n")

    release = make(server.url("horses.zip", ARCHIVE), arrange=[Step()])
    release.prepare(tmp_path)
    release.prepare(tmp_path)
    assert (tmp_path / "seen").read_text() == "horses/trainA 0\n" * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"file": {"into": "../elsewhere"}},
        {"file": {"into": "/etc"}},
        {"file": {"name": "../horses.zip"}},
        {"layout": {"../trainA": 1}},
        {"file": {"sha256": "12"}},
        {"file": {"md5": SHA256}},
    ],
)
def test_a_configuration_that_cannot_be_right_is_refused(wrong: dict[str, Any], make: MAKE) -> None:
    with pytest.raises(ValueError, match=r"must be relative|must have \d+ digits"):
        make(**wrong)


def test_an_unknown_key_of_a_file_is_refused(make: MAKE) -> None:
    with pytest.raises(TypeError, match="sha"):
        make(file={"sha": SHA256})


def test_describe_says_what_a_reader_asks(make: MAKE) -> None:
    facts = make("https://example.org/horses.zip", file={"sha256": SHA256, "size_bytes": 5}).describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["license"] == "research only"
    assert facts["files"] == [f"horses.zip (5 bytes, sha256 {SHA256})"]
