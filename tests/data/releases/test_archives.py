"""Archives: whole or not at all, never outside their folder, whatever they hold."""

import gzip
import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from stylebench.data.releases import archives
from stylebench.data.releases.archives import ArchiveError, extract

LIMITS = {"max_bytes": 10_000_000, "max_files": 100}
PHOTO = b"\xff\xd8\xff" + bytes(range(256)) * 40


def make_zip(path: Path, members: dict[str, bytes], **attributes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            for key, value in attributes.items():
                setattr(member, key, value)
            file.writestr(member, data)
    return path


def tar_member(name: str, data: bytes = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in attributes.items():
        setattr(member, key, value)
    return member, data


def make_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as file:
        for member, data in members:
            file.addfile(member, io.BytesIO(data) if member.size else None)
    return path


def refused(archive: Path, tmp_path: Path, match: str, **limits: int) -> None:
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(ArchiveError, match=match) as caught:
        extract(archive, tmp_path / "out", **(LIMITS | limits))
    assert str(archive) in str(caught.value)
    assert "nothing was extracted" in str(caught.value)
    assert sorted(path for path in tmp_path.rglob("*")) == before


MAKERS: dict[str, Callable[[Path], Path]] = {
    "zip": lambda tmp: make_zip(tmp / "a.zip", {"train/": b"", "train/a.jpg": PHOTO, "b.txt": b"two"}),
    "tar": lambda tmp: make_tar(
        tmp / "a.tar",
        tar_member("./train", type=tarfile.DIRTYPE),
        tar_member("./train/a.jpg", PHOTO),
        tar_member("./b.txt", b"two"),
    ),
    "tar.gz": lambda tmp: make_tar(tmp / "a.tar.gz", tar_member("train/a.jpg", PHOTO), tar_member("b.txt", b"two")),
    "tgz": lambda tmp: make_tar(tmp / "a.tgz", tar_member("train/a.jpg", PHOTO), tar_member("b.txt", b"two")),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_extract_writes_every_file(kind: str, tmp_path: Path) -> None:
    archive = MAKERS[kind](tmp_path)
    assert extract(archive, tmp_path / "out", **LIMITS) == 2
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {"train/a.jpg", "b.txt"}
    assert (tmp_path / "out/train/a.jpg").read_bytes() == PHOTO
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([archive.name, "out"])


def test_extract_tells_the_kind_by_the_first_bytes_not_by_the_name(tmp_path: Path) -> None:
    archive = MAKERS["tar.gz"](tmp_path).rename(tmp_path / "download.zip")
    assert extract(archive, tmp_path / "out", **LIMITS) == 2


def test_extract_unpacks_a_single_gzipped_file(tmp_path: Path) -> None:
    archive = tmp_path / "labels-idx1-ubyte.gz"
    archive.write_bytes(gzip.compress(b"0123"))
    extract(archive, tmp_path / "out", **LIMITS)
    assert (tmp_path / "out/labels-idx1-ubyte").read_bytes() == b"0123"


def test_extract_leaves_out_what_macos_adds(tmp_path: Path) -> None:
    members = {"a.jpg": PHOTO, "__MACOSX/._a.jpg": b"x", ".DS_Store": b"x", "d/._b": b"x"}
    assert extract(make_zip(tmp_path / "a.zip", members), tmp_path / "out", **LIMITS) == 1
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["a.jpg"]


def test_extract_gives_no_permissions_away(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", tar_member("tool", b"#!/bin/sh", mode=0o4777))
    extract(archive, tmp_path / "out", **LIMITS)
    assert (tmp_path / "out/tool").stat().st_mode & 0o7111 == 0


HOSTILE_NAMES = {
    "/etc/passwd": "absolute path",
    "C:/windows/a.jpg": "absolute path",
    "../outside.jpg": "leaves the folder",
    "train/../../outside.jpg": "leaves the folder",
    "train\\..\\..\\outside.jpg": "backslash",
    "train/a\nb.jpg": "control character",
    "x" * 256 + ".jpg": "more than 255 bytes",
    ".": "without a name",
}


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: repr(name)[:30])
def test_extract_refuses_hostile_names_in_a_zip(name: str, tmp_path: Path) -> None:
    refused(make_zip(tmp_path / "a.zip", {"good.jpg": PHOTO, name: b"evil"}), tmp_path, HOSTILE_NAMES[name])


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: repr(name)[:30])
def test_extract_refuses_hostile_names_in_a_tar(name: str, tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", tar_member("good.jpg", PHOTO), tar_member(name, b"evil"))
    refused(archive, tmp_path, HOSTILE_NAMES[name])


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("symlink", {"type": tarfile.SYMTYPE, "linkname": "/etc"}),
        ("symlink inside", {"type": tarfile.SYMTYPE, "linkname": "good.jpg"}),
        ("hardlink", {"type": tarfile.LNKTYPE, "linkname": "good.jpg"}),
        ("character device", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
        ("block device", {"type": tarfile.BLKTYPE, "devmajor": 8}),
        ("fifo", {"type": tarfile.FIFOTYPE}),
    ],
)
def test_extract_refuses_links_and_devices_in_a_tar(kind: str, attributes: dict[str, object], tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", tar_member("good.jpg", PHOTO), tar_member("evil", **attributes))
    refused(archive, tmp_path, "'evil', a link, device")


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o010666], ids=["symlink", "device", "fifo"])
def test_extract_refuses_links_and_devices_in_a_zip(mode: int, tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"evil": b"/etc"}, external_attr=mode << 16, create_system=3)
    refused(archive, tmp_path, "'evil', a link or device")


def test_extract_refuses_encrypted_members(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"secret.jpg": PHOTO})
    raw = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(signature) + offset] |= 1
    archive.write_bytes(raw)
    refused(archive, tmp_path, "encrypted")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Train/a.jpg", "train/b.jpg"),  # folders
        ("train/a.jpg", "train/A.JPG"),
        ("caf\u00e9.jpg", "cafe\u0301.jpg"),  # composed and decomposed
        ("a.jpg", "a.jpg/b.jpg"),  # a file and a folder
        ("a/b.jpg", "a"),
        ("stra\u00dfe.jpg", "STRASSE.jpg"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_extract_refuses_names_that_collide(kind: str, first: str, second: str, tmp_path: Path) -> None:
    if kind == "zip":
        archive = make_zip(tmp_path / "a.zip", {first: b"1", second: b"2"})
    else:
        archive = make_tar(tmp_path / "a.tar", tar_member(first, b"1"), tar_member(second, b"2"))
    refused(archive, tmp_path, "would lie in the same place")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_extract_refuses_a_name_that_comes_twice(tmp_path: Path) -> None:
    refused(
        make_tar(tmp_path / "a.tar", tar_member("a.jpg", b"1"), tar_member("a.jpg", b"2")), tmp_path, "the same place"
    )
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.writestr("a.jpg", b"1")
        file.writestr("a.jpg", b"2")
    refused(tmp_path / "b.zip", tmp_path, "the same place")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "gz"])
def test_extract_refuses_more_bytes_than_allowed(kind: str, tmp_path: Path) -> None:
    data = os.urandom(3000)
    if kind == "zip":
        archive = make_zip(tmp_path / "a.zip", {"a": data[:1500], "b": data[1500:]})
    elif kind == "gz":
        archive = tmp_path / "a.gz"
        archive.write_bytes(gzip.compress(data))
    else:
        archive = make_tar(tmp_path / "a.tar.gz", tar_member("a", data[:1500]), tar_member("b", data[1500:]))
    refused(archive, tmp_path, "more than the 2,999 bytes", max_bytes=2999)
    extract(archive, tmp_path / "out", max_bytes=3000, max_files=2)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_extract_refuses_more_files_than_allowed(kind: str, tmp_path: Path) -> None:
    names = [f"{i}.txt" for i in range(4)]
    if kind == "zip":
        archive = make_zip(tmp_path / "a.zip", dict.fromkeys(names, b"x"))
    else:
        archive = make_tar(tmp_path / "a.tar", *(tar_member(name, b"x") for name in names))
    refused(archive, tmp_path, "more than the 3 files", max_files=3)
    assert extract(archive, tmp_path / "out", max_bytes=100, max_files=4) == 4


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "gz"])
def test_extract_refuses_a_bomb(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "RATIO_FREE_BYTES", 100_000)
    zeros = bytes(5_000_000)  # shrinks about 1000 : 1
    if kind == "zip":
        archive = make_zip(tmp_path / "a.zip", {"zeros.bmp": zeros})
    elif kind == "gz":
        archive = tmp_path / "zeros.gz"
        archive.write_bytes(gzip.compress(zeros))
    else:
        archive = make_tar(tmp_path / "a.tar.gz", tar_member("zeros.bmp", zeros))
    refused(archive, tmp_path, "expands more than 200 times")


def test_extract_counts_skipped_members_of_a_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "RATIO_FREE_BYTES", 100_000)
    archive = make_tar(tmp_path / "a.tar.gz", tar_member("__MACOSX/zeros", bytes(5_000_000)))
    refused(archive, tmp_path, "expands more than 200 times")


def test_extract_refuses_a_zip_whose_members_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many entries that point to the same compressed bytes: small file, huge sum."""
    monkeypatch.setattr(archives, "RATIO_FREE_BYTES", 100_000)
    data = os.urandom(4000)
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packed.compress(data) + packed.flush()
    head = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, zlib.crc32(data), len(body), len(data), 1, 0)
    central = b"".join(
        struct.pack(
            "<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, zlib.crc32(data), len(body), 2**31, 6, 0, 0, 0, 0, 0, 0
        )
        + f"{i:06d}".encode()
        for i in range(4)
    )
    at = len(head) + 1 + len(body)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 4, 4, len(central), at, 0)
    (tmp_path / "a.zip").write_bytes(head + b"a" + body + central + end)
    refused(tmp_path / "a.zip", tmp_path, "expands more than", max_bytes=2**40)


def test_extract_refuses_a_zip_that_lies_about_a_size(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.jpg": PHOTO})
    raw = bytearray(archive.read_bytes())
    at = raw.index(b"PK\x01\x02") + 24
    raw[at : at + 4] = struct.pack("<I", 10)  # declares 10 bytes, holds 10 243
    archive.write_bytes(raw)
    refused(archive, tmp_path, "damaged or truncated")


def test_extract_refuses_a_gigantic_tar_header(tmp_path: Path) -> None:
    member = tarfile.TarInfo("././@PaxHeader")
    member.type, member.size = tarfile.XHDTYPE, 2**21
    raw = member.tobuf(tarfile.USTAR_FORMAT) + bytes(2**21) + bytes(1024)
    archive = tmp_path / "a.tar"
    archive.write_bytes(raw)
    refused(archive, tmp_path, "a header of 2,097,152 bytes")


@pytest.mark.parametrize("kind", MAKERS)
def test_extract_refuses_a_truncated_archive(kind: str, tmp_path: Path) -> None:
    archive = MAKERS[kind](tmp_path)
    whole = archive.read_bytes()
    for part in (0.3, 0.9, 0.99) if kind != "tar" else (0.1, 0.3):  # a tar ends in kilobytes of padding
        archive.write_bytes(whole[: int(len(whole) * part)])
        refused(archive, tmp_path, "damaged or truncated")


def test_extract_refuses_a_tar_cut_between_two_members(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", tar_member("a.txt", b"x"), tar_member("b.txt", b"x"))
    archive.write_bytes(archive.read_bytes()[:1024])
    refused(archive, tmp_path, "without its end mark")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_extract_words_whatever_a_damaged_zip_makes_its_decoder_raise(method: int, tmp_path: Path) -> None:
    """bz2 raises a bare OSError, lzma and zlib errors of their own, a wrong offset the system's error."""
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", method) as file:
        file.writestr("a.jpg", PHOTO)
    whole = archive.read_bytes()
    begin = len("a.jpg") + 30  # behind the local header
    for at in (begin, begin + 4, begin + 20, len(whole) - 6, len(whole) - 3):  # the data, and the directory's offset
        archive.write_bytes(whole[:at] + bytes(byte ^ 0x55 for byte in whole[at : at + 4]) + whole[at + 4 :])
        refused(archive, tmp_path, "damaged or truncated")


def test_extract_leaves_the_systems_errors_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "out")

    archive = MAKERS["zip"](tmp_path)
    monkeypatch.setattr(archives._Sink, "add_file", fail)
    with pytest.raises(PermissionError):
        extract(archive, tmp_path / "out", **LIMITS)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_extract_refuses_a_flipped_bit(kind: str, tmp_path: Path) -> None:
    data = os.urandom(20_000)
    if kind == "zip":
        archive = make_zip(tmp_path / "a.zip", {"a.jpg": data})
    else:
        archive = make_tar(tmp_path / "a.tar.gz", tar_member("a.jpg", data))
    raw = bytearray(archive.read_bytes())
    raw[len(raw) // 2] ^= 1
    archive.write_bytes(raw)
    refused(archive, tmp_path, "damaged or truncated")


def test_extract_says_what_a_web_page_is(tmp_path: Path) -> None:
    page = tmp_path / "afhq_v2.zip"
    page.write_bytes(b"<!DOCTYPE html><html>quota exceeded</html>")
    refused(page, tmp_path, "is not a zip, tar or gzip archive.*DOCTYPE")


def test_extract_clears_what_a_killed_extraction_left(tmp_path: Path) -> None:
    left = tmp_path / ".out.partial/train"
    left.mkdir(parents=True)
    (left / "half.jpg").write_bytes(b"half")
    extract(MAKERS["zip"](tmp_path), tmp_path / "out", **LIMITS)
    assert not (tmp_path / "out/train/half.jpg").exists()
    assert not (tmp_path / ".out.partial").exists()


def test_extract_shows_nothing_before_all_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    archive = MAKERS["zip"](tmp_path)
    monkeypatch.setattr(archives.os, "rename", die)
    with pytest.raises(KeyboardInterrupt):
        extract(archive, tmp_path / "out", **LIMITS)
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


def test_extract_leaves_an_existing_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="expected no folder"):
        extract(MAKERS["zip"](tmp_path), tmp_path / "out", **LIMITS)


def test_extract_says_when_the_disk_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(RuntimeError, match="needs 10,246 bytes, but only 100 are free"):
        extract(MAKERS["zip"](tmp_path), tmp_path / "out", **LIMITS)
    assert not (tmp_path / "out").exists()
