"""The studies' protocols, and running them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import feredge.baselines as baselines
from feredge.baselines.protocols import course_2024, six_class, study_2022
from feredge.commands.baselines import command
from feredge.data import Dataset, drawn
from feredge.errors import DataError
from feredge.inference.contract import CLASSES

TRAINING_COUNTS = (3995, 436, 4097, 7215, 4830, 3171, 4965)  # images a class in FER2013
TEST_COUNTS = (958, 111, 1024, 1774, 1247, 831, 1233)  # in both test splits together


@pytest.fixture(scope="module")
def fer2013() -> Dataset:
    """The labels and splits of FER2013 in a random order, with a pixel an image."""
    order = np.random.default_rng(1).permutation(35887)
    labels = np.concatenate([np.repeat(np.arange(7), TRAINING_COUNTS), np.repeat(np.arange(7), TEST_COUNTS)])
    usage = np.where(np.arange(35887) < 28709, "Training", np.where(np.arange(35887) % 2, "PublicTest", "PrivateTest"))
    images = np.zeros((35887, 1, 1, 1), np.uint8)
    return Dataset(images, labels[order].astype(np.int8), usage[order], np.arange(35887), CLASSES, "", "fer2013.csv")


def test_study_2022_cuts_the_training_rows_in_three(fer2013: Dataset) -> None:
    """Guards the published sizes: 70 / 15 / 15 of 28,709 rows, and no row in two parts."""
    splits = study_2022(fer2013)
    assert (len(splits.train), len(splits.test), splits.deviation) == (20096, 4307, "")
    assert not set(splits.train.rows) & set(splits.test.rows)
    assert set(splits.train.usage) == {"Training"} == set(splits.test.usage)


def test_six_class_takes_the_first_of_each_class(fer2013: Dataset) -> None:
    """Guards the published balance: 3,000 of each class but disgust, the first by row, tested on 7,067."""
    splits = six_class(fer2013)
    assert splits.train.classes == tuple(name for name in CLASSES if name != "disgust")
    assert np.bincount(splits.train.labels).tolist() == [3000] * 6
    assert (len(splits.test), splits.deviation) == (7067, "")
    happy = np.flatnonzero((fer2013.usage == "Training") & (fer2013.labels == CLASSES.index("happy")))[:3000]
    assert np.array_equal(splits.train.rows[splits.train.labels == 2], happy)


def test_course_2024_cuts_the_training_rows_in_two(fer2013: Dataset) -> None:
    """Guards the published sizes: 80 / 20 of 28,709 rows, with a test split held out of both."""
    splits = course_2024(fer2013)
    assert (len(splits.train), len(splits.test)) == (22967, 5742)
    assert splits.held_out is not None and set(splits.held_out.usage) == {"PublicTest"}


def test_another_size_is_said_to_deviate(fer2013: Dataset) -> None:
    """Guards the note in the table: without PrivateTest a figure is not the study's."""
    assert "7,067" in six_class(fer2013.take(fer2013.usage != "PrivateTest")).deviation
    assert "28,709" in study_2022(fer2013.take(np.arange(1000))).deviation


def test_a_set_without_test_images_is_one_clear_line(fer2013: Dataset) -> None:
    """Guards a csv without `Usage`, which has nothing that the six-class protocol could test on."""
    with pytest.raises(DataError, match="PublicTest"):
        six_class(fer2013.take(fer2013.usage == "Training"))


def test_reproduce_measures_the_kept_file(tmp_path: Path) -> None:
    """Guards the figures: those of the file on the protocol's images, and the same again from what is kept; and
    that what is kept may be damaged.
    """
    faces = drawn(490)
    first = baselines.reproduce(faces, ["study-2022-rf"], cache=tmp_path)[0]
    splits = study_2022(faces)
    probabilities = baselines.open_baseline(first.path).predict(splits.test.images)
    assert first.measured["test"] == (probabilities.argmax(axis=1) == splits.test.labels).mean()
    assert first.measured["train"] > first.measured["test"] and "28,709" in first.deviation
    assert baselines.reproduce(faces, ["study-2022-rf"], cache=tmp_path)[0] == first
    (first.path.parent / "accuracy.json").write_text("{}")
    assert baselines.reproduce(faces, ["study-2022-rf"], cache=tmp_path)[0] == first


def test_the_command_writes_results_and_a_table(tmp_path: Path) -> None:
    """Guards `feredge baselines`: a table with published and own figures, and JSON that tools can read."""
    done = CliRunner().invoke(command, ["--data", "drawn:350", "--only", "study-2022-nb", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "21.73%" in done.output and "published with 28,709" in done.output
    assert [row["id"] for row in json.loads((tmp_path / "baselines.json").read_text())] == ["study-2022-nb"]
