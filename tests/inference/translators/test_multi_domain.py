"""The translator to several domains: the range of its network, targets, unknown names."""

import pytest
import torch
from torch import Tensor, nn

from stylebench.inference.translators.multi_domain import MultiDomainTranslator
from stylebench.nn.labels import DomainLabels


class ByLabel(nn.Module):
    """Multiplies each image by the number in its label vector that is told to count."""

    def __init__(self, label_channels: int) -> None:
        super().__init__()
        self.label_channels = label_channels

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return images * (labels @ torch.tensor([1.0, -1.0, 0.0])).view(-1, 1, 1, 1)


def images() -> Tensor:
    return torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))


def multi() -> MultiDomainTranslator:
    return MultiDomainTranslator(ByLabel, DomainLabels(["photo", "negative", "gray"]))


def test_the_network_works_in_the_signed_range() -> None:
    pictures = images()
    torch.testing.assert_close(multi().translate(pictures, domain="photo"), pictures, rtol=0, atol=1e-6)


def test_targets() -> None:
    translator, pictures = multi(), images()
    assert translator.generator.label_channels == 3
    torch.testing.assert_close(translator.translate(pictures, domain="negative"), 1 - pictures)
    torch.testing.assert_close(translator.translate(pictures, domain="gray"), torch.full_like(pictures, 0.5))
    torch.testing.assert_close(translator.translate(pictures), translator.translate(pictures, domain="gray"))
    each = translator(pictures, torch.tensor([1, 0]))  # in training: every image its own domain
    torch.testing.assert_close(each, torch.stack([-pictures[0], pictures[1]]))


@pytest.mark.parametrize(
    ("controls", "match"),
    [
        ({"domain": "painting"}, r"control domain is one of photo, negative, gray, got 'painting'"),
        ({"direction": "a_to_b"}, r"has no control 'direction'; its controls: domain"),
    ],
)
def test_multi_domain_refuses_what_it_does_not_know(controls: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        multi().translate(images(), **controls)
