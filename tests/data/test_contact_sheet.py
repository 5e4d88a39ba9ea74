import numpy as np

from stylebench.data.contact_sheet import contact_sheet, labeled_rows
from tests.data.tasks.marked import marked


def test_a_row_for_each_domain_shows_its_images() -> None:
    sheet = contact_sheet({"a": marked(1, 5), "b": marked(2, 12, size=(200, 260))}, columns=8)
    assert sheet.shape == (2 * 132, 150 + 8 * 132, 3)
    first, second = sheet[64], sheet[132 + 64]
    for row, number, count in ((first, 1, 5), (second, 2, 8)):
        shown = [tuple(row[150 + 132 * column + 64]) for column in range(8)]
        assert [pixel[1] for pixel in shown[:count]] == [number] * count
        assert len({pixel[0] for pixel in shown[:count]}) == count
        assert shown[count:] == [(255, 255, 255)] * (8 - count)


def test_labels_and_header_are_drawn_beside_the_images() -> None:
    images = [np.full((20, 20, 3), 200, dtype=np.uint8)] * 2
    sheet = labeled_rows({"photo": images}, header=("one", "two"))
    assert sheet.shape == (28 + 24, 150 + 2 * 24, 3)
    assert (sheet[28:48, 150:170] == 200).all()
    assert sheet[:28].min() < 128  # the header
    assert sheet[28:, :150].min() < 128  # the label
    assert (labeled_rows({"": images})[:, :150] == 255).all()
