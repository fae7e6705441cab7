"""Which file is said to ship: each rule, and what happens when one leaves nothing over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from feredge.benchmark.metrics import Verdict
from feredge.benchmark.results import Results, Row
from feredge.report.recommend import choose, median, pareto


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
    """Guards the rules' order, computed here another way."""
    choice = choose(results)
    kept = [row for row in results.rows if row.kind == "artifact" and row.drop and row.drop.verdict.startswith("equi")]
    quick = [row for row in kept if median(row) <= 1.1 * min(map(median, kept))]
    assert choice.row == min(quick, key=lambda row: row.bytes)
    assert choice.steps[0] == "20 files measured, 1 failed."
    assert choice.steps[1] == f"{len(kept)} files are equivalent to the float model within 1 pp."


def test_a_fast_file_that_dropped_never_ships(results: Results) -> None:
    """Guards accuracy before speed: pruned int8 is among the fastest and 13 points worse."""
    fastest = min((row for row in results.rows if row.kind == "artifact" and row.latency), key=median)
    worse = changed(results, with_verdict("drop", fastest.name))
    choice = choose(worse)
    assert choice.row and choice.row.name != fastest.name
    assert ("speed, whatever it loses", fastest.name) in [(words, row.name) for words, row in choice.others]


def test_a_faster_file_of_unsure_accuracy_is_named_beside(results: Results) -> None:
    """Guards small test sets, where nothing fast can be shown to be equivalent: the user hears of it all the same."""
    unsure = changed(results, with_verdict("no evidence of a drop", "int8"))
    choice = choose(unsure)
    assert choice.row and choice.row.drop and choice.row.drop.verdict.startswith("equivalent")
    named = dict(choice.others)["speed, where a drop is neither shown nor ruled out"]
    assert median(named) == min(median(row) for row in unsure.rows if row.kind == "artifact" and row.latency)


def test_without_equivalent_files_the_words_say_so(results: Results) -> None:
    """Guards against calling a small test set's silence a proof."""
    choice = choose(changed(results, with_verdict("no evidence of a drop")))
    assert choice.row is not None
    assert choice.steps[1].startswith("None is shown to be equivalent to the float model within 1 pp; for 20 files")


def test_a_float32_file_stands_in_for_the_float_model(results: Results) -> None:
    """Guards a folder of exported files: the words count what is kept, and each rule is reached."""
    first = next(row for row in results.rows if row.kind == "artifact")
    rows = tuple(
        dataclasses.replace(row, drop=None) if row is first else dataclasses.replace(row, beside=first.name)
        for row in results.rows
        if row.kind == "artifact" and row.failure is None
    )
    folder = dataclasses.replace(results, rows=rows)
    kept = sum(row.drop is not None and row.drop.verdict.startswith("equivalent") for row in rows)
    words = f"{kept} files are equivalent to {first.name} within 1 pp, beside {first.name} itself."
    assert choose(folder).steps[1] == words
    unsure = choose(changed(folder, with_verdict("no evidence of a drop")))
    assert f"for {len(rows) - 1} files there is no evidence of a drop" in unsure.steps[1]
    assert unsure.row and unsure.row.name != first.name, "the fastest of those without evidence, as with a float model"
    lost = choose(changed(folder, with_verdict("drop")))
    assert lost.row == rows[0] and lost.steps[1] == f"Every file lost accuracy against {first.name}."


def test_when_every_file_lost_the_least_loss_ships(results: Results) -> None:
    """Guards the last rule."""
    choice = choose(changed(results, with_verdict("drop")))
    drops = {row.name: row.drop.pp for row in results.rows if row.drop and row.kind == "artifact"}
    assert choice.row and choice.row.name == min(drops, key=lambda name: drops[name])
    assert choice.steps[1].startswith("Every file lost accuracy")


def test_nothing_measured_is_no_choice(results: Results) -> None:
    """Guards reports of a run whose every file failed, and of one without its float model."""
    none = changed(results, lambda row: dataclasses.replace(row, failure="crashed", latency=()))
    assert choose(none).row is None
    unknown = changed(results, lambda row: dataclasses.replace(row, drop=None))
    choice = choose(unknown)
    assert choice.row is not None and "no drop is known" in choice.steps[1]


def test_cautions_name_what_weakens_the_figures(results: Results) -> None:
    """Guards the quick mark, the noisy mark and the small test set."""
    noisy = "The machine was noisy: the rounds of 1 file differ by more than 10%, not those of the chosen one."
    assert choose(results).cautions == (noisy,)
    quick = dataclasses.replace(results, effort=dataclasses.replace(results.effort, name="quick"))
    assert "quick" in choose(quick).cautions[0]
    few = dataclasses.replace(results, data=dataclasses.replace(results.data, images=(100,) * 7))
    assert choose(few).cautions[1:] == ("Only 700 test images: small drops cannot be seen.",)
    busy = dataclasses.replace(results, machine=dataclasses.replace(results.machine, load=3.5))
    assert "a load of 3.5" in choose(busy).cautions[1]


def test_pareto_by_all_pairs(results: Results) -> None:
    """Guards the front: nobody on it is beaten, everybody off it is."""
    rows = [row for row in results.rows if row.kind == "artifact" and row.latency and row.accuracy]
    front = pareto(rows)
    points = {row.name: (row.bytes, median(row), -row.accuracy.accuracy) for row in rows if row.accuracy}

    def beats(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
        return first != second and all(a <= b for a, b in zip(first, second, strict=True))

    for name, point in points.items():
        assert (name in front) == (not any(beats(other, point) for other in points.values()))


def test_of_several_networks_the_most_accurate_is_chosen_first(results: Results) -> None:
    """Guards `feredge bench` of many runs: a network within the best one's interval may win by speed, others not."""

    def twin(name: str, points: float, scale: float) -> tuple[Row, ...]:
        """Return the rows again as another network's, some points more accurate and so many times as slow."""
        rows = []
        for row in results.rows:
            if row.kind != "artifact" or row.accuracy is None:
                continue
            found = dataclasses.replace(row.accuracy, accuracy=row.accuracy.accuracy + points / 100)
            found = dataclasses.replace(found, low=found.accuracy - 0.015, high=found.accuracy + 0.015)
            latency = tuple(
                dataclasses.replace(one, inference=dataclasses.replace(one.inference, median=scale * median(row)))
                for one in row.latency
            )
            rows.append(
                dataclasses.replace(row, name=f"{name}/{row.name}", network=name, accuracy=found, latency=latency)
            )
        return tuple(rows)

    slow, fast = twin("slow", 5.0, 3.0), twin("fast", 0.0, 1.0)
    choice = choose(dataclasses.replace(results, rows=fast + slow))
    assert choice.row and choice.row.network == "slow"
    assert any("2 networks on the same images; slow is the most accurate" in step for step in choice.steps)
    assert ("fast instead", "fast") in [(words, row.network) for words, row in choice.others]
    near = choose(dataclasses.replace(results, rows=fast + twin("slow", 1.0, 3.0)))
    assert near.row and near.row.network == "fast"
    elsewhere = tuple(dataclasses.replace(row, images=(10, 20), classes=("a", "b")) for row in slow)
    other_images = choose(dataclasses.replace(results, rows=fast + elsewhere))
    assert other_images.row and other_images.row.network == "fast", "accuracy on other images says nothing here"
    assert "slow" not in {row.network for _, row in other_images.others}
    runtime = tuple(dataclasses.replace(row, runtime="OpenCV DNN") for row in fast)
    assert choose(dataclasses.replace(results, rows=runtime)).row is None
    assert pareto(runtime) == set()
