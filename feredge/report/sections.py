"""The other parts of the report page that stand without the script, as HTML."""

from __future__ import annotations

import math

from feredge.benchmark.formatting import percent, signed
from feredge.benchmark.results import Results, Row
from feredge.report.recommend import Choice, median
from feredge.report.table import columns
from feredge.report.templates import render


def masthead(results: Results) -> str:
    """Return what was measured, where and when, in two lines."""
    return render("masthead.html", results=results, title=title(results))


def title(results: Results) -> str:
    """Return the name of what was measured: the recipe, or the networks."""
    networks = list(dict.fromkeys(row.network for row in results.rows if row.network))
    if len(networks) > 4:
        networks[3:] = [f"{len(networks) - 3} more"]
    return ", ".join(networks) or str(results.recipe.get("name", "a run"))


def verdict(results: Results, choice: Choice) -> str:
    """Return which file to ship, and why."""
    row = choice.row
    others = [(question, other.name, _short(other)) for question, other in choice.others]
    return render("verdict.html", choice=choice, tiles=_tiles(results, row) if row else (), others=others)


def figures(results: Results, choice: Choice, front: set[str]) -> str:
    """Return the sortable table of every figure."""
    shown = columns(results)
    return render(
        "figures.html",
        results=results,
        choice=choice,
        front=front,
        columns=shown,
        meanings=[(column.title, column.explanation) for column in shown],
        failed=[row for row in results.rows if row.failure],
    )


def steadiness(results: Results) -> str:
    """Return each row's round medians and its 95th percentile, on one logarithmic scale."""
    timings = [(row, row.headline) for row in results.rows if row.headline]
    if not timings:
        return ""
    low = min(part.median for _, timing in timings for part in timing.rounds) * 0.93
    high = max(max(timing.p95, *(part.median for part in timing.rounds)) for _, timing in timings) * 1.07

    def place(value: float) -> float:
        return 100 * math.log(value / low) / math.log(high / low)

    headings = ("file", "rounds’ medians, and on to p95 (logarithmic)", "median ms", "p95 ms", "spread", "timed runs")
    lead = (
        f"{results.effort.rounds} rounds of short turns, at random across all files; no run was left out. "
        "Dots that lie apart are a noisy machine, not a property of the file."
    )
    timings.sort(key=lambda pair: pair[1].median)
    return render("steadiness.html", headings=headings, lead=lead, timings=timings, place=place)


def evidence(results: Results) -> str:
    """Return machine, data, rules, and how to do it again."""
    machine, data = results.machine, results.data
    of_class = ", ".join(f"{name} {count:,}" for name, count in zip(data.classes, data.images, strict=True))
    place = (
        ("CPU", machine.cpu),
        ("cores", str(machine.cores)),
        ("instruction sets", ", ".join(machine.flags) or "none that matter"),
        ("memory", f"{machine.memory_bytes / 1e9:.1f} GB"),
        ("governor", machine.governor),
        ("system", f"{machine.system}, {machine.architecture}"),
        ("load before", "unknown" if machine.load is None else f"{machine.load:g}"),
        *(
            (f"peak, {precision}, one thread", f"{rate / 1e9:,.1f} billion multiply-adds a second")
            for precision, rate in machine.peaks.items()
        ),
        *machine.versions.items(),
    )
    images = (
        ("source", data.source),
        ("SHA-256", data.digest),
        ("test images", f"{data.total:,}"),
        ("of each class", of_class),
        ("repeated", f"{data.repeated:,} test images also stand elsewhere; the column “unique %” leaves them out"),
        ("dropped from training", f"{data.dropped:,} images that also stand in another split"),
        ("measured", results.measured),
    )
    name = str(results.recipe.get("name", "RECIPE"))
    quick = " --quick" if results.effort.name == "quick" else ""
    again = results.again or f"feredge run {name} --data {data.source} --out runs/{name}{quick}"
    rules = _rules(results)
    return render("evidence.html", results=results, machine=place, images=images, rules=rules, again=again)


def _rules(results: Results) -> list[str]:
    effort = results.effort
    found = [
        "Each file runs in a process of its own, and one process is awake at a time.",
        f"Warm-up: at least {effort.warm_runs} runs and {effort.warm_seconds:g} s. Then {effort.rounds} rounds of "
        f"short turns in random order, at least {effort.seconds:g} s and {effort.runs:,} timed runs a file in all. No "
        "outlier is removed.",
        "Inference is one face, ready as a tensor. The whole call starts from a 96 by 96 colour crop and ends with "
        "a class.",
        "Every test image goes through the very file that ships, in the runtime that will run it.",
        "Drop: paired bootstrap over images, 95%. Verdict: equivalent when the whole interval, and Bonett and Price's "
        f"beside it, lies within {effort.margin:g} pp; a drop when McNemar's exact test gives p under 0.05, or both "
        "intervals lie above zero; otherwise no evidence of a drop, which is not proof that there is none.",
        "Percent of peak: the time that a file's multiply-adds would take at this machine's best matrix product on one "
        "thread, float32 and integers apart, over the median. What is left is memory, small layers and overhead.",
        "Cold start: a fresh process, the file already in the page cache; the runtime's import counts.",
    ]
    if effort.name == "quick":
        found.insert(
            2,
            "This was a quick run: the full rules ask for 0.5 s of warm-up, 10 s and 1,024 timed runs, and all cores "
            "beside one thread. Its accuracies are complete; its latencies are a first impression.",
        )
    return found


def _tiles(results: Results, row: Row) -> list[tuple[str, str, str, str]]:
    """Return the chosen file's figures, beside those of the same network in float32 in the same runtime."""
    plain = next(
        (
            other
            for other in results.rows
            if (other.variant, other.precision, other.format) == ("dense", "float32", row.format)
            and (other.network, other.runtime) == (row.network, "")
            and other.headline
        ),
        row,
    )
    speed, size = "one face, one thread", "on disk"
    if plain != row:
        speed = f"{_times(median(plain) / median(row), 'faster', 'slower')} than {plain.name}"
        size = f"{_times(plain.bytes / row.bytes, 'smaller', 'bigger')} than {plain.name}"
    found = []
    if row.accuracy:
        interval = f"95% interval {100 * row.accuracy.low:.1f} to {100 * row.accuracy.high:.1f}"
        found.append(("accuracy", percent(row.accuracy), "%", interval))
    if row.drop:
        interval = f"95% interval {signed(row.drop.low)} to {signed(row.drop.high)}"
        found.append(("drop", signed(row.drop.pp), "pp", f"{interval}: {row.drop.verdict}"))
    found.append(("inference", f"{median(row):.3f}", "ms", speed))
    found.append(("size", f"{row.bytes / 1000:,.0f}", "KB", size))
    return found


def _times(ratio: float, more: str, less: str) -> str:
    return f"{ratio:.1f}× {more}" if ratio >= 1 else f"{1 / ratio:.1f}× {less}"


def _short(row: Row) -> str:
    share = f"{percent(row.accuracy)}% · " if row.accuracy else ""
    return f"{share}{median(row):.3f} ms · {row.bytes / 1000:,.0f} KB"
