"""Weights: found, downloaded from a server on this machine, verified, or refused with the way out."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torchvision.models import SqueezeNet1_0_Weights, VGG16_Weights

from stylebench import download
from stylebench.files import DamagedFileError
from stylebench.nn.encoders.weights import (
    Shipped,
    Source,
    load_metadata,
    load_state,
    random_seed,
    random_state,
    resolve_weights,
    torchvision_source,
)
from tests.helpers.file_server import Server, serving

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as found:
        yield found


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the waits between attempts, which are left out."""
    found: list[float] = []
    monkeypatch.setattr(download.time, "sleep", found.append)
    return found


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Move torch hub's folder, and return where it keeps weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def _left(hub: Path) -> list[str]:
    return sorted(path.name for path in hub.iterdir() if path.suffix != ".lock")


def test_torchvision_source_takes_the_digest_from_the_file_name() -> None:
    assert torchvision_source(VGG16_Weights.IMAGENET1K_FEATURES).digest == "88682ab5"
    source = torchvision_source(SqueezeNet1_0_Weights.IMAGENET1K_V1)
    assert source.file_name == "squeezenet1_0-b66bff10.pth"
    assert source.url == SqueezeNet1_0_Weights.IMAGENET1K_V1.url


def test_resolve_weights_downloads_once_and_verifies(server: Server, hub: Path) -> None:
    known = {"imagenet": Source(server.url(f"net-{DIGEST[:8]}.pth", CONTENT), DIGEST[:8])}
    found = resolve_weights("imagenet", known)
    assert found.path == hub / f"net-{DIGEST[:8]}.pth"
    assert found.digest == DIGEST
    assert found.path.read_bytes() == CONTENT
    assert _left(hub) == [found.path.name]
    dead = {"imagenet": Source(f"http://127.0.0.1:1/net-{DIGEST[:8]}.pth", DIGEST[:8])}
    assert resolve_weights("imagenet", dead) == found  # from the cache


def test_resolve_weights_continues_a_download_that_broke_off(server: Server, hub: Path) -> None:
    source = Source(server.url("net.pth", CONTENT, stops=[200_000]), DIGEST[:8])
    assert resolve_weights("imagenet", {"imagenet": source}).digest == DIGEST
    assert [(seen.range, seen.sent) for seen in server.seen] == [(None, 200_000), ("bytes=200000-", 56_000)]
    assert _left(hub) == ["net.pth"]


def test_resolve_weights_continues_what_a_kill_left(server: Server, hub: Path) -> None:
    hub.mkdir(parents=True)
    (hub / ".net.pth.partial").write_bytes(CONTENT[:100_000])
    source = Source(server.url("net.pth", CONTENT), DIGEST[:8])
    assert resolve_weights("imagenet", {"imagenet": source}).digest == DIGEST
    assert [seen.range for seen in server.seen] == ["bytes=100000-"]
    assert _left(hub) == ["net.pth"]


@pytest.mark.parametrize(
    ("behavior", "digest", "reason"),
    [
        ({}, "00000000", f"expected sha256 00000000, found {DIGEST}"),
        ({"stops": [128_000, 0, 0, 0]}, DIGEST[:8], "broke off after 128,000 of 256,000 bytes"),
        ({"statuses": [404]}, DIGEST[:8], "HTTP 404"),
    ],
)
def test_resolve_weights_refuses_a_bad_download_and_removes_it(
    behavior: dict[str, Any], digest: str, reason: str, server: Server, hub: Path, waits: list[float]
) -> None:
    source = Source(server.url(f"net-{digest}.pth", CONTENT, **behavior), digest)
    with pytest.raises(RuntimeError, match=reason) as caught:
        resolve_weights("imagenet", {"imagenet": source})
    for part in (f"net-{digest}.pth", source.url, f"begins {digest}", str(hub), "set weights"):
        assert part in str(caught.value)
    assert _left(hub) == []


def test_resolve_weights_without_a_network_names_file_digest_and_folder(hub: Path, waits: list[float]) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        known = {"imagenet": Source(f"http://127.0.0.1:{reserved.getsockname()[1]}/net-abcdef12.pth", "abcdef12")}
        with pytest.raises(RuntimeError, match=r"could not download net-abcdef12\.pth") as caught:
            resolve_weights("imagenet", known)
    for part in ("begins abcdef12", str(hub), "set weights"):
        assert part in str(caught.value)
    assert _left(hub) == []
    assert waits == [1.0, 2.0]


def test_resolve_weights_in_an_unusable_cache_names_the_folder(server: Server, hub: Path) -> None:
    hub.parent.mkdir()
    hub.write_text("a file where the folder should be")
    with pytest.raises(RuntimeError, match="could not download") as caught:
        resolve_weights("imagenet", {"imagenet": Source(server.url("net.pth", CONTENT), DIGEST[:8])})
    assert str(hub) in str(caught.value)
    assert server.seen == []


def test_resolve_weights_checks_the_cached_files_digest(hub: Path) -> None:
    hub.mkdir(parents=True)
    (hub / "net-00000000.pth").write_bytes(CONTENT)
    known = {"imagenet": Source("http://127.0.0.1:1/net-00000000.pth", "00000000")}
    with pytest.raises(DamagedFileError, match=f"begins 00000000, found {DIGEST}; remove the file"):
        resolve_weights("imagenet", known)


def test_resolve_weights_takes_a_path_or_says_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "mine.pth").write_bytes(CONTENT)
    assert resolve_weights(str(tmp_path / "mine.pth"), {}).digest == DIGEST
    known = {"imagenet": Source("http://127.0.0.1:1/x-00000000.pth", "00000000")}
    with pytest.raises(FileNotFoundError, match=r"weights must be imagenet, random or the path.*gone\.pth"):
        resolve_weights(str(tmp_path / "gone.pth"), known)


def test_resolve_weights_of_the_package_must_be_the_file_that_was_shipped(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(FileNotFoundError, match=r"incomplete: it has no .*net\.safetensors; reinstall stylebench"):
        resolve_weights("shipped", {"shipped": Shipped(path, DIGEST)})
    path.write_bytes(CONTENT)
    assert resolve_weights("shipped", {"shipped": Shipped(path, DIGEST)}) == (path, DIGEST)
    for digest, shown in (("0" * 64, "0" * 64), (DIGEST[:8], DIGEST[:8]), ("", r"\(none recorded\)")):
        with pytest.raises(DamagedFileError, match=rf"SHA-256 {shown}, found {DIGEST}; reinstall stylebench, or set"):
            resolve_weights("shipped", {"shipped": Shipped(path, digest)})


def test_random_seed_reads_seeds_and_leaves_names_and_paths() -> None:
    assert random_seed("random") == random_seed("random-0") == 0
    assert random_seed("random-17") == 17
    assert random_seed(f"random-{2**63 - 1}") == 2**63 - 1
    for name in ("imagenet", "shipped", "randomly.pth", "nets/random-x", "random_1"):
        assert random_seed(name) is None


@pytest.mark.parametrize(
    "weights", ["random-", "random--1", "random-x", "random-1.5", "random- 1", "random-1\n", f"random-{2**63}"]
)
def test_random_seed_refuses_what_is_no_seed(weights: str) -> None:
    with pytest.raises(ValueError, match=r"weights must be random-<seed> with a whole number from 0 to .*got"):
        random_seed(weights)


def test_random_seed_leaves_a_file_of_such_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "random-net.pth").write_bytes(CONTENT)
    assert random_seed("random-net.pth") is None


SHAPES = {"features.0.weight": (2, 3, 3, 3), "features.0.bias": (2,)}


def test_load_state_ignores_the_classifier_and_lifts_half_precision(tmp_path: Path) -> None:
    state = {key: torch.full(shape, 0.5).half() for key, shape in SHAPES.items()}
    torch.save({**state, "classifier.6.bias": torch.full((4,), float("nan"))}, tmp_path / "net.pth")
    found = load_state(tmp_path / "net.pth", SHAPES, "net")
    assert set(found) == set(SHAPES)
    assert all(tensor.dtype == torch.float32 for tensor in found.values())


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ([1, 2], "state dict of net .*found list"),
        ({"epoch": 3}, "state dict of net .*found dict"),
        ({"features.0.weight": torch.zeros(2, 3, 3, 3)}, r"missing: features\.0\.bias"),
        ({key: torch.zeros(7) for key in SHAPES}, r"features\.0\.weight \(7,\) instead of \(2, 3, 3, 3\)"),
        (
            {
                **{key: torch.zeros(shape) for key, shape in SHAPES.items()},
                **{f"layer{i}": torch.zeros(1) for i in range(5)},
            },
            "unexpected: layer0, layer1, layer2 and 2 more",
        ),
        ({key: torch.full(shape, float("inf")) for key, shape in SHAPES.items()}, "finite numbers, found others"),
    ],
)
def test_load_state_says_what_differs(saved: object, message: str, tmp_path: Path) -> None:
    torch.save(saved, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=message):
        load_state(tmp_path / "net.pth", SHAPES, "net")


def test_load_state_refuses_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(CONTENT)
    with pytest.raises(DamagedFileError, match=r"net\.pth cannot be read"):
        load_state(tmp_path / "net.pth", SHAPES, "net")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_load_state_reads_safetensors_and_their_metadata(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {key: torch.full(shape, 0.3, dtype=dtype) for key, shape in SHAPES.items()}
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file(state, path, {"encoder": "net"})
    found = load_state(path, SHAPES, "net")
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
    assert all(torch.equal(found[key], tensor.float()) for key, tensor in state.items())
    assert load_metadata(path) == {"encoder": "net"}
    safetensors.torch.save_file(state, path)
    assert load_metadata(path) == load_metadata(tmp_path / "net.pth") == {}


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"features.0.weight": torch.zeros(2, 3, 3, 3)}, r"missing: features\.0\.bias"),
        ({}, r"missing: features\.0\.weight, features\.0\.bias"),
        ({key: torch.zeros(7) for key in SHAPES}, r"features\.0\.weight \(7,\) instead of \(2, 3, 3, 3\)"),
        ({**{key: torch.zeros(shape) for key, shape in SHAPES.items()}, "x": torch.zeros(1)}, "unexpected: x"),
        ({key: torch.full(shape, 1e5).half() for key, shape in SHAPES.items()}, "finite numbers, found others"),
        (
            {key: torch.zeros(shape, dtype=torch.float64) for key, shape in SHAPES.items()},
            r"float16, bfloat16 or float32 weights, found features\.0\.bias torch\.float64",
        ),
    ],
)
def test_load_state_says_what_differs_in_safetensors(
    saved: dict[str, torch.Tensor], message: str, tmp_path: Path
) -> None:
    safetensors.torch.save_file(saved, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=message):
        load_state(tmp_path / "net.safetensors", SHAPES, "net")


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_load_state_refuses_damaged_safetensors(kept: int, tmp_path: Path) -> None:
    whole = safetensors.torch.save({key: torch.zeros(shape) for key, shape in SHAPES.items()})
    (tmp_path / "net.safetensors").write_bytes(whole[:kept])
    for read in (lambda path: load_state(path, SHAPES, "net"), load_metadata):
        with pytest.raises(DamagedFileError, match=r"net\.safetensors cannot be read as safetensors: .*get it again"):
            read(tmp_path / "net.safetensors")


def test_load_state_refuses_another_kind_of_file_named_safetensors(tmp_path: Path) -> None:
    torch.save({key: torch.zeros(shape) for key, shape in SHAPES.items()}, tmp_path / "net.safetensors")
    with pytest.raises(DamagedFileError, match="damaged, or another kind of file"):
        load_state(tmp_path / "net.safetensors", SHAPES, "net")


def test_random_state_is_seeded_and_scaled_for_relu() -> None:
    shapes = {"weight": (256, 64, 3, 3), "bias": (256,)}
    before = torch.get_rng_state()
    first, again, other = random_state(shapes), random_state(shapes), random_state(shapes, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first["weight"], again["weight"])
    assert not torch.equal(first["weight"], other["weight"])
    # 64 * 9 inputs: deviation sqrt(2 / 576); over 147,456 draws its relative error is 0.2 %.
    assert first["weight"].std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.01)
    assert first["bias"].abs().sum() == 0
