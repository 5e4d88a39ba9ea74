from collections.abc import Callable

import numpy as np
import pytest
import torch

from stylebench.data.augmentation import CropSettings
from stylebench.data.central_crops import CentralCrops
from stylebench.data.domain import Domain


@pytest.mark.parametrize(("count", "sizes"), [(7, [4, 3]), (8, [4, 4]), (9, [4, 5]), (1, [1]), (0, [])])
def test_every_image_comes_once_and_none_alone(
    count: int, sizes: list[int], make_domain: Callable[..., Domain]
) -> None:
    domain = make_domain([(8, 6)] * 9)
    crops = CentralCrops(domain, np.arange(count)[::-1], CropSettings(6, None, False), 4)
    for _ in range(2):  # it may be read again
        batches = list(crops)
        assert [len(batch) for batch in batches] == sizes
    for place, image in enumerate(torch.cat(batches) if batches else []):
        expected = torch.from_numpy(domain.image(count - 1 - place)[1:7]).permute(2, 0, 1) / 255
        torch.testing.assert_close(image, expected)
