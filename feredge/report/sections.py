"""The other parts of the report page that stand without the script, as HTML."""

from __future__ import annotations

import math
from html import escape

from feredge.bench.figures import Timing
from feredge.bench.results import Results, Row
from feredge.bench.words import percent, signed
from feredge.report.choice import Choice, median
from feredge.report.markup import breakable, facts, line, pill, scroll, section, table
from feredge.report.table import columns


def masthead(results: Results) -> str:
    """Return what was measured, where and when, in two lines."""
    name = escape(title(results))
    quick = '<span class="badge">quick</span>' if results.effort.name == "quick" else ""
    return (
        f'<p class="kicker">feredge report {quick}</p>'
        f"<h1>{name} <span>on {escape(results.data.source)}</span></h1>"
        f'<p class="facts">{results.data.total:,} test images · {escape(results.machine.cpu)}, '
        f"{results.machine.cores} cores · {escape(results.measured[:10])}</p>"
    )


def title(results: Results) -> str:
    """Return the name of what was measured: the recipe, or the networks."""
    networks = list(dict.fromkeys(row.network for row in results.rows if row.network))
    if len(networks) > 4:
        networks[3:] = [f"{len(networks) - 3} more"]
    return ", ".join(networks) or str(results.recipe.get("name", "a run"))


def verdict(results: Results, choice: Choice) -> str:
    """Return which file to ship, and why."""
    steps = "".join(f"<li>{escape(step)}</li>" for step in choice.steps)
    cautions = "".join(f'<p class="caution">{escape(caution)}</p>' for caution in choice.cautions)
    row = choice.row
    if row is None:
        return f'<div class="ship"><p class="label">Nothing to ship</p><ol>{steps}</ol>{cautions}</div>'
    others = "".join(
        f"<li><b>{escape(question)}</b> <code>{breakable(other.name)}</code> <span>{_short(other)}</span></li>"
        for question, other in choice.others
    )
    more = f'<h3>If something else matters</h3><ul class="others">{others}</ul>' if others else ""
    return (
        f'<div class="ship"><p class="label">Ship this file</p><p class="name" id="ship">{breakable(row.name)}</p>'
        f'<dl class="tiles">{_tiles(results, row)}</dl>'
        f'<div class="why"><div><h3>Why</h3><ol>{steps}</ol></div><div>{more}</div></div>{cautions}</div>'
    )


def figures(results: Results, choice: Choice, front: set[str]) -> str:
    """Return the sortable table of every figure."""
    shown = columns(results)
    head = "".join(
        f'<th scope="col" data-key="{column.key}" title="{escape(column.explanation)}">'
        f'<button type="button">{escape(column.title)}</button></th>'
        for column in shown
    )
    body = []
    for row in results.rows:
        cells = []
        for column in shown[1:]:
            value = column.value(row)
            text = pill(row) if column.key == "verdict" else escape(column.text(row))
            sort = "" if value is None else escape(str(value))
            cells.append(f'<td data-value="{sort}" data-key="{column.key}">{text}</td>')
        name = escape(row.name)
        body.append(
            f'<tr data-name="{name}" class="{row.kind}"><th scope="row" data-value="{name}">'
            f"{breakable(row.name)} {_marks(row, choice, front)}</th>{''.join(cells)}</tr>"
        )
    grid = (
        '<table id="figures"><caption>Activate a heading to sort by it.</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )
    failures = "".join(
        f"<li><code>{escape(row.name)}</code> {escape(row.failure)}</li>" for row in results.rows if row.failure
    )
    failed = f'<h3>What failed</h3><ul class="failures">{failures}</ul>' if failures else ""
    meanings = facts(*((column.title, column.explanation) for column in shown))
    notes = "".join(f"<li>{escape(note)}</li>" for note in results.notes)
    noted = f'<ul class="notes">{notes}</ul>' if notes else ""
    return (
        scroll("Every figure", grid)
        + noted
        + f"<details><summary>What the columns mean</summary>{meanings}</details>"
        + failed
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

    def lane(timing: Timing) -> str:
        left, right = place(timing.median), place(timing.p95)
        dots = "".join(f'<i class="dot" style="left:{place(part.median):.2f}%"></i>' for part in timing.rounds)
        whisker = f'<i class="whisker" style="left:{left:.2f}%;width:{right - left:.2f}%"></i>'
        return f'<td class="lane" aria-hidden="true">{whisker}{dots}</td>'

    def spread(timing: Timing) -> str:
        return f"{timing.spread:.1%}" + (' <span class="mark noisy">noisy</span>' if timing.noisy else "")

    headings = ("file", "rounds’ medians, and on to p95 (logarithmic)", "median ms", "p95 ms", "spread", "timed runs")
    rows = (
        line(row.name, lane(timing), f"{timing.median:.3f}", f"{timing.p95:.3f}", spread(timing), f"{timing.count:,}")
        for row, timing in sorted(timings, key=lambda pair: pair[1].median)
    )
    lead = (
        f"{results.effort.rounds} rounds of short turns, at random across all files; no run was left out. "
        "Dots that lie apart are a noisy machine, not a property of the file."
    )
    return section(
        "rounds", "How steady the clock was", scroll("Rounds", table(headings, rows, style="lanes")), lead=lead
    )


def evidence(results: Results) -> str:
    """Return machine, data, rules, and how to do it again."""
    machine, data = results.machine, results.data
    of_class = ", ".join(f"{name} {count:,}" for name, count in zip(data.classes, data.images, strict=True))
    place = facts(
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
    images = facts(
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
    keys = table(
        ("file", "SHA-256"), (line(row.name, f"<code>{row.sha256}</code>") for row in results.rows), style="keys"
    )
    rules = "".join(f"<li>{escape(rule)}</li>" for rule in _rules(results))
    body = (
        f"<h3>Machine</h3>{place}<h3>Data</h3>{images}<h3>Rules</h3><ul>{rules}</ul>"
        f"<h3>Do it again</h3><pre><code>{escape(again)}</code></pre>"
        f"<details><summary>SHA-256 of every file measured</summary>{scroll('Digests', keys)}</details>"
    )
    return section("evidence", "What stands behind the figures", body)


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


def _marks(row: Row, choice: Choice, front: set[str]) -> str:
    timed, marks = row.headline, ""
    if choice.row and row.name == choice.row.name:
        marks += '<span class="mark ships">ship</span>'
    if row.name in front:
        words = "No file beats it in size, speed or accuracy without losing in another"
        marks += f'<span class="mark" title="{words}">Pareto</span>'
    if timed and timed.noisy:
        marks += f'<span class="mark noisy" title="Rounds differ by {timed.spread:.0%}">noisy</span>'
    return marks


def _tiles(results: Results, row: Row) -> str:
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
    return "".join(
        f'<div><dt>{label}</dt><dd>{figure}<small>{unit}</small></dd><dd class="note">{escape(note)}</dd></div>'
        for label, figure, unit, note in found
    )


def _times(ratio: float, more: str, less: str) -> str:
    return f"{ratio:.1f}× {more}" if ratio >= 1 else f"{1 / ratio:.1f}× {less}"


def _short(row: Row) -> str:
    share = f"{percent(row.accuracy)}% · " if row.accuracy else ""
    return f"{share}{median(row):.3f} ms · {row.bytes / 1000:,.0f} KB"
