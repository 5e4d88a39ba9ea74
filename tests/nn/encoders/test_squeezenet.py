"""SqueezeNet: torchvision's features, the `same` geometry, normalized fire modules, real weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.models import squeezenet1_0, squeezenet1_1

from stylebench.nn.encoders import SqueezeNetEncoder
from stylebench.nn.encoders.normalization import measure_means

TAPS = ("conv1", "pool1", "fire2", "fire3", "fire4", "pool4", "fire5", "fire6", "fire7", "fire8", "pool8", "fire9")
INDICES = dict(zip(TAPS, range(1, 13), strict=True))  # in torchvision's `features`
MEAN, STD = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))


def _check_valid_equals_torchvision(encoder: SqueezeNetEncoder, state: dict[str, Tensor], images: Tensor) -> None:
    with torch.random.fork_rng():
        reference = squeezenet1_0()
    reference.load_state_dict(state)
    found = encoder(images, TAPS)
    maps, wanted = (images - MEAN[:, None, None]) / STD[:, None, None], {index: tap for tap, index in INDICES.items()}
    with torch.no_grad():
        for index, layer in enumerate(reference.features):
            maps = layer(maps)
            if index in wanted:
                assert torch.equal(found[wanted[index]], maps), wanted[index]


def test_squeezenet_valid_equals_torchvision_bit_for_bit(
    tmp_path: Path, squeeze: Callable[..., SqueezeNetEncoder], images: Tensor
) -> None:
    with torch.random.fork_rng():
        state = squeezenet1_0().state_dict()
    torch.save(state, tmp_path / "squeezenet.pth")
    encoder = squeeze(weights=str(tmp_path / "squeezenet.pth"), padding="valid")
    assert encoder.taps == TAPS
    _check_valid_equals_torchvision(encoder, state, images[..., :61, :])


@pytest.mark.parametrize("side", [201, 255, 256])
def test_squeezenet_same_has_size_ceil_of_side_by_stride(side: int, squeezenet: SqueezeNetEncoder) -> None:
    found = squeezenet(torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)), TAPS)
    strides = dict(zip(TAPS, (2, 4, 4, 4, 4, 8, 8, 8, 8, 8, 16, 16), strict=True))
    assert squeezenet.strides == strides
    for tap, maps in found.items():
        assert maps.shape[2:] == (-(-side // strides[tap]),) * 2


def test_squeezenet_valid_has_the_sizes_it_was_trained_with(squeeze: Callable[..., SqueezeNetEncoder]) -> None:
    encoder = squeeze(padding="valid")
    found = encoder(torch.zeros(1, 3, 256, 256), ["conv1", "pool1", "pool4", "pool8"])
    assert [maps.shape[-1] for maps in found.values()] == [125, 62, 31, 15]
    for tap in TAPS:  # the minimum is exact
        least = encoder.minimum_px(tap)
        assert encoder(torch.zeros(1, 3, least, least), [tap])[tap].numel() > 0


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_squeezenet_normalized_fire_modules(
    padding: str, squeeze: Callable[..., SqueezeNetEncoder], pictures: Tensor, images: Tensor
) -> None:
    raw, normalized = squeeze(padding=padding), squeeze(padding=padding, normalize=True, calibration=pictures)
    taps = [group.tap for group in raw.groups()]
    assert taps == ["conv1", *(f"fire{number}" for number in range(2, 10))]
    means, remeasured = measure_means(raw, taps, pictures), measure_means(normalized, taps, pictures)
    before, after = raw(images, taps), normalized(images, taps)
    for tap in taps:
        alive = means[tap] >= 1e-6
        torch.testing.assert_close(remeasured[tap][alive], torch.ones_like(means[tap][alive]), rtol=0, atol=1e-3)
        unscaled = after[tap] * torch.where(alive, means[tap], 1.0).float()[:, None, None]
        assert (unscaled - before[tap]).norm() / before[tap].norm() < 1e-4, tap


def test_squeezenet_normalized_squeeze_maps_stay_as_they_are(
    squeeze: Callable[..., SqueezeNetEncoder], pictures: Tensor, images: Tensor
) -> None:
    found = []
    for encoder in (squeeze(), squeeze(normalize=True, calibration=pictures)):
        hook = encoder.stages["fire5"].squeeze.register_forward_hook(lambda *args: found.append(args[2].clone()))
        encoder(images, ["fire5"])
        hook.remove()
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)


def test_squeezenet_refuses_other_weights(tmp_path: Path, squeeze: Callable[..., SqueezeNetEncoder]) -> None:
    with torch.random.fork_rng():
        torch.save(squeezenet1_1().state_dict(), tmp_path / "squeezenet1_1.pth")
    with pytest.raises(ValueError, match=r"weights of squeezenet1_0_same, .*missing: features\.5.*unexpected"):
        squeeze(weights=str(tmp_path / "squeezenet1_1.pth"))
    with pytest.raises(ValueError, match=r"padding must be one of valid, same, got 'reflect'"):
        squeeze(padding="reflect")


def _photos(shared: Path, count: int, side: int) -> Tensor:
    """Read photographs spread over the folder, center-cropped, as (count, 3, side, side) uint8."""
    paths = sorted(path for path in (shared / "data/content/photos256").iterdir() if path.suffix in (".jpg", ".png"))
    crops = []
    for path in paths[:: len(paths) // count][:count]:
        image = Image.open(path).convert("RGB")
        left, top = (image.width - side) // 2, (image.height - side) // 2
        crops.append(np.array(image.crop((left, top, left + side, top + side))))
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)


def test_squeezenet_valid_with_real_weights_equals_torchvision(
    shared: Path, squeezenet_weights: Path, squeeze: Callable[..., SqueezeNetEncoder]
) -> None:
    encoder = squeeze(weights=str(squeezenet_weights), padding="valid")
    state = torch.load(squeezenet_weights, weights_only=True)  # noqa: TID251
    _check_valid_equals_torchvision(encoder, state, _photos(shared, 2, 227).float() / 255)


def test_squeezenet_same_classifies_nearly_as_valid(
    shared: Path, squeezenet_weights: Path, squeeze: Callable[..., SqueezeNetEncoder]
) -> None:
    # Over 400 photographs: same top-1 class for 74 %, old top-1 in the new top-5 for 96.5 %, cosine 0.98 (spec 0.4).
    # With 24, three standard errors are 27 % and 11 %.
    with torch.random.fork_rng():
        network = squeezenet1_0()
    network.load_state_dict(torch.load(squeezenet_weights, weights_only=True))  # noqa: TID251
    network.eval()
    photos, logits = _photos(shared, 24, 227).float() / 255, {}
    for padding in ("valid", "same"):
        encoder = squeeze(weights=str(squeezenet_weights), padding=padding)
        with torch.no_grad():
            scores = [network.classifier(encoder(photo, ["fire9"])["fire9"]).flatten(1) for photo in photos.split(8)]
        logits[padding] = torch.cat(scores)  # (N, 1000)
    first = logits["valid"].argmax(1)
    assert (logits["same"].argmax(1) == first).float().mean() > 0.47
    assert (logits["same"].topk(5).indices == first[:, None]).any(1).float().mean() > 0.85
    assert torch.cosine_similarity(logits["valid"], logits["same"]).mean() > 0.96


def test_squeezenet_built_in_calibration_holds_on_photographs(
    shared: Path, squeezenet_weights: Path, squeeze: Callable[..., SqueezeNetEncoder]
) -> None:
    encoder = squeeze(weights=str(squeezenet_weights), normalize=True)
    assert encoder.describe()["calibration"].startswith("dead_leaves-32x192-seed0-")
    for tap, means in measure_means(
        encoder, [group.tap for group in encoder.groups()], _photos(shared, 24, 192)
    ).items():
        # The mean follows the few channels that wait for objects, which no leaf shows; fire9 has most of them.
        assert 0.67 < means.mean() < (2.2 if tap == "fire9" else 1.7), tap
        assert 0.67 < means.median() < 1.5, tap
