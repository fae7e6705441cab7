"""The report page's plot, table and changed predictions in a real browser."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from html_checks import PNG_BYTES, check_contrast

from feredge.benchmark.results import Results
from feredge.report import recommend, write_html
from feredge.report.changed_predictions import MAX_DISPLAYED_FLIPS, displayed_changes


@pytest.fixture
def page(report: Path) -> Iterator[chromium.Page]:
    """Open the report in headless Chromium."""
    with chromium.open_page(report) as opened:
        yield opened


def test_elements_and_no_browser_errors(page: chromium.Page, results: Results) -> None:
    """Guards the page in a browser: no errors, no requests, the recommendation first, a point and a row per file."""
    recommendation = recommend(results)
    assert recommendation.row is not None
    assert page.run("document.querySelector('main > section').id") == "recommendation"
    assert page.run("document.querySelector('#ship').textContent") == recommendation.row.name
    measured = [row for row in results.rows if row.accuracy and row.kind != "baseline"]
    assert page.run("document.querySelectorAll('#plot-area .point').length") == len(measured)
    assert page.run("document.querySelectorAll('#metrics tbody tr').length") == len(results.rows)
    assert page.run("document.querySelectorAll('#metrics tbody tr td').length") % len(results.rows) == 0
    assert page.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.run("document.querySelectorAll('#training img').length") == 2
    assert page.run("document.querySelectorAll('#curves svg').length") == 7
    assert page.run("document.querySelectorAll('#curves svg path.selected').length") == 7
    page.run("document.querySelector('#controls input[type=checkbox]').click()")
    assert page.run("document.querySelectorAll('#plot-area .point').length") == len(measured) + 2
    for value in ("size", "endToEnd", "median"):
        page.run(f"document.querySelector('#controls input[value={value}]').click()")
        assert page.run("document.querySelectorAll('#plot-area .point').length") == len(measured) + 2
    assert page.browser_errors == []


def test_rows_with_another_test_set_are_not_plotted_by_default(results: Results, tmp_path: Path) -> None:
    """Guards the plot: accuracies of three classes and of seven are not comparable."""
    first = next(row for row in results.rows if row.accuracy and row.kind == "artifact")
    other = dataclasses.replace(first, name="other.tflite", network="other", images=(10, 20), classes=("a", "b"))
    both = dataclasses.replace(results, rows=(*results.rows, other))
    write_html(both, tmp_path / "report.html")
    drawn = "document.querySelectorAll('#plot-area [data-name=\"other.tflite\"]').length"
    with chromium.open_page(tmp_path / "report.html") as page:
        assert page.run(drawn) == 0
        page.run("document.querySelector('#controls input[type=checkbox]').click()")
        assert page.run(drawn) == 1
        assert page.browser_errors == []


def test_hover_shows_the_tooltip_and_a_click_selects(page: chromium.Page, results: Results) -> None:
    """Guards the tooltip by a real mouse: it appears, belongs to the point, disappears; a click selects the file."""
    page.run(
        "document.documentElement.style.scrollBehavior = 'auto'; document.querySelector('#plot-area').scrollIntoView()"
    )
    name = "qat.int8.tflite"
    place = page.run(
        f"(() => {{ const point = document.querySelector('#plot-area [data-name=\"{name}\"] path');"
        " const box = point.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2] })()"
    )
    assert page.run("document.querySelector('#tooltip').hidden")
    page.mouse("mouseMoved", *place)
    tooltip = page.run("document.querySelector('#tooltip').innerText")
    row = next(row for row in results.rows if row.name == name)
    assert row.accuracy and row.drop and row.main_latency
    for text in (
        name,
        f"{100 * row.accuracy.accuracy:.2f}%",
        row.drop.verdict,
        f"{row.main_latency.median:.3f} ms",
        "peak memory",
    ):
        assert text in tooltip
    box = page.run(
        "(() => { const a = document.querySelector('#tooltip').getBoundingClientRect(); return [a.left, a.right] })()"
    )
    assert box[0] >= 0 and box[1] <= 1280
    page.click(*place)
    assert page.run("document.querySelector('#flips-file').value") == name
    assert page.run("document.querySelector('#metrics tr.on').dataset.name") == name
    changed = sum(map(sum, row.drop.flips))
    assert f"{changed:,} predictions differ" in page.run("document.querySelector('#flips-count').textContent")
    page.mouse("mouseMoved", 5, 5)
    assert page.run("document.querySelector('#tooltip').hidden")
    assert page.browser_errors == []


@pytest.fixture(scope="module")
def report_with_thumbnails(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report with placeholder thumbnails of the images with a changed prediction."""
    png = base64.b64encode(PNG_BYTES).decode()
    thumbnails = {flip[0]: png for row in results.rows if row.drop for flip in displayed_changes(row.drop)}
    path = tmp_path_factory.mktemp("faces") / "report.html"
    write_html(results, path, thumbnails=thumbnails)
    return path


def test_images_with_changed_predictions(report_with_thumbnails: Path, report: Path, results: Results) -> None:
    """Guards the flips: newly wrong ones first, each with both predictions; without thumbnails no images."""
    read_cards = "[...document.querySelectorAll('#flipped li')].map(card => [card.className, card.innerText])"
    with chromium.open_page(report_with_thumbnails) as page:
        name = "pruned-80.int8.tflite"
        page.run(f"document.querySelector('#flips-file').value = '{name}'")
        page.run("document.querySelector('#flips-file').dispatchEvent(new Event('change'))")
        drop = next(row.drop for row in results.rows if row.name == name)
        assert drop is not None
        cards = page.run(read_cards)
        assert len(cards) == MAX_DISPLAYED_FLIPS == page.run("document.querySelectorAll('#flipped img').length")
        for (kind, text), (row, label, before, after) in zip(cards, displayed_changes(drop), strict=True):
            names = [results.data.classes[index] for index in (label, before, after)]
            assert kind == ("lost" if label == before else "won" if label == after else "other")
            assert f"{names[1]} → {names[2]}" in text and f"{names[0]} · row {row}" in text
        kinds = [kind for kind, _ in cards]
        assert kinds == sorted(kinds, key=["lost", "won", "other"].index)
        assert page.run("document.documentElement.scrollWidth") == 1280
        check_contrast(page)
        assert page.browser_errors == []
    with chromium.open_page(report) as page:
        assert page.run("document.querySelectorAll('#flipped li').length") > 0
        assert page.run("document.querySelectorAll('#flipped img').length") == 0


def test_the_plot_works_by_keyboard(page: chromium.Page) -> None:
    """Guards keyboard use: one stop for Tab, arrows from point to point, Enter selects, points have labels."""
    assert page.run("document.querySelectorAll('#plot-area [tabindex=\"0\"]').length") == 1
    page.run("document.querySelector('#plot-area [tabindex=\"0\"]').focus()")
    first = page.run("document.activeElement.dataset.name")
    page.key("ArrowRight")
    second = page.run("document.activeElement.dataset.name")
    assert second != first
    assert second in page.run("document.querySelector('#tooltip').innerText")
    assert page.run("document.activeElement.getAttribute('aria-label')").startswith(f"{second}: accuracy")
    page.key("Enter")
    assert page.run("document.querySelector('#metrics tr.on').dataset.name") == second
    page.key("ArrowLeft")
    assert page.run("document.activeElement.dataset.name") == first
    page.key("Escape")
    assert page.run("document.querySelector('#tooltip').hidden")


def test_sorting_by_every_heading(page: chromium.Page, results: Results) -> None:
    """Guards the sort: numeric, in both directions, missing values last, with `aria-sort` for screen readers."""
    headings = page.run("document.querySelectorAll('#metrics thead th').length")
    names = "[...document.querySelectorAll('#metrics tbody tr')].map(row => row.dataset.name)"
    for column in range(headings):
        values = (
            f"[...document.querySelectorAll('#metrics tbody tr')].map(row => row.cells[{column}].dataset.value)"
            ".filter(value => value !== '')"
        )
        for direction in ("ascending", "descending"):
            page.run(f"document.querySelectorAll('#metrics thead button')[{column}].click()")
            states = page.run(
                "[...document.querySelectorAll('#metrics thead th')].map(h => h.getAttribute('aria-sort'))"
            )
            assert states[column] == direction and states.count(None) == headings - 1
            column_values = page.run(values)
            keys: list[float] | list[str]
            try:
                keys = [float(value) for value in column_values]
            except ValueError:
                continue
            assert keys == sorted(keys, reverse=direction == "descending")
            if column == 6:
                assert page.run(names)[-1] == "dense.int8.onnx", "the failed row has no latency"
    assert sorted(page.run(names)) == sorted(row.name for row in results.rows)


def test_explanations_are_open_until_they_are_closed(report: Path) -> None:
    """Guards the first visit: the columns are explained unless the reader has closed the explanations before."""
    is_open = "document.querySelector('#column-explanations').open"
    with chromium.open_page(report) as page:
        assert page.run(is_open)
        page.run("document.querySelector('#column-explanations summary').click()")
        page.run("new Promise(done => setTimeout(done, 50))")
        page.send("Page.reload")
        page.run("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")
        assert not page.run(is_open)
        assert page.browser_errors == []
