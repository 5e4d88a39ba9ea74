"""The FID network: geometry, taps, names that weights earn, files that are missing, damaged, or fetched."""

import hashlib
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from stylebench.files import DamagedFileError, file_digest
from stylebench.metrics.extractors import Inception, TorchvisionInception, fetch_inception, inception
from stylebench.metrics.extractors.inception import BlockA, BlockE, TFInception
from stylebench.metrics.weights import MissingWeightsError
from stylebench.nn.encoders.weights import Source
from tests.helpers.file_server import serving
from tests.metrics.extractors.contract import check_features, check_gradients, pictures


@pytest.fixture
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Move both caches, and return the package's own."""
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "cache" / "weights"


@pytest.fixture(scope="module")
def network() -> TFInception:
    return TFInception()


def test_tf_inception_parameter_count(network: TFInception) -> None:
    # torchvision's 27,161,264 less its auxiliary head's 3,326,696, and 8 classes of 2048 + 1 more: 23,850,960.
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_850_960


def test_tf_inception_has_the_tensors_of_the_published_file(network: TFInception) -> None:
    # torchvision's network has the same layers, but for its auxiliary head and 1000 classes.
    others = TorchvisionInception("random").network.state_dict()
    shapes = {key: value.shape for key, value in network.state_dict().items() if not key.startswith("fc.")}
    assert shapes == {key: value.shape for key, value in others.items()}
    assert network.fc.weight.shape == (1008, 2048)


def test_pools_leave_padding_out_and_the_last_takes_the_maximum() -> None:
    # The pool's branch gets 3 x 3 neighborhoods: of a constant the average is the constant, up to the border.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block, average, maximum = BlockA(4, 2).eval(), BlockE(4, max_pooled=False).eval(), BlockE(4, max_pooled=True)
    maximum.load_state_dict(average.state_dict())
    maximum.eval()
    with torch.no_grad():
        constant = block(torch.ones(1, 4, 5, 5))[:, -2:]
        assert torch.allclose(constant, constant[..., :1, :1])
        x = torch.rand(1, 4, 5, 5, generator=torch.Generator().manual_seed(0))
        own = average(x)[:, :-192]
        assert torch.equal(own, maximum(x)[:, :-192])
        torch.testing.assert_close(maximum(x)[:, -192:], maximum.branch_pool(F.max_pool2d(x, 3, 1, 1)))
        corner = x[..., :2, :2].mean((2, 3), keepdim=True)  # 4 of 9 neighbors exist
        torch.testing.assert_close(average(x)[:, -192:, :1, :1], average.branch_pool(corner))


def test_features_and_gradients() -> None:
    extractor = Inception("random", resize="legacy_tf", tap=192)
    features = check_features(extractor, pictures())
    assert 0.1 < float(features.std()) < 10
    check_gradients(extractor, pictures(1))


def test_taps_are_averages_of_the_published_layers(network: TFInception) -> None:
    seen = {}
    layers = {64: network.Conv2d_2b_3x3, 192: network.Conv2d_4a_3x3, 768: network.Mixed_6e, 2048: network.Mixed_7c}
    hooks = [
        part.register_forward_hook(lambda _m, _i, out, tap=tap: seen.update({tap: out})) for tap, part in layers.items()
    ]
    extractor = Inception("random")
    network.load_state_dict(extractor.network.state_dict())
    levels = torch.full((1, 3, 299, 299), 128.0)
    levels[..., :150] = 64
    with torch.no_grad():
        features = network.eval()((levels - 128) / 128, 2048)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(extractor(levels.to(torch.uint8)), features)
    torch.testing.assert_close(features, seen[2048].mean((2, 3)))
    assert [seen[tap].shape[1:] for tap in (64, 192, 768, 2048)] == [
        (64, 147, 147), (192, 71, 71), (768, 17, 17), (2048, 8, 8),
    ]  # fmt: skip
    for tap in (64, 192):
        pooled = F.max_pool2d(seen[tap], 3, 2).mean((2, 3))
        with torch.no_grad():
            torch.testing.assert_close(network((levels - 128) / 128, tap), pooled)


def test_random_weights_follow_their_seed_and_leave_torchs_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first, second = Inception("random-1", tap=64), Inception("random-2", tap=64)
    assert torch.equal(torch.rand(1), expected)
    assert first.digest != second.digest
    assert first.origin == "random"
    assert first.canonical == ()
    assert first.name == f"inception_64-{first.digest[:8]}"
    assert first.alias == "inception_64"


@pytest.fixture(scope="module")
def weights(network: TFInception, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file under the published name, with another digest."""
    path = tmp_path_factory.mktemp("weights") / inception.SOURCE.file_name
    torch.save(network.state_dict(), path)
    return path


def test_another_file_under_the_published_name_is_no_fid(weights: Path) -> None:
    found = Inception(str(weights))
    assert found.canonical == ()
    assert found.digest == file_digest(weights)
    assert (found.name, found.alias, found.origin) == (f"inception-{found.digest[:8]}", "inception", "natural")


@pytest.mark.parametrize(("tap", "earned"), [(2048, ("fid", "kid")), (768, ())])
def test_the_published_digest_and_the_last_tap_earn_the_name(
    tap: int, earned: tuple[str, ...], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception, "SOURCE", Source("http://127.0.0.1:1/x.pth", file_digest(weights)))
    assert Inception(str(weights), tap=tap).canonical == earned


def test_missing_weights_are_named_with_the_way_to_get_them(empty_caches: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"inception-2015-12-05-6726825d\.pth") as caught:
        Inception()
    for part in ("SHA-256 6726825d0af5f729", str(empty_caches), "stylebench prepare encoder=inception"):
        assert part in str(caught.value)
    with pytest.raises(MissingWeightsError, match=r"found no file.*stylebench prepare encoder=inception"):
        Inception(str(empty_caches / "mine.pth"))
    with pytest.raises(MissingWeightsError, match=r"inception_v3_google-0cc3c7bd\.pth .*0cc3c7bd"):
        TorchvisionInception()


def test_files_of_something_else_are_refused(network: TFInception, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state = network.state_dict()
    for content, reason in (
        ({"a": torch.zeros(1)}, "does not fit this network"),
        ([torch.zeros(1)], "tensors by name, found list"),
        ({**state, "fc.bias": torch.full((1008,), float("nan"))}, "finite numbers"),
    ):
        torch.save(content, path)
        with pytest.raises(DamagedFileError, match=reason):
            Inception(str(path))
    path.write_bytes(b"no weights")
    with pytest.raises(DamagedFileError, match="cannot be read"):
        Inception(str(path))


def test_bad_options_and_images_are_refused() -> None:
    with pytest.raises(ValueError, match="64, 192, 768, 2048, got 100"):
        Inception("random", tap=100)
    with pytest.raises(ValueError, match="clean, legacy_torch, legacy_tf, tm19, got 'none'"):
        Inception("random", resize="none")
    extractor = Inception("random", tap=64)
    with pytest.raises(TypeError, match="uint8 images, or float32"):
        extractor(pictures().double())
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        extractor(pictures()[:, :1])
    with pytest.raises(ValueError, match="has no feature maps"):
        extractor.maps(pictures())


def test_fetch_inception_downloads_once_and_refuses_another_file(
    empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * 100
    digest = hashlib.sha256(content).hexdigest()
    with serving() as server:
        monkeypatch.setattr(inception, "SOURCE", Source(server.url("w.pth", content), digest))
        assert fetch_inception() == fetch_inception() == empty_caches / "w.pth"
        assert (empty_caches / "w.pth").read_bytes() == content
        assert len(server.seen) == 1
        monkeypatch.setattr(inception, "SOURCE", Source(server.url("other.pth", content), "0" * 64))
        with pytest.raises(RuntimeError, match=f"found {digest}"):
            fetch_inception()
        assert not (empty_caches / "other.pth").exists()
    (empty_caches / "other.pth").write_bytes(content)
    with pytest.raises(DamagedFileError, match="remove the file"):
        fetch_inception()


def test_fetch_inception_takes_torch_hubs_copy(
    empty_caches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "torch" / "hub" / "checkpoints" / "w.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setattr(inception, "SOURCE", Source("http://127.0.0.1:1/w.pth", digest))
    assert fetch_inception() == path
    assert not empty_caches.exists()
