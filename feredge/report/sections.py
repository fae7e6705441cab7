"""HTML sections of the report page that need no script: header, recommendation, metrics, latency, provenance."""

from __future__ import annotations

import math

from feredge.benchmark.formatting import percent, signed
from feredge.benchmark.results import Results, Row
from feredge.report.recommendation import Recommendation, median_ms
from feredge.report.rendering import render
from feredge.report.table import columns, runtimes_by_format


def page_header(results: Results) -> str:
    """Return the header: title, data, machine and date."""
    return render("page_header.html", results=results, title=title(results))


def title(results: Results) -> str:
    """Return the names of the measured networks, or else of the recipe."""
    networks = list(dict.fromkeys(row.network for row in results.rows if row.network))
    if len(networks) > 4:
        networks[3:] = [f"{len(networks) - 3} more"]
    return ", ".join(networks) or str(results.recipe.get("name", "a run"))


def recommended_file(results: Results, recommendation: Recommendation) -> str:
    """Return the section on the file to ship, the reasons and the alternatives."""
    row = recommendation.row
    return render(
        "recommendation.html",
        recommendation=recommendation,
        tiles=_tiles(results, row) if row else (),
        alternatives=[(criterion, other.name, _short(other)) for criterion, other in recommendation.alternatives],
    )


def metrics_table(results: Results, recommendation: Recommendation, front: set[str]) -> str:
    """Return the sortable table of all metrics."""
    table_columns = columns(results)
    return render(
        "metrics_table.html",
        results=results,
        recommendation=recommendation,
        front=front,
        columns=table_columns,
        explanations=[(column.title, column.explanation) for column in table_columns],
        failed=[row for row in results.rows if row.failure],
    )


def latency_stability(results: Results) -> str:
    """Return each row's medians by round and its 95th percentile, on one logarithmic scale."""
    timings = [(row, row.main_latency) for row in results.rows if row.main_latency]
    if not timings:
        return ""
    low = min(part.median for _, timing in timings for part in timing.rounds) * 0.93
    high = max(max(timing.p95, *(part.median for part in timing.rounds)) for _, timing in timings) * 1.07

    def position(value: float) -> float:
        return 100 * math.log(value / low) / math.log(high / low)

    headings = ("file", "medians by round, overall median to p95 (log scale)", "median ms", "p95 ms", "spread", "runs")
    lead = (
        f"{results.config.rounds} rounds, in which the files take short turns in random order; no outlier is removed. "
        "Dots far apart mean a noisy machine, and say nothing about the file."
    )
    timings.sort(key=lambda pair: pair[1].median)
    return render("latency_stability.html", headings=headings, lead=lead, timings=timings, position=position)


def provenance(results: Results) -> str:
    """Return the section on machine, data, method, and the command that reproduces the results."""
    machine, data = results.machine, results.data
    class_counts = ", ".join(f"{name} {count:,}" for name, count in zip(data.classes, data.images, strict=True))
    machine_facts = (
        ("CPU", machine.cpu),
        ("cores", str(machine.cores)),
        ("instruction sets", ", ".join(machine.flags) or "none of those listed"),
        ("memory", f"{machine.memory_bytes / 1e9:.1f} GB"),
        ("governor", machine.governor),
        ("system", f"{machine.system}, {machine.architecture}"),
        ("load average before", "unknown" if machine.load is None else f"{machine.load:g}"),
        *(
            (f"peak, {precision}, one thread", f"{rate / 1e9:,.1f} billion multiply-adds per second")
            for precision, rate in machine.peaks.items()
        ),
        *machine.versions.items(),
    )
    data_facts = (
        ("source", data.source),
        ("SHA-256", data.digest),
        ("test images", f"{data.total:,}"),
        ("images per class", class_counts),
        ("duplicates", f"{data.repeated:,} test images also occur elsewhere; the column “unique %” excludes them"),
        ("excluded from training", f"{data.dropped:,} images that also occur in another split"),
        ("measured", results.measured),
    )
    name = str(results.recipe.get("name", "RECIPE"))
    quick = " --quick" if results.config.name == "quick" else ""
    command = results.command or f"feredge run {name} --data {data.source} --out runs/{name}{quick}"
    method = _method(results)
    return render(
        "provenance.html", results=results, machine=machine_facts, data=data_facts, method=method, command=command
    )


def _method(results: Results) -> list[str]:
    effort = results.config
    sentences = [
        "Each file runs in a process of its own; only one process is active at a time.",
        f"Warm-up: at least {effort.warm_runs} runs and {effort.warm_seconds:g} s. Then {effort.rounds} rounds of "
        f"short turns in random order, at least {effort.seconds:g} s and {effort.runs:,} timed runs per file in all. "
        "No outlier is removed.",
        "Inference is one image, given as a tensor. End to end is from a 96 by 96 colour crop to a class.",
        f"Accuracy is over every test image, computed by {runtimes_by_format(results)}, on this machine.",
        "Drop: 95% interval by paired bootstrap over images. Verdict: equivalent when this interval and that of Bonett "
        f"and Price lie wholly within {effort.margin:g} pp; a drop when McNemar's exact test gives p under 0.05, or "
        "both intervals lie above zero; a gain by the same tests; otherwise no evidence of a drop, which is not proof "
        "that there is none.",
        "Percent of peak: the time of a file's multiply-adds at the rate of this machine's fastest matrix product on "
        "one thread, for floats and integers separately, over the median. The rest is memory access, small layers and "
        "overhead.",
        "Cold start: a new process, with the file in the page cache; includes the import of the runtime.",
    ]
    if effort.name == "quick":
        sentences.insert(
            2,
            "This was a quick run: a full benchmark has 0.5 s of warm-up, 10 s and 1,024 timed runs per file, and also "
            "measures all cores. Accuracy is complete; latency is a first estimate.",
        )
    return sentences


def _tiles(results: Results, row: Row) -> list[tuple[str, str, str, str]]:
    """Return the recommended file's metrics, compared with the float32 file of its network in its runtime."""
    baseline = results.float32_file_of(row) or row
    speed, size = "one image, one thread", "on disk"
    if baseline != row:
        speed = f"{_ratio(median_ms(baseline) / median_ms(row), 'faster', 'slower')} than {baseline.name}"
        size = f"{_ratio(baseline.bytes / row.bytes, 'smaller', 'larger')} than {baseline.name}"
    tiles = []
    if row.accuracy:
        interval = f"95% interval {100 * row.accuracy.low:.1f} to {100 * row.accuracy.high:.1f}, in {row.runtime_title}"
        tiles.append(("accuracy", percent(row.accuracy), "%", interval))
    if row.drop:
        interval = f"95% interval {signed(row.drop.low)} to {signed(row.drop.high)}"
        tiles.append(("drop", signed(row.drop.pp), "pp", f"{interval}: {row.drop.verdict}"))
    tiles.append(("inference", f"{median_ms(row):.3f}", "ms", speed))
    tiles.append(("size", f"{row.bytes / 1000:,.0f}", "KB", size))
    return tiles


def _ratio(ratio: float, more: str, less: str) -> str:
    return f"{ratio:.1f}× {more}" if ratio >= 1 else f"{1 / ratio:.1f}× {less}"


def _short(row: Row) -> str:
    accuracy = f"{percent(row.accuracy)}% · " if row.accuracy else ""
    return f"{accuracy}{median_ms(row):.3f} ms · {row.bytes / 1000:,.0f} KB"
