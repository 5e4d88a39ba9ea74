import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stylebench.data.folders import Folders
from stylebench.data.packing import ENTRIES, IMAGES, MANIFEST, in_threads

MakeFolders = Callable[..., Folders]
WriteImages = Callable[..., dict[str, np.ndarray]]

# Pack a folder in another process; each image takes a while, and each reaches the disk at once.
CHILD = """
import logging, sys, time
from stylebench.data import packing
from stylebench.data.folders import Folders
logging.basicConfig(level=logging.INFO)
folder, cache, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
packing.GROUP_SECONDS = 0.0
decode = packing.decode_image
def slow(*args):
    print("decoding", flush=True)
    time.sleep(seconds)
    return decode(*args)
packing.decode_image = slow
domain = Folders(cache, 64, 1_000_000, "stop", 0.2, 0.2).open(folder)
print("opened", len(domain), domain.digest, flush=True)
"""


def start_packing(folder: Path, cache: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(cache), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def only_pack(cache: Path) -> Path:
    (pack,) = (path for path in (cache / "packs").iterdir() if path.is_dir())
    return pack


def test_two_jobs_pack_once(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", [f"{i:02d}.png" for i in range(12)])
    jobs = [start_packing(tmp_path / "images", tmp_path / "cache", 0.1) for _ in range(2)]
    results = [job.communicate(timeout=60) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], results
    decoded = sorted(out.count("decoding") for out, _ in results)
    assert decoded == [0, 12]
    waiting = [err for out, err in results if "decoding" not in out]
    assert "waiting for another job that packs" in waiting[0]
    assert len({out.splitlines()[-1] for out, _ in results}) == 1


def test_a_killed_job_is_continued(tmp_path: Path, folders: MakeFolders, write_images: WriteImages) -> None:
    pixels = write_images(tmp_path / "images", [f"{i:02d}.png" for i in range(40)])
    job = start_packing(tmp_path / "images", tmp_path / "cache", 0.05)
    entries = None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (entries is None or entries.read_bytes().count(b"\n") < 5):
        time.sleep(0.01)
        entries = next((tmp_path / "cache").glob(f"packs/.*.partial/{ENTRIES}"), None)
    job.send_signal(signal.SIGKILL)
    job.communicate(timeout=60)
    assert entries is not None
    stored = entries.read_bytes().count(b"\n")
    assert 5 <= stored < 40
    with (entries.parent / IMAGES).open("ab") as images, entries.open("ab") as lines:
        images.write(b"the first bytes of an image that was never finished")
        lines.write(b'{"id": "half a li')
    again = start_packing(tmp_path / "images", tmp_path / "cache", 0.0)
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert out.count("decoding") == 40 - stored
    domain = folders().open(tmp_path / "images")
    for index, id_ in enumerate(domain.ids):
        np.testing.assert_array_equal(domain.image(index), pixels[id_])
    assert sorted(os.listdir(only_pack(tmp_path / "cache"))) == [IMAGES, MANIFEST]


def test_entries_without_their_pixels_are_packed_again(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages
) -> None:
    pixels = write_images(tmp_path / "images", ["a.png", "b.png", "c.png"])
    folders().open(tmp_path / "images")
    pack = only_pack(tmp_path / "cache")
    partial = pack.with_name(f".{pack.name}.partial")
    pack.rename(partial)
    (partial / MANIFEST).unlink()
    lines = [json.dumps({"id": id_, "shape": [20, 30]}) + "\n" for id_ in ("a.png", "b.png")]
    (partial / ENTRIES).write_text("".join(lines))
    os.truncate(partial / IMAGES, 20 * 30 * 3 + 7)  # a.png is whole, b.png is not
    domain = folders().open(tmp_path / "images")
    for index, id_ in enumerate(domain.ids):
        np.testing.assert_array_equal(domain.image(index), pixels[id_])


@pytest.mark.parametrize("damage", ["images", "manifest", "missing"])
def test_a_damaged_pack_is_packed_anew(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = write_images(tmp_path / "images", ["a.png", "b.png"])
    folders().open(tmp_path / "images")
    pack = only_pack(tmp_path / "cache")
    if damage == "images":
        os.truncate(pack / IMAGES, 100)
    elif damage == "manifest":
        os.truncate(pack / MANIFEST, 30)
    else:
        (pack / IMAGES).unlink()
    domain = folders().open(tmp_path / "images")
    np.testing.assert_array_equal(domain.image(1), pixels["b.png"])
    assert damage == "missing" or "packing again" in caplog.text


def test_no_room_on_the_disk(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "images", ["a.png", "b.png"], (60, 60))
    usage = namedtuple("usage", "total used free")
    need = 2 * 60 * 60 * 3
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, need - 1))
    with pytest.raises(
        RuntimeError, match=r"packing 2 images of .* needs 0\.00 GiB .* set dataset\.store\.cache to a folder"
    ):
        folders().open(tmp_path / "images")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, need))
    assert len(folders().open(tmp_path / "images")) == 2


def test_a_disk_that_fills_up_while_packing(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "images", ["a.png"])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        patch.setattr("stylebench.data.folders.write_json", lambda *_: None)
        with pytest.raises(
            RuntimeError, match=r"cannot write the pack of .*No space left on device; make .*dataset\.store\.cache"
        ):
            folders().open(tmp_path / "images")
    assert len(folders().open(tmp_path / "images")) == 1


def test_an_image_that_vanishes_while_packing_is_not_remembered(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "images", ["a.png"])

    def gone(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("stylebench.data.packing.decode_image", gone)
        with pytest.raises(
            RuntimeError, match=r"a\.png cannot be read any more: .*; check the disk it lies on, and run again"
        ):
            folders().open(tmp_path / "images")
    assert len(folders().open(tmp_path / "images")) == 1


def test_in_threads_keeps_the_order_and_shows_no_bar_for_short_work(capfd: pytest.CaptureFixture[str]) -> None:
    def work(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number * number

    assert list(in_threads(work, range(50), "squaring")) == [number * number for number in range(50)]
    assert capfd.readouterr() == ("", "")


def test_in_threads_passes_errors_on() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 // number, [2, 1, 0, 3], "dividing"))
