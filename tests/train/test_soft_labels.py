"""Distillation: files of soft labels, their identity, and resumed training with soft labels and teachers."""

from __future__ import annotations

import dataclasses
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_training import RECIPE, epochs_of, stop_in_the_second, stripes, with_training

from feredge import data, files
from feredge.data.dataset import Dataset
from feredge.errors import DataError, RunError
from feredge.importing.from_onnx import load_trained
from feredge.importing.run_from_weights import create_run
from feredge.keras import keras
from feredge.recipes.schema import Network
from feredge.run import RunFolder
from feredge.train import load_model, soft_labels, train
from feredge.train.networks import build_core

STUDENT_RECIPE = dataclasses.replace(
    with_training(RECIPE, epochs=2),
    augmentation=dataclasses.replace(RECIPE.augmentation, mixup=0.3, crop_size=12, progressive_sizes=(8, 12)),
)

WEIGHTED_POOL_CORE = build_core(dataclasses.replace(RECIPE.network, pool="weighted"), size=16, classes=7)
CORE_OF_SIZE_20 = build_core(RECIPE.network, size=20, classes=7)


@pytest.fixture(scope="module")
def labels(finished: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file of soft labels by the tiny network."""
    path: Path = tmp_path_factory.mktemp("soft_labels") / "soft.npz"
    soft_labels.make_soft_labels([finished, finished], stripes()).write(path)
    return path


def test_soft_labels_cover_the_training_images(finished: RunFolder, labels: Path) -> None:
    """Guards the rows, the mean of image and mirror image, and that test images are not used."""
    soft, dataset = soft_labels.read(labels), stripes()
    assert soft.teachers == (finished.training_record()["weights"],) * 2
    assert soft.sha256 == files.sha256(labels)
    held_out = dataset.usage[np.isin(dataset.rows, soft.rows)]
    assert len(soft.rows) == 336 and set(held_out.tolist()) == {"Training", "PublicTest"}  # tests are PrivateTest
    part = data.split(dataset, RECIPE.data).train.take(np.arange(20)[::-1])
    model = load_model(finished)
    logs = [np.log(model.predict(images, verbose=0)) for images in (part.images, part.images[:, :, ::-1])]
    expected = (logs[0] + logs[1]) / 2
    selected = soft.select(part)
    # The same up to a constant an image; the logarithm of a float32 probability near 1 keeps six digits.
    np.testing.assert_allclose(selected - selected[:, :1], expected - expected[:, :1], atol=2e-3)


def test_a_resumed_student_equals_an_uninterrupted_one(labels: Path, tmp_path: Path) -> None:
    """Guards resuming with soft labels, mixup, crops and sizes; another teacher's file is refused."""
    whole = train(STUDENT_RECIPE, stripes(), tmp_path / "whole", soft_labels=labels)

    with pytest.raises(KeyboardInterrupt):
        train(STUDENT_RECIPE, stripes(), tmp_path / "run", soft_labels=labels, progress=stop_in_the_second)
    with pytest.raises(RunError, match="belongs to another recipe or other data"):
        train(STUDENT_RECIPE, stripes(), tmp_path / "run")
    run = train(STUDENT_RECIPE, stripes(), tmp_path / "run", soft_labels=labels)
    results = [folder.training_record() for folder in (run, whole)]
    assert results[0]["weights"] == results[1]["weights"]
    assert results[0]["soft_labels"]["sha256"] == files.sha256(labels)
    with pytest.raises(RunError, match=r"was trained with soft labels [0-9a-f]{12}, found none"):
        train(STUDENT_RECIPE, stripes(), tmp_path / "run")
    # Trained on crops, it takes full images.
    assert load_model(run).input_shape == (None, 16, 16, 1)


def test_the_last_epochs_show_full_images(finished: RunFolder, tmp_path: Path) -> None:
    """Guards the change of image size between two epochs, for a teacher too, and resuming in the later one."""
    cropped = dataclasses.replace(RECIPE.augmentation, crop_size=15)
    student = dataclasses.replace(
        with_training(RECIPE, epochs=2),
        network=dataclasses.replace(RECIPE.network, pool="weighted"),
        augmentation=dataclasses.replace(cropped, full_image_epochs=1),
    )
    teacher = load_trained(finished.path)
    whole = train(student, stripes(), tmp_path / "whole", teachers=[teacher])
    with pytest.raises(KeyboardInterrupt):
        train(student, stripes(), tmp_path / "run", teachers=[teacher], progress=stop_in_the_second)
    run = train(student, stripes(), tmp_path / "run", teachers=[teacher])
    assert run.training_record()["weights"] == whole.training_record()["weights"]
    other = train(dataclasses.replace(student, augmentation=cropped), stripes(), tmp_path / "other", teachers=[teacher])
    assert epochs_of(other)[0] == epochs_of(whole)[0] and epochs_of(other)[1] != epochs_of(whole)[1]


def test_online_distillation_changes_the_weights(finished: RunFolder, tmp_path: Path) -> None:
    """Guards online distillation on crops that change size, and resuming with it."""
    teacher = load_trained(finished.path)
    whole = train(STUDENT_RECIPE, stripes(), tmp_path / "whole", teachers=[teacher, teacher])
    alone = train(STUDENT_RECIPE, stripes(), tmp_path / "alone")
    assert whole.training_record()["teachers"] == [teacher.digest] * 2
    with pytest.raises(KeyboardInterrupt):
        train(STUDENT_RECIPE, stripes(), tmp_path / "run", teachers=[teacher, teacher], progress=stop_in_the_second)
    with pytest.raises(RunError, match="belongs to another recipe or other data"):
        train(STUDENT_RECIPE, stripes(), tmp_path / "run", teachers=[teacher])
    run = train(STUDENT_RECIPE, stripes(), tmp_path / "run", teachers=[teacher, teacher])
    assert run.training_record()["weights"] == whole.training_record()["weights"] != alone.training_record()["weights"]
    with pytest.raises(RunError, match=r"was trained with teachers [0-9a-f]{12}, [0-9a-f]{12}, found none; choose"):
        train(STUDENT_RECIPE, stripes(), tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("a", "b")}, "expected a teacher of angry, .*, found one of a, b"),
        ({"core": CORE_OF_SIZE_20}, r"expected a teacher for images \(16, 16, 1\), found one for \(20, 20, 1\)"),
        ({"core": WEIGHTED_POOL_CORE}, "takes training images of sizes that change, found one that does not"),
    ],
)
def test_another_teacher_is_refused(finished: RunFolder, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """Guards against teachers of other classes or images."""
    teacher = dataclasses.replace(load_trained(finished.path), **change)
    with pytest.raises(RunError, match=message) as caught:
        train(STUDENT_RECIPE, stripes(), tmp_path / "run", teachers=[teacher])
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def _with_votes(labels: NDArray[np.int8], sure: int) -> Dataset:
    """Return stripes with `sure` of ten votes each for the class in `labels`."""
    votes = np.zeros((len(labels), 10), np.uint8)
    votes[np.arange(len(labels)), labels] = sure
    votes[:, 8] += np.uint8(10 - sure)
    return dataclasses.replace(stripes(), votes=votes)


def test_votes_predict_the_probability_of_a_label(finished: RunFolder) -> None:
    """Guards the predicted probabilities, and that votes on test images are not used."""
    plain = stripes()
    voted = np.where(np.arange(420) % 4 == 0, (plain.labels + 1) % 7, plain.labels)  # a quarter sees the next class
    soft = soft_labels.make_soft_labels([], _with_votes(voted, 8))
    shares = np.exp(soft.logits)
    train = voted[soft.rows]
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    # Of pictures voted to be of a class three in four are; the regression's own penalty pulls a little to the mean.
    assert np.abs(shares[np.arange(len(train)), train] - 0.75).max() < 0.08
    is_test = ~np.isin(plain.rows, soft.rows)
    changed = soft_labels.make_soft_labels([], _with_votes(np.where(is_test, 0, voted), 8))
    np.testing.assert_array_equal(changed.logits, soft.logits)
    network = soft_labels.make_soft_labels([finished], plain)
    both = soft_labels.make_soft_labels([finished], _with_votes(voted, 8))
    np.testing.assert_allclose(both.logits, (network.logits + soft.logits) / 2, atol=1e-5)
    assert both.teachers == network.teachers + soft.teachers and soft.teachers[0].startswith("votes ")


def test_soft_labels_need_a_teacher() -> None:
    """Guards the error without runs and votes."""
    with pytest.raises(DataError, match="expected votes on images of every class, found none"):
        soft_labels.make_soft_labels([], stripes())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", "expected a file of soft labels, cannot be read"),
        ("no array", "cannot be read .logits is no array"),
        ("not finite", "expected finite float32 logits"),
        ("other data", r"expected soft labels of stripes for angry, .*, found others"),
        ("few rows", "expected soft labels of 252 images, 251 of them have none"),
    ],
)
def test_another_file_is_refused(labels: Path, tmp_path: Path, damage: str, message: str) -> None:
    """Guards against soft labels of other images; no run folder is made."""
    soft, path = soft_labels.read(labels), tmp_path / "soft.npz"
    if damage == "cut":
        path.write_bytes(labels.read_bytes()[:2000])
    elif damage == "no array":  # numpy gives the bytes of such a member
        with zipfile.ZipFile(labels) as source, zipfile.ZipFile(path, "w") as archive:
            for name in source.namelist():
                archive.writestr(name, source.read(name)[name == "logits.npy" :])
    elif damage == "not finite":
        dataclasses.replace(soft, logits=soft.logits * np.float32(np.nan)).write(path)
    elif damage == "other data":
        dataclasses.replace(soft, data="0" * 64).write(path)
    else:
        row = data.split(stripes(), RECIPE.data).train.rows[:1]
        dataclasses.replace(soft, logits=soft.logits[:1], rows=row).write(path)
    with pytest.raises(DataError, match=message) as caught:
        train(STUDENT_RECIPE, stripes(), tmp_path / "run", soft_labels=path)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_teachers_must_agree_on_data(finished: RunFolder, tmp_path: Path) -> None:
    """Guards the mean against a network of other data or image size."""
    with pytest.raises(RunError, match="the data it was trained on"):
        soft_labels.make_soft_labels([finished], stripes(seed=1))
    larger = RunFolder(shutil.copytree(finished.path, tmp_path / "larger"))
    files.write_text(larger.recipe_file, larger.recipe_file.read_text().replace("size = 16", "size = 24"))
    with pytest.raises(RunError, match=r"larger: expected images of 16x16x1 like .*, found 24x24x1"):
        soft_labels.make_soft_labels([finished, larger], stripes())


def test_a_foreign_network_is_no_teacher(tmp_path: Path) -> None:
    """Guards an error in one line: the layer names of a foreign network do not say where its logits are."""
    x = pixels = keras.Input((16, 16, 1))
    x = keras.layers.Dense(7, "softmax", name="logits")(keras.layers.Flatten()(x))
    recipe = dataclasses.replace(RECIPE, network=Network(name="foreign"))
    run = create_run(keras.Model(pixels, x, name="core"), recipe, stripes(), tmp_path / "run")
    with pytest.raises(RunError, match=r"expected a network trained here, .* found a foreign one"):
        soft_labels.make_soft_labels([run], stripes())
