"""Fitting, keeping and opening baselines."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import feredge.baselines as baselines
from feredge.baselines import fitting
from feredge.baselines.conversion import to_onnx
from feredge.data import Dataset, Splits, drawn
from feredge.errors import ArtifactError, DataError, RecipeError, VerificationError
from feredge.inference.runtimes import open_artifact

IDS = [baseline.id for baseline in baselines.BASELINES]


def only(dataset: Dataset, *labels: int) -> Dataset:
    """Return the images of some classes."""
    return dataset.take(np.isin(dataset.labels, labels))


@pytest.mark.parametrize("id", IDS)
def test_a_baseline_is_a_runner_of_the_input_contract(
    id: str, fitted: dict[str, baselines.FittedBaseline], splits: Splits
) -> None:
    """Guards what the benchmark relies on: uint8 images in, probabilities of every class out, one answer per image."""
    runner = baselines.open_baseline(fitted[id].path)
    probabilities = runner.predict(splits.test.images)
    assert probabilities.dtype == np.float32 and probabilities.shape == (len(splits.test), 7)
    # float32 sums of up to 1,000 trees' shares
    assert np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-4) and probabilities.min() >= 0.0
    alone = np.concatenate([runner.predict(splits.test.images[i : i + 1]) for i in range(5)])
    assert np.allclose(alone, probabilities[:5], atol=1e-5)
    assert runner.card.classes == splits.train.classes and runner.card.recipe["name"] == id


@pytest.mark.parametrize("id", ["study-2022-pca-svm", "course-rf", "six-class-hog-rf"])
def test_a_baseline_learns(id: str, fitted: dict[str, baselines.FittedBaseline], splits: Splits) -> None:
    """Guards scaling and column order inside the file: a wrong one would leave chance level, 1/7."""
    probabilities = baselines.open_baseline(fitted[id].path).predict(splits.train.images)
    assert (probabilities.argmax(axis=1) == splits.train.labels).mean() > 0.5


def test_the_probabilities_of_a_forest_are_scikit_learns(
    fitted: dict[str, baselines.FittedBaseline], splits: Splits
) -> None:
    """Guards the smaller file: leaving empty classes out of the leaves must change nothing."""
    baseline, train, test = baselines.get_baseline("course-rf"), splits.train, splits.test
    features, unseen = (part.images.reshape(len(part), -1) / np.float32(255) for part in (train, test))
    expected = baseline.build().fit(features, train.labels).predict_proba(unseen)
    found = baselines.open_baseline(fitted[baseline.id].path).predict(test.images)
    assert np.abs(found - expected).max() < 1e-5  # float32 instead of float64


def test_a_baseline_of_pixels_is_an_ordinary_artifact(
    fitted: dict[str, baselines.FittedBaseline], splits: Splits
) -> None:
    """Guards `feredge predict` and other tools that open any feredge file."""
    assert open_artifact(fitted["study-2022-nb"].path).predict(splits.test.images).shape == (len(splits.test), 7)


def test_clusters_named_by_majority_fit_their_training_images_best(
    fitted: dict[str, baselines.FittedBaseline], splits: Splits
) -> None:
    """Guards the mapping: no other naming of the same clusters can be right more often where it was made."""
    right = {
        id: (baselines.open_baseline(fitted[id].path).predict(splits.train.images).argmax(1) == splits.train.labels)
        for id in ("six-class-kmeans", "six-class-kmeans-majority")
    }
    assert right["six-class-kmeans-majority"].mean() > right["six-class-kmeans"].mean()


def test_cross_validation_and_grid_search_are_kept(
    fitted: dict[str, baselines.FittedBaseline], splits: Splits, tmp_path: Path
) -> None:
    """Guards the figures that only the fit can measure, and that the benchmark does not pay for the folds."""
    neighbours = fitted["study-2022-pca-knn"].entry.verification
    assert neighbours["chosen"]["n_neighbors"] in (1, 3, 5, 7, 12, 15, 20) and 0 < neighbours["cv"] < 1
    assert "cv" not in fitted["course-rf"].entry.verification
    folded = dataclasses.replace(baselines.get_baseline("study-2022-rf"), folds=5)
    forest = fitting.fit_jobs([fitting.plan_fit(folded, splits.train, tmp_path)])[0].entry.verification
    assert 0 < forest["cv"] < 1 and forest["cv_std"] > 0


def test_what_is_fitted_is_not_fitted_again(
    fitted: dict[str, baselines.FittedBaseline], splits: Splits, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the cache: minutes of fitting on the whole csv; and its key: other data must not get these files."""
    submitted: list[fitting.FitJob] = []

    def run_parallel(function: object, jobs: list[fitting.FitJob]) -> list[Path]:
        submitted.extend(jobs)
        return []

    monkeypatch.setattr(fitting, "run_parallel", run_parallel)
    assert baselines.fit(IDS, splits, cache=cache) == list(fitted.values()) and not submitted
    other = dataclasses.replace(splits, train=splits.train.take(np.arange(160)))
    with pytest.raises(ArtifactError):  # nothing was fitted in this test
        baselines.fit(IDS[:1], other, cache=cache)
    assert [job.train for job in submitted] == [other.train]


def test_an_altered_file_is_refused(splits: Splits, tmp_path: Path) -> None:
    """Guards against a kept file that was damaged or exchanged, and against a process that was killed half way."""
    first = baselines.fit(["study-2022-nb"], splits, cache=tmp_path)[0]
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[:-1])
    with pytest.raises(ArtifactError, match="SHA-256"):
        baselines.fit(["study-2022-nb"], splits, cache=tmp_path)
    (first.path.parent / "manifest.json").unlink()
    assert baselines.fit(["study-2022-nb"], splits, cache=tmp_path)[0].path.read_bytes() == whole


def test_a_file_that_disagrees_with_scikit_learn_is_not_kept(splits: Splits, tmp_path: Path) -> None:
    """Guards the check after the conversion: here the classes' columns are exchanged on purpose."""
    job = fitting.plan_fit(baselines.get_baseline("study-2022-nb"), splits.train, tmp_path)
    scaling = fitting._scaling(job.baseline, job.train)
    assert scaling is not None
    model = job.baseline.build().fit(scaling(job.train.images), job.train.labels)
    columns = np.roll(np.eye(7, dtype=np.float32), 1, axis=0)
    path = job.folder / fitting.BASELINE_FILE
    path.parent.mkdir()
    path.write_bytes(to_onnx([model], columns, fitting._card(job.baseline, job.train), scaling))
    with pytest.raises(VerificationError, match="scikit-learn"):
        fitting._agreement(job, model, columns)
    assert not path.exists()


@pytest.mark.parametrize("labels", [(1, 4), (0, 3, 6)])
def test_classes_without_training_images_get_no_probability(
    labels: tuple[int, ...], splits: Splits, tmp_path: Path
) -> None:
    """Guards the columns: scikit-learn knows only the classes it saw."""
    part = dataclasses.replace(splits, train=only(splits.train, *labels))
    first = baselines.fit(["study-2022-rf"], part, cache=tmp_path)[0]
    probabilities = baselines.open_baseline(first.path).predict(part.train.images)
    assert not np.delete(probabilities, labels, axis=1).any()
    assert (probabilities.argmax(axis=1) == part.train.labels).mean() > 0.5


def test_a_support_vector_machine_tells_two_classes_apart(tmp_path: Path) -> None:
    """Guards the order of the two scores, which skl2onnx gives the other way round for a pair."""
    faces = drawn(490)
    train, test = only(faces.take(faces.usage == "Training"), 1, 6), only(faces.take(faces.usage != "Training"), 1, 6)
    first = baselines.fit(["study-2022-pca-svm"], Splits(train, test, test, 0), cache=tmp_path)[0]
    probabilities = baselines.open_baseline(first.path).predict(train.images)
    assert (probabilities.argmax(axis=1) == train.labels).mean() > 0.8


def test_too_few_images_are_one_clear_line(splits: Splits, tmp_path: Path) -> None:
    """Guards small data sets: one line with scikit-learn's message and the baseline's id, and nothing written."""
    few = dataclasses.replace(splits, train=splits.train.take(np.arange(40)))
    with pytest.raises(DataError, match="study-2022-pca-svm: cannot be fitted to 40 images"):
        baselines.fit(["study-2022-pca-svm"], few, cache=tmp_path)
    assert not list(tmp_path.rglob("*.onnx"))


def test_an_unknown_id_suggests_the_nearest() -> None:
    """Guards `--only` against typing errors."""
    with pytest.raises(RecipeError, match="did you mean 'study-2022-rf'"):
        baselines.get_baseline("study-2022-fr")


def test_opening_a_baseline_needs_no_scikit_learn(fitted: dict[str, baselines.FittedBaseline]) -> None:
    """Guards the benchmark's workers: their memory and start would else be scikit-learn's."""
    code = (
        "import sys, pathlib\nfrom feredge.baselines import open_baseline\n"
        f"open_baseline(pathlib.Path({str(fitted['course-rf'].path)!r}))\n"
        "print(sorted({'sklearn', 'onnx', 'skl2onnx', 'tensorflow', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
