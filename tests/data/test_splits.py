import hashlib

import numpy as np
import pytest

from stylebench.data.splits import assign_splits, class_labels

IDS = [f"{i:05d}.jpg" for i in range(2000)]


def names(ids: list[str], splits: dict[str, np.ndarray]) -> dict[str, set[str]]:
    return {split: {ids[i] for i in indices} for split, indices in splits.items()}


def test_hashed_splits_part_the_images_in_the_given_proportions() -> None:
    splits = assign_splits(IDS, 0.1, 0.2)
    parts = [splits[name] for name in ("train", "val", "test")]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(IDS)))
    np.testing.assert_array_equal(splits["all"], np.arange(len(IDS)))
    # Binomial with n = 2000: three standard deviations are at most 54.
    assert abs(len(splits["val"]) - 200) < 54
    assert abs(len(splits["test"]) - 400) < 54
    assert all((np.diff(part) > 0).all() for part in parts)


def test_hashed_split_is_the_documented_function_of_the_id() -> None:
    splits = assign_splits(IDS, 0.1, 0.2)
    for index in (0, 1, 2, 3):
        place = int.from_bytes(hashlib.sha256(IDS[index].encode()).digest()[:8], "big") / 2.0**64
        expected = "test" if place < 0.2 else "val" if place < 0.3 else "train"
        assert index in splits[expected]


def test_adding_images_moves_none() -> None:
    few, many = names(IDS[::2], assign_splits(IDS[::2], 0.1, 0.1)), names(IDS, assign_splits(IDS, 0.1, 0.1))
    assert all(few[name] <= many[name] for name in ("train", "val", "test"))


@pytest.mark.parametrize("count", range(3, 12))
@pytest.mark.parametrize("fractions", [(0.01, 0.01), (0.49, 0.49), (0.3, 0.3)])
def test_no_wanted_split_is_empty_from_three_images_on(count: int, fractions: tuple[float, float]) -> None:
    splits = assign_splits(IDS[:count], *fractions)
    parts = [splits[name] for name in ("train", "val", "test")]
    assert all(len(part) for part in parts)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(count))


def test_fraction_zero_holds_nothing_out() -> None:
    splits = assign_splits(IDS[:5], 0.0, 0.0)
    assert [len(splits[name]) for name in ("train", "val", "test")] == [5, 5, 5]
    assert len(assign_splits(IDS, 0.1, 0.0)["test"]) == len(assign_splits(IDS, 0.1, 0.0)["train"]) < len(IDS)


@pytest.mark.parametrize("count", [1, 2])
def test_of_one_or_two_images_every_split_has_all(count: int) -> None:
    splits = assign_splits(IDS[:count], 0.1, 0.1)
    assert all(len(splits[name]) == count for name in ("train", "val", "test", "all"))


def test_folders_decide_where_there_are_any() -> None:
    ids = ["test/a.png", "train/b.png", "train/x/c.png", "Valid/d.png"]
    splits = assign_splits(ids, 0.4, 0.4)
    assert names(ids, splits) == {
        "train": {"train/b.png", "train/x/c.png"},
        "val": {"Valid/d.png"},
        "test": {"test/a.png"},
        "all": set(ids),
    }


def test_a_missing_val_folder_is_cut_out_of_train_alone() -> None:
    ids = [f"test/{i}.png" for i in range(5)] + [f"train/{i:03d}.png" for i in range(200)]
    found = names(ids, assign_splits(ids, 0.2, 0.2))
    assert found["test"] == set(ids[:5])
    assert found["val"]
    assert found["val"] | found["train"] == set(ids[5:])
    assert not found["val"] & found["train"]


def test_files_named_like_splits_decide_nothing() -> None:
    assert len(assign_splits(["test", "train", "x.png"], 0.1, 0.1)["all"]) == 3


def test_images_outside_the_split_folders_are_ambiguous() -> None:
    with pytest.raises(ValueError, match=r"others, such as c\.png, do not; move those into a split folder, or rename"):
        assign_splits(["test/a.png", "train/b.png", "c.png"], 0.1, 0.1)


@pytest.mark.parametrize("fractions", [(-0.1, 0.1), (0.5, 0.5), (0.0, 1.0)])
def test_fractions_out_of_range(fractions: tuple[float, float]) -> None:
    with pytest.raises(
        ValueError, match=rf"val_fraction and test_fraction must be .* got {fractions[0]} and {fractions[1]}"
    ):
        assign_splits(IDS, *fractions)


def test_class_labels_come_from_the_top_level_folders() -> None:
    classes, labels = class_labels(["cat/a.png", "cat/deep/b.png", "ant/c.png"])
    assert classes == ["ant", "cat"]
    np.testing.assert_array_equal(labels, [1, 1, 0])


def test_class_labels_lie_below_the_split_folders() -> None:
    classes, labels = class_labels(["test/dog/a.png", "train/cat/b.png", "train/dog/c.png"])
    assert classes == ["cat", "dog"]
    np.testing.assert_array_equal(labels, [1, 0, 1])


@pytest.mark.parametrize("ids", [["a.png", "cat/b.png"], ["train/a.png", "train/cat/b.png"], []])
def test_images_outside_class_folders_mean_no_labels(ids: list[str]) -> None:
    assert class_labels(ids) == ([], None)
