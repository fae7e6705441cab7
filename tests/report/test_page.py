"""The report page: what stands in the file, and what a real browser makes of it."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import chromium
import pytest

from feredge.benchmark.metrics import Instructions, SensorReading, ThrottlingState
from feredge.benchmark.results import Results
from feredge.report import choose, write_comparison, write_html
from feredge.report.faces import MOST, shown
from feredge.report.page import to_html

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PNG_TEXT = base64.b64encode(PNG).decode()
EMPTY = {"meta", "link", "input", "img", "br", "wbr", "hr"}


class Balance(HTMLParser):
    """Checks that every element is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Remember an opened element."""
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close it."""
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


@pytest.fixture(scope="module")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report beside the pictures of a run."""
    folder = tmp_path_factory.mktemp("report")
    for name in ("curves.png", "confusion.png"):
        (folder / name).write_bytes(PNG)
    write_html(results, folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def with_faces(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report with drawn stand-ins for the faces whose answer changed."""
    pictures = {found[0]: PNG_TEXT for row in results.rows if row.drop for found in shown(row.drop)}
    path = tmp_path_factory.mktemp("faces") / "report.html"
    write_html(results, path, faces=pictures)
    return path


@pytest.fixture
def page(report: Path) -> Iterator[chromium.Page]:
    """Open the report in headless Chromium."""
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    with chromium.Page(program, report) as opened:
        yield opened


def test_the_file_is_whole_and_stands_alone(report: Path) -> None:
    """Guards the promise of one file: balanced elements, no address that leads out of it, both pictures inside."""
    text = report.read_text(encoding="utf-8")
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    addresses = set(re.findall(r"""(?:src|href)=["']([^"']+)""", text)) | set(re.findall(r"url\(([^)]+)\)", text))
    assert {address[:5] for address in addresses} == {"data:", "#tabl"}
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}  # a name, never fetched
    assert text.count(base64.b64encode(PNG).decode()) == 2


def test_nothing_in_the_results_becomes_markup(results: Results) -> None:
    """Guards against file names and error texts that hold HTML, or that end the script."""
    evil = "</script><script>alert(1)</script>{{data}}"
    rows = tuple(dataclasses.replace(row, name=f"{evil}{row.name}", failure=evil) for row in results.rows)
    text = to_html(dataclasses.replace(results, rows=rows, recipe={"name": evil}))
    assert text.count("<script") == 2 and text.count("</script>") == 2


def test_no_other_script_runs(report: Path) -> None:
    """Guards the security policy in the page: what is not the page's own script is neither run nor loaded."""
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', report.read_text(encoding="utf-8"))
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;") and policy[1].count("sha256-") == 2
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    add = "(() => { const node = document.createElement('script'); node.textContent = 'window.evil = 1';"
    with chromium.Page(program, report) as page:
        assert page.complaints == []
        assert page.run(f"{add} document.body.append(node); return window.evil === undefined }})()")
        assert any("Content Security Policy" in complaint for complaint in page.complaints)


def test_control_characters_are_shown(results: Results, tmp_path: Path) -> None:
    """Guards the page against half characters, which no file can hold, and the script's look-up of such a name."""
    rows = tuple(dataclasses.replace(row, name=f"\x1b[2J\ud800{row.name}") for row in results.rows)
    write_html(dataclasses.replace(results, rows=rows), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "\x1b" not in text and "\\x1b[2J\\ud800" in text
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    with chromium.Page(program, tmp_path / "page.html") as page:
        assert page.run("document.querySelectorAll('#figures tr.on').length") == 1
        assert page.complaints == []


def test_a_name_with_several_spaces(results: Results, tmp_path: Path) -> None:
    """Guards the script against names that a browser writes otherwise than they stand in the results."""
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    rows = tuple(dataclasses.replace(row, name=f"my  run/{row.name}") for row in results.rows)
    write_html(dataclasses.replace(results, rows=rows), tmp_path / "page.html")
    with chromium.Page(program, tmp_path / "page.html", width=1280) as page:
        assert page.run("document.querySelectorAll('#chart [data-name]').length") > 0
        assert page.complaints == []


def test_a_quick_result_says_so(results: Results) -> None:
    """Guards the honesty of the demonstration: badge, caution and rule."""
    quick = to_html(dataclasses.replace(results, effort=dataclasses.replace(results.effort, name="quick")))
    assert quick.count("quick") > to_html(results).count("quick") + 3
    assert "This was a quick run" in quick


def test_a_report_of_failures_only(results: Results, tmp_path: Path) -> None:
    """Guards the page of a run where nothing could be measured: it opens, and says so."""
    rows = tuple(
        dataclasses.replace(row, failure="crashed", accuracy=None, drop=None, latency=(), cold=None, memory=None)
        for row in results.rows
    )
    write_html(dataclasses.replace(results, rows=rows), tmp_path / "report.html")
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    with chromium.Page(program, tmp_path / "report.html") as page:
        assert page.complaints == []
        assert "Nothing to ship" in page.run(
            "document.querySelector('#verdict').innerText.replace('NOTHING TO SHIP', 'Nothing to ship')"
        )
        assert "Nothing was measured" in page.run("document.querySelector('#chart').innerText")


def test_a_device_without_opencv(results: Results, tmp_path: Path) -> None:
    """Guards the page of a device: no whole calls, a float model without a time, rounds with the clock held down."""
    hot = SensorReading("ondemand", 85.0, ("throttled",))
    rows = tuple(
        dataclasses.replace(
            row,
            instructions=(Instructions("cortex-a72", 5e6, 0.0),),
            latency=tuple(
                dataclasses.replace(
                    found, preprocess=None, whole=None, conditions=(ThrottlingState(hot, hot, hot.slowed),)
                )
                for found in row.latency
                if row.kind != "float"
            ),
        )
        for row in results.rows
    )
    write_html(dataclasses.replace(results, rows=rows), tmp_path / "report.html")
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    with chromium.Page(program, tmp_path / "report.html") as page:
        page.run("[...document.querySelectorAll('button')].forEach(button => button.click())")
        assert page.complaints == []
        text = page.run("document.body.innerText")
        assert "M instr. a72" in text and "The clock was held down (throttled)" in text


def test_elements_and_no_complaints(page: chromium.Page, results: Results) -> None:
    """Guards the page in a real browser: no console error, no request, the verdict first, a point and a row a file."""
    choice = choose(results)
    assert choice.row is not None
    assert page.run("document.querySelector('main > section').id") == "verdict"
    assert page.run("document.querySelector('#ship').textContent") == choice.row.name
    measured = [row for row in results.rows if row.accuracy and row.kind != "baseline"]
    assert page.run("document.querySelectorAll('#chart .point').length") == len(measured)
    assert page.run("document.querySelectorAll('#figures tbody tr').length") == len(results.rows)
    assert page.run("document.querySelectorAll('#figures tbody tr td').length") % len(results.rows) == 0
    assert page.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.run("document.querySelectorAll('#training img').length") == 2
    assert page.run("document.querySelectorAll('#curves svg').length") == 7
    assert page.run("document.querySelectorAll('#curves svg path.chosen').length") == 7
    page.run("document.querySelector('#controls input[type=checkbox]').click()")
    assert page.run("document.querySelectorAll('#chart .point').length") == len(measured) + 2
    for value in ("size", "whole", "median"):
        page.run(f"document.querySelector('#controls input[value={value}]').click()")
        assert page.run("document.querySelectorAll('#chart .point').length") == len(measured) + 2
    assert page.complaints == []


def test_rows_on_other_images_are_not_drawn_among_the_rest(results: Results, tmp_path: Path) -> None:
    """Guards the plot's scale: three classes are named right more often than seven, which says nothing here."""
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    first = next(row for row in results.rows if row.accuracy and row.kind == "artifact")
    other = dataclasses.replace(first, name="other.tflite", network="other", images=(10, 20), classes=("a", "b"))
    both = dataclasses.replace(results, rows=(*results.rows, other))
    write_html(both, tmp_path / "report.html")
    drawn = "document.querySelectorAll('#chart [data-name=\"other.tflite\"]').length"
    with chromium.Page(program, tmp_path / "report.html") as page:
        assert page.run(drawn) == 0
        page.run("document.querySelector('#controls input[type=checkbox]').click()")
        assert page.run(drawn) == 1
        assert page.complaints == []


def test_hover_tells_all_and_a_click_chooses(page: chromium.Page, results: Results) -> None:
    """Guards the plot by a real mouse: words appear, belong to the point, go away; a click moves table and flips."""
    page.run(
        "document.documentElement.style.scrollBehavior = 'auto'; document.querySelector('#chart').scrollIntoView()"
    )
    name = "qat.int8.tflite"
    place = page.run(
        f"(() => {{ const box = document.querySelector('#chart [data-name=\"{name}\"] path').getBoundingClientRect();"
        " return [box.x + box.width / 2, box.y + box.height / 2] })()"
    )
    assert page.run("document.querySelector('#tip').hidden")
    page.mouse("mouseMoved", *place)
    words = page.run("document.querySelector('#tip').innerText")
    row = next(row for row in results.rows if row.name == name)
    assert row.accuracy and row.drop and row.headline
    for text in (
        name,
        f"{100 * row.accuracy.accuracy:.2f}%",
        row.drop.verdict,
        f"{row.headline.median:.3f} ms",
        "peak memory",
    ):
        assert text in words
    box = page.run(
        "(() => { const a = document.querySelector('#tip').getBoundingClientRect(); return [a.left, a.right] })()"
    )
    assert box[0] >= 0 and box[1] <= 1280
    page.click(*place)
    assert page.run("document.querySelector('#flips-file').value") == name
    assert page.run("document.querySelector('#figures tr.on').dataset.name") == name
    changed = sum(map(sum, row.drop.flips))
    assert f"{changed:,} answers differ" in page.run("document.querySelector('#flips-words').textContent")
    page.mouse("mouseMoved", 5, 5)
    assert page.run("document.querySelector('#tip').hidden")
    assert page.complaints == []


def test_faces_whose_answer_changed(with_faces: Path, report: Path, results: Results) -> None:
    """Guards flips with faces: what was lost comes first, each says what it was and is; without faces no picture."""
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    cards = "[...document.querySelectorAll('#flipped li')].map(card => [card.className, card.innerText])"
    with chromium.Page(program, with_faces) as page:
        name = "pruned-80.int8.tflite"
        page.run(f"document.querySelector('#flips-file').value = '{name}'")
        page.run("document.querySelector('#flips-file').dispatchEvent(new Event('change'))")
        drop = next(row.drop for row in results.rows if row.name == name)
        assert drop is not None
        told = page.run(cards)
        assert len(told) == MOST == page.run("document.querySelectorAll('#flipped img').length")
        for (kind, words), (row, label, before, after) in zip(told, shown(drop), strict=True):
            names = [results.data.classes[index] for index in (label, before, after)]
            assert kind == ("lost" if label == before else "won" if label == after else "other")
            assert f"{names[1]} → {names[2]}" in words and f"{names[0]} · row {row}" in words
        assert [kind for kind, _ in told] == sorted((kind for kind, _ in told), key=["lost", "won", "other"].index)
        assert page.run("document.documentElement.scrollWidth") == 1280
        assert page.run(CONTRAST) == []
        assert page.complaints == []
    with chromium.Page(program, report) as page:
        assert page.run("document.querySelectorAll('#flipped li').length") > 0
        assert page.run("document.querySelectorAll('#flipped img').length") == 0


@pytest.mark.parametrize("width", [1280, 390])
def test_a_comparison_as_a_page(results: Results, tmp_path: Path, width: int) -> None:
    """Guards `feredge report A.json B.json --html`: a lane a file, ratios and differing machines told, no complaint."""
    rows = []
    for row in results.rows[:-1]:
        latency = tuple(
            dataclasses.replace(one, inference=dataclasses.replace(one.inference, median=2 * one.inference.median))
            for one in row.latency
        )
        rows.append(dataclasses.replace(row, latency=latency))
    machine = dataclasses.replace(results.machine, cpu="<Another> CPU")
    write_comparison([results, dataclasses.replace(results, rows=tuple(rows), machine=machine)], tmp_path / "two.html")
    balance = Balance()
    balance.feed((tmp_path / "two.html").read_text(encoding="utf-8"))
    assert balance.open == []
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    with chromium.Page(program, tmp_path / "two.html", width=width, dark=width == 390) as page:
        words = page.run("document.querySelector('main').innerText")
        assert "B takes 2.00 times A's time in the median" in words
        measured = sum(row.accuracy is not None for row in rows)
        assert f"The same accuracy in both: {measured} files." in words and "<Another> CPU" in words
        assert page.run("document.querySelectorAll('#against-B tbody tr').length") == len(rows)
        lost = page.run("document.querySelectorAll('#against-B .lane.lost').length")
        assert lost == sum(row.headline is not None for row in rows)
        assert page.run("document.querySelector('#machines').innerText").count("differs") == 1
        assert page.run("document.documentElement.scrollWidth") == width
        assert page.run(CONTRAST) == []
        assert page.complaints == []


def test_the_plot_works_by_keyboard(page: chromium.Page) -> None:
    """Guards those who have no mouse: one stop for Tab, arrows from point to point, Enter chooses, words are read."""
    assert page.run("document.querySelectorAll('#chart [tabindex=\"0\"]').length") == 1
    page.run("document.querySelector('#chart [tabindex=\"0\"]').focus()")
    first = page.run("document.activeElement.dataset.name")
    page.key("ArrowRight")
    second = page.run("document.activeElement.dataset.name")
    assert second != first
    assert second in page.run("document.querySelector('#tip').innerText")
    assert page.run("document.activeElement.getAttribute('aria-label')").startswith(f"{second}: accuracy")
    page.key("Enter")
    assert page.run("document.querySelector('#figures tr.on').dataset.name") == second
    page.key("ArrowLeft")
    assert page.run("document.activeElement.dataset.name") == first
    page.key("Escape")
    assert page.run("document.querySelector('#tip').hidden")


def test_sorting_by_every_heading(page: chromium.Page, results: Results) -> None:
    """Guards the sort: numbers as numbers, both ways, what was not measured last, and the state told to readers."""
    headings = page.run("document.querySelectorAll('#figures thead th').length")
    names = "[...document.querySelectorAll('#figures tbody tr')].map(row => row.dataset.name)"
    for column in range(headings):
        values = (
            f"[...document.querySelectorAll('#figures tbody tr')].map(row => row.cells[{column}].dataset.value)"
            ".filter(value => value !== '')"
        )
        for direction in ("ascending", "descending"):
            page.run(f"document.querySelectorAll('#figures thead button')[{column}].click()")
            told = page.run("[...document.querySelectorAll('#figures thead th')].map(h => h.getAttribute('aria-sort'))")
            assert told[column] == direction and told.count(None) == headings - 1
            shown = page.run(values)
            keys: list[float] | list[str]
            try:
                keys = [float(value) for value in shown]
            except ValueError:
                continue
            assert keys == sorted(keys, reverse=direction == "descending")
            if column == 6:
                assert page.run(names)[-1] == "dense.int8.onnx", "the failed row has no latency"
    assert sorted(page.run(names)) == sorted(row.name for row in results.rows)


CONTRAST = """
(() => {
  const parse = (color) => { const [r, g, b, alpha = 1] = color.match(/[\\d.]+/g).map(Number);
    return color.startsWith('color(') ? [255 * r, 255 * g, 255 * b, alpha] : [r, g, b, alpha]; };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const linear = (value) => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
  const behind = (node) => { const layers = [];
    for (let at = node; at; at = at.parentElement) layers.unshift(parse(getComputedStyle(at).backgroundColor));
    return layers.reduce((under, top) => over(top, under), [255, 255, 255, 1]); };
  const poor = [];
  for (const node of document.querySelectorAll('body *')) {
    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())) continue;
    if (!node.getClientRects().length || node.closest('svg, script, .skip, noscript')) continue;
    const style = getComputedStyle(node), under = behind(node);
    const a = light(over(parse(style.color), under)), b = light(under);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${node.tagName}.${node.className} ${node.textContent.trim()}`);
  }
  return poor;
})()
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_width_and_scheme(report: Path, width: int, dark: bool, tmp_path: Path) -> None:
    """Guards phones and the dark: nothing wider than the screen, text at least 4.5 to 1 (WCAG AA), schemes differ."""
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    with chromium.Page(program, report, width=width, height=844, dark=dark) as page:
        assert page.run("document.documentElement.scrollWidth") == width
        assert page.run(CONTRAST) == []
        paper = page.run("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", paper))) < 60) == dark
        small = page.run(
            "[...document.querySelectorAll('body *')].filter(n => n.getClientRects().length && n.innerText && "
            "parseFloat(getComputedStyle(n).fontSize) < 10).map(n => n.tagName + n.className)"
        )
        assert small == []
        assert page.complaints == []
