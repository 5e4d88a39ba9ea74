"""What every extractor must do, checked in each one's tests."""

import torch

from stylebench.metrics.extractors import Extractor


def pictures(count: int = 2, size: int = 32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def check_features(extractor: Extractor, images: torch.Tensor) -> torch.Tensor:
    """Check shape and type, that images do not mix, and that uint8 and float images are seen alike."""
    together = extractor(images)
    assert together.shape == (len(images), extractor.width)
    assert together.dtype == torch.float32
    assert together.isfinite().all()
    assert not torch.allclose(together[:1], together[1:2])
    torch.testing.assert_close(extractor(images[1:2]), together[1:2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(extractor(images.float() / 255), together, rtol=1e-4, atol=1e-5)
    if extractor.taps:
        maps = extractor.maps(images)
        assert tuple(maps) == extractor.taps
        assert torch.equal(extractor.pool(maps), together)
    return together


def check_gradients(extractor: Extractor, images: torch.Tensor) -> None:
    """Check that gradients reach float images, weights have none, and uint8 images leave no graph behind."""
    extractor.train()
    assert not any(part.training for part in extractor.modules())
    floats = (images.float() / 255).requires_grad_()
    extractor(floats).square().sum().backward()
    assert floats.grad is not None
    assert floats.grad.isfinite().all()
    assert (floats.grad != 0).any()
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    assert extractor(images).grad_fn is None
