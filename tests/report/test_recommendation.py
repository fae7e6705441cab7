"""The recommended file: each rule, and what happens where no file passes one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from feredge.benchmark.metrics import Verdict
from feredge.benchmark.results import Results, Row
from feredge.report.recommendation import median_ms, pareto_front, recommend
from feredge.report.table import columns


def changed(results: Results, change: Callable[[Row], Row]) -> Results:
    """Return results with every row changed."""
    return dataclasses.replace(results, rows=tuple(change(row) for row in results.rows))


def with_verdict(verdict: Verdict, name: str = "") -> Callable[[Row], Row]:
    """Return a change that gives rows (whose name contains `name`) a verdict."""

    def change(row: Row) -> Row:
        if row.drop is None or name not in row.name:
            return row
        return dataclasses.replace(row, drop=dataclasses.replace(row.drop, verdict=verdict))

    return change


def test_the_smallest_of_the_fastest_of_the_equivalent_ships(results: Results) -> None:
    """Guards the order of the rules, computed independently."""
    recommendation = recommend(results)
    equivalent = [
        row for row in results.rows if row.kind == "artifact" and row.drop and row.drop.verdict.startswith("equi")
    ]
    fast = [row for row in equivalent if median_ms(row) <= 1.1 * min(map(median_ms, equivalent))]
    assert recommendation.row == min(fast, key=lambda row: row.bytes)
    assert recommendation.reasons[0] == "20 files measured, 1 failed."
    assert recommendation.reasons[1] == f"{len(equivalent)} files are equivalent to the float model within 1 pp."


def test_a_fast_file_with_a_drop_is_not_recommended(results: Results) -> None:
    """Guards accuracy before speed: pruned int8 is among the fastest and 13 points worse."""
    fastest = min((row for row in results.rows if row.kind == "artifact" and row.latency), key=median_ms)
    worse = changed(results, with_verdict("drop", fastest.name))
    recommendation = recommend(worse)
    assert recommendation.row and recommendation.row.name != fastest.name
    assert ("speed at any loss of accuracy", fastest.name) in [
        (criterion, row.name) for criterion, row in recommendation.alternatives
    ]


def test_a_faster_file_with_an_inconclusive_drop_is_an_alternative(results: Results) -> None:
    """Guards small test sets, where no fast file can be shown to be equivalent: it is listed as an alternative."""
    inconclusive = changed(results, with_verdict("no evidence of a drop", "int8"))
    recommendation = recommend(inconclusive)
    assert recommendation.row and recommendation.row.drop and recommendation.row.drop.verdict.startswith("equivalent")
    alternative = dict(recommendation.alternatives)["speed, with an inconclusive accuracy drop"]
    assert median_ms(alternative) == min(
        median_ms(row) for row in inconclusive.rows if row.kind == "artifact" and row.latency
    )


def test_without_equivalent_files_the_reason_says_so(results: Results) -> None:
    """Guards against taking a missing evidence of a drop for equivalence."""
    recommendation = recommend(changed(results, with_verdict("no evidence of a drop")))
    assert recommendation.row is not None
    assert recommendation.reasons[1].startswith(
        "No file is shown to be equivalent to the float model within 1 pp; for 20 files"
    )


def test_a_more_accurate_file_is_called_so(results: Results) -> None:
    """Guards against a gain that is discarded, because it is not equivalent."""
    fastest = min((row for row in results.rows if row.kind == "artifact" and row.latency), key=median_ms)
    others_lost = changed(results, with_verdict("drop"))
    recommendation = recommend(changed(others_lost, with_verdict("gain", fastest.name)))
    assert recommendation.row and recommendation.row.name == fastest.name
    assert recommendation.reasons[1] == "1 file is more accurate than the float model."


def test_the_speedup_is_against_the_float32_file_of_the_same_runtime(results: Results) -> None:
    """Guards a speedup that contains a change of runtime, as that of LiteRT against the Keras graph does."""
    rows = {row.name: row for row in results.rows}
    speed_up = next(column for column in columns(results) if column.key == "speed_up")
    for file_format in ("tflite", "onnx"):
        row, float32_file = rows[f"qat.int8.{file_format}"], rows[f"dense.float32.{file_format}"]
        assert results.float32_file_of(row) == float32_file
        assert speed_up.value(row) == pytest.approx(median_ms(float32_file) / median_ms(row))
    assert speed_up.value(rows["float"]) is speed_up.value(rows["pca-svc"]) is None
    ort = dataclasses.replace(rows["qat.int8.onnx"], format="ort")
    assert results.float32_file_of(ort) == rows["dense.float32.onnx"], "both are run by onnxruntime"
    other_runtime = dataclasses.replace(rows["qat.int8.onnx"], runtime="OpenCV DNN")
    assert results.float32_file_of(other_runtime) is None


def test_a_float32_file_replaces_the_float_model(results: Results) -> None:
    """Guards a folder of exported files: the counts in the reasons, and each rule."""
    first = next(row for row in results.rows if row.kind == "artifact")
    rows = tuple(
        dataclasses.replace(row, drop=None) if row is first else dataclasses.replace(row, reference_row=first.name)
        for row in results.rows
        if row.kind == "artifact" and row.failure is None
    )
    folder = dataclasses.replace(results, rows=rows)
    equivalent = sum(row.drop is not None and row.drop.verdict.startswith("equivalent") for row in rows)
    reason = f"{equivalent} files are equivalent to {first.name} within 1 pp, in addition to {first.name} itself."
    assert recommend(folder).reasons[1] == reason
    inconclusive = recommend(changed(folder, with_verdict("no evidence of a drop")))
    assert f"for {len(rows) - 1} files there is no evidence of a drop" in inconclusive.reasons[1]
    assert inconclusive.row and inconclusive.row.name != first.name, (
        "the fastest of those without evidence, as with a float model"
    )
    lost = recommend(changed(folder, with_verdict("drop")))
    assert lost.row == rows[0] and lost.reasons[1] == f"Every file lost accuracy against {first.name}."


def test_when_every_file_has_a_drop_the_smallest_is_recommended(results: Results) -> None:
    """Guards the last rule."""
    recommendation = recommend(changed(results, with_verdict("drop")))
    drops = {row.name: row.drop.pp for row in results.rows if row.drop and row.kind == "artifact"}
    assert recommendation.row and recommendation.row.name == min(drops, key=lambda name: drops[name])
    assert recommendation.reasons[1].startswith("Every file lost accuracy")


def test_without_measurements_nothing_is_recommended(results: Results) -> None:
    """Guards reports of a run all of whose files failed, and of one without its float model."""
    none = changed(results, lambda row: dataclasses.replace(row, failure="crashed", latency=()))
    assert recommend(none).row is None
    unknown = changed(results, lambda row: dataclasses.replace(row, drop=None))
    recommendation = recommend(unknown)
    assert recommendation.row is not None and "drops are unknown" in recommendation.reasons[1]


def test_warnings_name_unreliable_measurements(results: Results) -> None:
    """Guards the warnings of a quick benchmark, noise, a small test set and a busy machine."""
    noisy = (
        "Latencies are noisy: in 1 row, not the recommended file's, the medians of the rounds differ by more than 10%."
    )
    assert recommend(results).warnings == (noisy,)
    quick = dataclasses.replace(results, config=dataclasses.replace(results.config, name="quick"))
    assert "quick" in recommend(quick).warnings[0]
    assumed = dataclasses.replace(results, notes=("net.onnx has no feredge card.",))
    assert recommend(assumed).warnings == ("net.onnx has no feredge card.", noisy)
    few = dataclasses.replace(results, data=dataclasses.replace(results.data, images=(100,) * 7))
    assert recommend(few).warnings[1:] == ("Only 700 test images: small drops cannot be detected.",)
    busy = dataclasses.replace(results, machine=dataclasses.replace(results.machine, load=3.5))
    assert "a load of 3.5 on " in recommend(busy).warnings[1]


def test_pareto_by_all_pairs(results: Results) -> None:
    """Guards the Pareto front: no file on it is dominated, every other file is."""
    rows = [row for row in results.rows if row.kind == "artifact" and row.latency and row.accuracy]
    front = pareto_front(rows)
    points = {row.name: (row.bytes, median_ms(row), -row.accuracy.accuracy) for row in rows if row.accuracy}

    def dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
        return first != second and all(a <= b for a, b in zip(first, second, strict=True))

    for name, point in points.items():
        assert (name in front) == (not any(dominates(other, point) for other in points.values()))


def test_of_several_networks_accuracy_comes_first(results: Results) -> None:
    """Guards `feredge bench` of several runs: among networks within the best one's interval the fastest is taken."""

    def twin(name: str, points: float, scale: float) -> tuple[Row, ...]:
        """Return copies of the rows as another network's, with accuracy raised by `points` pp and latency scaled."""
        rows = []
        for row in results.rows:
            if row.kind != "artifact" or row.accuracy is None:
                continue
            share = row.accuracy.accuracy + points / 100
            accuracy = dataclasses.replace(row.accuracy, accuracy=share, low=share - 0.015, high=share + 0.015)
            latency = tuple(
                dataclasses.replace(one, inference=dataclasses.replace(one.inference, median=scale * median_ms(row)))
                for one in row.latency
            )
            rows.append(
                dataclasses.replace(row, name=f"{name}/{row.name}", network=name, accuracy=accuracy, latency=latency)
            )
        return tuple(rows)

    slow, fast = twin("slow", 5.0, 3.0), twin("fast", 0.0, 1.0)
    recommendation = recommend(dataclasses.replace(results, rows=fast + slow))
    assert recommendation.row and recommendation.row.network == "slow"
    assert any(
        "2 networks on the same images; slow is the most accurate" in reason for reason in recommendation.reasons
    )
    assert ("fast instead", "fast") in [(criterion, row.network) for criterion, row in recommendation.alternatives]
    near = recommend(dataclasses.replace(results, rows=fast + twin("slow", 1.0, 3.0)))
    assert near.row and near.row.network == "fast"
    other_test_set = tuple(dataclasses.replace(row, images=(10, 20), classes=("a", "b")) for row in slow)
    other_images = recommend(dataclasses.replace(results, rows=fast + other_test_set))
    assert other_images.row and other_images.row.network == "fast", "accuracy on other images says nothing here"
    assert "slow" not in {row.network for _, row in other_images.alternatives}
    runtime = tuple(dataclasses.replace(row, runtime="OpenCV DNN") for row in fast)
    assert recommend(dataclasses.replace(results, rows=runtime)).row is None
    assert pareto_front(runtime) == set()
