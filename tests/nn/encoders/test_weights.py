"""Weights: found, downloaded from a server on this machine, verified, or refused with the way out."""

import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torchvision.models import SqueezeNet1_0_Weights, VGG16_Weights

from stylebench.files import DamagedFileError
from stylebench.nn.encoders.weights import Source, load_state, random_state, resolve_weights, torchvision_source

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if "missing" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if "truncated" in self.path else CONTENT)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


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


def test_resolve_weights_downloads_once_and_verifies(server: str, hub: Path) -> None:
    known = {"imagenet": Source(f"{server}/net-{DIGEST[:8]}.pth", DIGEST[:8])}
    found = resolve_weights("imagenet", known)
    assert found.path == hub / f"net-{DIGEST[:8]}.pth"
    assert found.digest == DIGEST
    assert found.path.read_bytes() == CONTENT
    assert _left(hub) == [found.path.name]
    dead = {"imagenet": Source(f"http://127.0.0.1:1/net-{DIGEST[:8]}.pth", DIGEST[:8])}
    assert resolve_weights("imagenet", dead) == found  # from the cache


@pytest.mark.parametrize(
    ("name", "digest", "reason"),
    [
        ("net", "00000000", f"another SHA-256, {DIGEST}"),
        ("truncated", DIGEST[:8], f"broke off after {len(CONTENT) // 2} of {len(CONTENT)} bytes"),
        ("missing", DIGEST[:8], "404"),
    ],
)
def test_resolve_weights_refuses_a_bad_download_and_removes_it(
    name: str, digest: str, reason: str, server: str, hub: Path
) -> None:
    known = {"imagenet": Source(f"{server}/{name}-{digest}.pth", digest)}
    with pytest.raises(RuntimeError, match=reason) as caught:
        resolve_weights("imagenet", known)
    for part in (f"{name}-{digest}.pth", f"begins {digest}", str(hub), "set encoder.weights"):
        assert part in str(caught.value)
    assert _left(hub) == []


def test_resolve_weights_without_a_network_names_file_digest_folder_and_key(hub: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        known = {"imagenet": Source(f"http://127.0.0.1:{reserved.getsockname()[1]}/net-abcdef12.pth", "abcdef12")}
        with pytest.raises(RuntimeError, match=r"could not download net-abcdef12\.pth") as caught:
            resolve_weights("imagenet", known, key="judge.weights")
    for part in ("begins abcdef12", str(hub), "set judge.weights"):
        assert part in str(caught.value)
    assert _left(hub) == []


def test_resolve_weights_in_an_unusable_cache_names_the_folder(server: str, hub: Path) -> None:
    hub.parent.mkdir()
    hub.write_text("a file where the folder should be")
    with pytest.raises(RuntimeError, match="could not download") as caught:
        resolve_weights("imagenet", {"imagenet": Source(f"{server}/net-{DIGEST[:8]}.pth", DIGEST[:8])})
    assert str(hub) in str(caught.value)


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
    with pytest.raises(FileNotFoundError, match=r"encoder\.weights expects imagenet, random or the path.*gone\.pth"):
        resolve_weights(str(tmp_path / "gone.pth"), known)


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
