"""Label tables: maps there and back, and tables that contradict themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from artoolkit.labels import MAX_CLASSES, VOID, LabelTable


def table(file_ids=(7, 26), void_ids=(0, VOID), **changes):
    count = len(file_ids)
    values = {"name": "toy", "names": tuple(f"c{i}" for i in range(count)),
              "colors": tuple((i, 1, 2) for i in range(count)), "file_ids": file_ids,
              "void_ids": void_ids}  # fmt: skip
    return LabelTable(**(values | changes))


def test_file_ids_become_train_ids_and_back():
    toy = table()
    labels = toy.to_train_ids(np.array([[0, 7], [26, 255]], np.uint8))
    assert labels.tolist() == [[255, 0], [1, 255]]
    assert labels.dtype == np.uint8
    # Void goes back to the first void id, which is what a test server expects (unlabeled).
    assert toy.to_file_ids(labels).tolist() == [[0, 7], [26, 0]]


@given(st.sets(st.integers(0, 254), min_size=1, max_size=MAX_CLASSES), st.randoms())
def test_train_ids_survive_the_way_through_a_file(ids, random):
    order = sorted(ids)
    random.shuffle(order)
    toy = table(tuple(order), (VOID,))
    everything = np.array([*range(toy.num_classes), VOID], np.uint8)
    assert np.array_equal(toy.to_train_ids(toy.to_file_ids(everything)), everything)


@given(st.sets(st.integers(0, 255)))
def test_unknown_ids_are_exactly_those_in_neither_list(ids):
    assert table().unknown_ids(ids) == tuple(sorted(ids - {0, 7, 26, 255}))


def test_colours_follow_the_train_ids_and_void_is_black():
    colors = table().colorize(np.array([[1, 0, 255]], np.uint8))
    assert colors.tolist() == [[[1, 1, 2], [0, 1, 2], [0, 0, 0]]]


def test_colours_are_read_as_colors():
    values = table().model_dump()
    values["colours"] = values.pop("colors")
    assert LabelTable.model_validate(values) == table()


def test_a_table_survives_json():
    assert LabelTable.model_validate_json(table().model_dump_json()) == table()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("a",)}, "differ in length"),
        ({"names": ("a", "a")}, "names has a value twice"),
        ({"file_ids": (7, 7)}, "file_ids has a value twice"),
        ({"file_ids": (0, 7)}, "both a class and void"),
        ({"file_ids": (7, 256)}, "must lie in 0-255"),
        ({"void_ids": (-1,)}, "must lie in 0-255"),
        ({"colors": ((0, 0, 0), (0, 0, 256))}, "color .* is outside 0-255"),
        ({"names": (), "colors": (), "file_ids": ()}, "0 classes, expected 1 to 254"),
        ({"unit": "m"}, "unit"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        table(**changes)


def test_255_stays_free_for_void():
    ids = tuple(range(MAX_CLASSES + 1))
    with pytest.raises(ValidationError, match="255 classes, expected 1 to 254"):
        table(ids, (VOID,))
