"""Several results side by side as a page: what changed, on which machine, and whether it can be compared at all."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from feredge import files
from feredge.benchmark.formatting import format_median, percent, signed
from feredge.benchmark.metrics import NOISY_SPREAD
from feredge.benchmark.results import Machine, Results, Row
from feredge.report import sections
from feredge.report.comparison import gained, lettered, matched
from feredge.report.recommend import choose, counted
from feredge.report.templates import as_html, render, resource

NARROWEST = 1.1
"""Ratio that the axis of ratios reaches at least, either way."""
Pair = tuple[str, Row, Row]


def write_comparison(several: Sequence[Results], path: Path) -> None:
    """Write the page to `path`, whole or not at all.

    Raises:
        ResultsError: fewer than two results, or no file that two of them share.
    """
    files.write_text(path, to_page(several))


def to_page(several: Sequence[Results]) -> str:
    """Return the page: every result is compared with the first."""
    names = matched(several)
    letters = lettered(several)
    first = several[0]
    against = []
    for letter, other in list(zip(letters, several, strict=True))[1:]:
        pairs = _pairs(names, first, other)
        words, cautions = _summary(pairs, first, other, letter)
        lanes = _lanes(pairs, first, other, letter)
        against.append({"letter": letter, "words": words, "cautions": cautions, **lanes})
    kinds = (
        f"{letter}: {sections.title(one)}, {one.machine.cpu}" for letter, one in zip(letters, several, strict=True)
    )
    return render(
        "comparison.html",
        title=f"{len(several)} results side by side",
        kinds=" · ".join(kinds),
        style=as_html(resource("page.css")),
        script="",
        letters=letters,
        against=against,
        choices=list(zip(letters, map(choose, several), strict=True)),
        machines=_facts(several),
    )


def _pairs(names: Sequence[str], first: Results, other: Results) -> list[Pair]:
    before, after = ({row.name: row for row in one.rows} for one in (first, other))
    return [(name, before[name], after[name]) for name in names if name in before and name in after]


def _summary(pairs: Sequence[Pair], first: Results, other: Results, letter: str) -> tuple[str, list[str]]:
    """Return the outcome in a few sentences, and why it may not hold."""
    ratios = {pair[0]: ratio for pair in pairs if (ratio := pair[2].latency_ratio(pair[1])) is not None}
    words = [f"In both: {counted(len(pairs))}."]
    if ratios:
        middle = statistics.median(ratios.values())
        slowest, fastest = max(ratios, key=ratios.__getitem__), min(ratios, key=ratios.__getitem__)
        words.append(
            f"{letter} takes {middle:.2f} times A's time in the median, from {ratios[fastest]:.2f} ({fastest}) "
            f"to {ratios[slowest]:.2f} ({slowest})."
        )
    gains = [gain for _, a, b in pairs if (gain := gained(first, a, other, b)) is not None]
    changed = sum(abs(gain) > 1e-9 for gain in gains)
    if changed:
        words.append(f"Accuracy differs in {changed} of {len(gains)} files, by at most {max(map(abs, gains)):.2f} pp.")
    elif gains:
        words.append(f"The same accuracy in both: {counted(len(gains))}.")
    apart = sum(not first.same_test_images(a, other, b) for _, a, b in pairs)
    cautions = [f"Judged on other images here than there, so that accuracies do not compare: {counted(apart)}."] * (
        apart > 0
    )
    if any(not _same_file(pair) for pair in pairs):
        cautions.append(f"{sum(not _same_file(pair) for pair in pairs)} files of the same name are not the same file.")
    if "quick" in (first.effort.name, other.effort.name):
        cautions.append("A quick benchmark is among them.")
    noisy = sum(any(row.headline and row.headline.noisy for row in pair[1:]) for pair in pairs)
    if noisy:
        cautions.append(
            f"In {noisy} of {len(pairs)} files the rounds of A or {letter} differ by over {NOISY_SPREAD:.0%}."
        )
    return " ".join(words), cautions


def _same_file(pair: Pair) -> bool:
    return pair[1].sha256 == pair[2].sha256


def _lanes(pairs: Sequence[Pair], first: Results, other: Results, letter: str) -> dict[str, Any]:
    # Baselines may be fitted anew, and so differ more than any file does.
    ratios = [
        ratio for pair in pairs if pair[1].kind != "baseline" and (ratio := pair[2].latency_ratio(pair[1])) is not None
    ]
    reach = max([NARROWEST, *ratios, *(1 / ratio for ratio in ratios)]) ** 1.08

    def place(ratio: float) -> float:
        return min(max(50 + 50 * math.log(ratio) / math.log(reach), 1.0), 99.0)

    def row(pair: Pair) -> dict[str, Any]:
        name, a, b = pair
        ratio = b.latency_ratio(a)
        gain = gained(first, a, other, b)
        cells = (format_median(a.headline), format_median(b.headline), percent(a.accuracy), percent(b.accuracy))
        return {
            "name": name,
            "kind": "kept" if ratio is None or 1 / 1.05 <= ratio <= 1.05 else "lost" if ratio > 1 else "won",
            "place": None if ratio is None else place(ratio),
            "cells": ("" if ratio is None else f"{ratio:.2f}", *cells, "" if gain is None else signed(gain)),
        }

    headings = (
        *("file", f"← {letter} faster · slower →", f"{letter} / A"),
        *("A ms", f"{letter} ms", "A %", f"{letter} %", "pp"),
    )
    return {"headings": headings, "band": (place(1 / 1.05), place(1.05)), "rows": [row(pair) for pair in pairs]}


def _facts(several: Sequence[Results]) -> list[tuple[str, list[str]]]:
    machines = [results.machine for results in several]

    def of(name: str) -> list[str]:
        return [str(getattr(machine, name)) for machine in machines]

    def version(machine: Machine, package: str) -> str:
        return machine.versions.get(package, "not there")

    packages = list(dict.fromkeys(package for machine in machines for package in machine.versions))
    peaks = list(dict.fromkeys(precision for machine in machines for precision in machine.peaks))
    return [
        ("measured", [results.measured[:16].replace("T", " ") for results in several]),
        ("benchmark", [results.effort.name for results in several]),
        ("data", [f"{results.data.source}, {results.data.digest[:12]}" for results in several]),
        ("test images", [f"{results.data.total:,}" for results in several]),
        ("CPU", of("cpu")),
        ("architecture", of("architecture")),
        ("cores", of("cores")),
        ("instruction sets", [", ".join(machine.flags) for machine in machines]),
        ("governor", of("governor")),
        ("system", of("system")),
        *(
            (f"peak {name}", [f"{one.peaks[name] / 1e9:,.1f} G/s" if name in one.peaks else "" for one in machines])
            for name in peaks
        ),
        *((package, [version(machine, package) for machine in machines]) for package in packages),
    ]
