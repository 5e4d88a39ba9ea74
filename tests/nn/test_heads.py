"""The ends of networks on images in [0, 1]."""

import math

import pytest
import torch

from stylebench.nn.heads import HEADS, check_size, enter, leave


def test_the_first_convolution_sees_grey_levels_of_the_linear_head_alone() -> None:
    images = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1)
    assert enter(images, "linear").flatten().tolist() == [0.0, 127.5, 255.0]
    assert all(torch.equal(enter(images, head), images) for head in HEADS if head != "linear")


def test_the_last_output_becomes_rgb() -> None:
    maps = torch.tensor([0.0, math.atanh(0.5), 255.0]).view(1, 3, 1, 1)
    expected = {
        "linear": [0.0, math.atanh(0.5) / 255, 1.0],
        "tanh": [0.5, 0.8, 1.1],  # 0.5 + 0.6 tanh
        "paper": [0.5, 0.75, 1.0],  # (tanh + 1) / 2
    }
    assert set(expected) == set(HEADS)
    for head, values in expected.items():
        assert leave(maps, head).flatten().tolist() == pytest.approx(values, rel=1e-6)


def test_images_that_cannot_be_mirrored_are_refused() -> None:
    check_size(torch.zeros(2, 3, 5, 9), 5, "Net")
    with pytest.raises(ValueError, match=r"Net needs images of at least 5 x 5 px .* got 9 x 4"):
        check_size(torch.zeros(1, 3, 9, 4), 5, "Net")
    for shape in ((3, 9, 9), (1, 1, 9, 9)):
        with pytest.raises(ValueError, match="shape"):
            check_size(torch.zeros(shape), 5, "Net")
