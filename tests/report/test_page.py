"""The report page: its contents, and its behaviour in a real browser."""

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
from feredge.report import recommend, to_markdown, write_comparison_html, write_html
from feredge.report.flips import MAX_DISPLAYED_FLIPS, displayed_flips
from feredge.report.page import to_html

PNG_BYTES = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PNG_BASE64 = base64.b64encode(PNG_BYTES).decode()
VOID_ELEMENTS = {"meta", "link", "input", "img", "br", "wbr", "hr"}


class ElementBalance(HTMLParser):
    """Checks that every element is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Remember an opened element."""
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close it."""
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


@pytest.fixture(scope="module")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report beside the training plots of a run."""
    folder = tmp_path_factory.mktemp("report")
    for name in ("curves.png", "confusion.png"):
        (folder / name).write_bytes(PNG_BYTES)
    write_html(results, folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def report_with_thumbnails(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report with placeholder thumbnails of the images with a changed prediction."""
    thumbnails = {flip[0]: PNG_BASE64 for row in results.rows if row.drop for flip in displayed_flips(row.drop)}
    path = tmp_path_factory.mktemp("faces") / "report.html"
    write_html(results, path, thumbnails=thumbnails)
    return path


@pytest.fixture
def page(report: Path) -> Iterator[chromium.Page]:
    """Open the report in headless Chromium."""
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    with chromium.Page(program, report) as opened:
        yield opened


def test_the_page_is_well_formed_and_self_contained(report: Path) -> None:
    """Guards the single file: balanced elements, no external addresses, both plots inside."""
    text = report.read_text(encoding="utf-8")
    balance = ElementBalance()
    balance.feed(text)
    assert balance.open == []
    addresses = set(re.findall(r"""(?:src|href)=["']([^"']+)""", text)) | set(re.findall(r"url\(([^)]+)\)", text))
    assert {address[:5] for address in addresses} == {"data:", "#tabl"}
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}  # a name, never fetched
    assert text.count(base64.b64encode(PNG_BYTES).decode()) == 2


def test_text_of_the_results_is_escaped(results: Results) -> None:
    """Guards against file names and error texts that contain HTML, or that end the script."""
    evil = "</script><script>alert(1)</script>{{data}}"
    rows = tuple(dataclasses.replace(row, name=f"{evil}{row.name}", failure=evil) for row in results.rows)
    text = to_html(dataclasses.replace(results, rows=rows, recipe={"name": evil}))
    assert text.count("<script") == 2 and text.count("</script>") == 2


def test_the_security_policy_blocks_other_scripts(report: Path) -> None:
    """Guards the content security policy: only the page's own script runs, and nothing is loaded."""
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', report.read_text(encoding="utf-8"))
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;") and policy[1].count("sha256-") == 2
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    add = "(() => { const node = document.createElement('script'); node.textContent = 'window.evil = 1';"
    with chromium.Page(program, report) as page:
        assert page.browser_errors == []
        assert page.run(f"{add} document.body.append(node); return window.evil === undefined }})()")
        assert any("Content Security Policy" in error for error in page.browser_errors)


def test_control_characters_are_escaped(results: Results, tmp_path: Path) -> None:
    """Guards the page against lone surrogates, which UTF-8 cannot encode, and the script's look-up of such a name."""
    rows = tuple(dataclasses.replace(row, name=f"\x1b[2J\ud800{row.name}") for row in results.rows)
    write_html(dataclasses.replace(results, rows=rows), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "\x1b" not in text and "\\x1b[2J\\ud800" in text
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    with chromium.Page(program, tmp_path / "page.html") as page:
        assert page.run("document.querySelectorAll('#metrics tr.on').length") == 1
        assert page.browser_errors == []


def test_a_name_with_several_spaces(results: Results, tmp_path: Path) -> None:
    """Guards the script's look-up of names in which a browser collapses spaces."""
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    rows = tuple(dataclasses.replace(row, name=f"my  run/{row.name}") for row in results.rows)
    write_html(dataclasses.replace(results, rows=rows), tmp_path / "page.html")
    with chromium.Page(program, tmp_path / "page.html", width=1280) as page:
        assert page.run("document.querySelectorAll('#plot-area [data-name]').length") > 0
        assert page.browser_errors == []


def test_caveats_are_above_the_verdict(results: Results) -> None:
    """Guards against a recommendation that is read before what was assumed for it."""
    assumed = dataclasses.replace(results, notes=("net.onnx has no feredge card.",))
    for text, verdict in ((to_html(assumed), "Ship this file"), (to_markdown(assumed), "**Ship")):
        for caveat in ("net.onnx has no feredge card.", "Latencies are noisy"):
            assert 0 < text.index(caveat) < text.index(verdict)


def test_explanations_are_open_until_they_are_closed(report: Path) -> None:
    """Guards the first visit: the columns are explained unless the reader has closed the explanations before."""
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    is_open = "document.querySelector('#column-explanations').open"
    with chromium.Page(program, report) as page:
        assert page.run(is_open)
        page.run("document.querySelector('#column-explanations summary').click()")
        page.run("new Promise(done => setTimeout(done, 50))")
        page.send("Page.reload")
        page.run("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")
        assert not page.run(is_open)
        assert page.browser_errors == []


def test_a_quick_benchmark_is_marked(results: Results) -> None:
    """Guards the marks of a quick benchmark: badge, warning and method."""
    quick = to_html(dataclasses.replace(results, config=dataclasses.replace(results.config, name="quick")))
    assert quick.count("quick") > to_html(results).count("quick") + 3
    assert "This was a quick run" in quick


def test_a_report_of_failures_only(results: Results, tmp_path: Path) -> None:
    """Guards the page of a run where every file failed: it opens, and says so."""
    rows = tuple(
        dataclasses.replace(row, failure="crashed", accuracy=None, drop=None, latency=(), cold_start=None, memory=None)
        for row in results.rows
    )
    write_html(dataclasses.replace(results, rows=rows), tmp_path / "report.html")
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    with chromium.Page(program, tmp_path / "report.html") as page:
        assert page.browser_errors == []
        assert "No file recommended" in page.run(
            "document.querySelector('#recommendation').innerText.replace('NO FILE RECOMMENDED', 'No file recommended')"
        )
        assert "No row has both accuracy and latency" in page.run("document.querySelector('#plot-area').innerText")


def test_a_device_without_opencv(results: Results, tmp_path: Path) -> None:
    """Guards the page of a device: no end-to-end latency, a float model without latency, rounds with throttling."""
    hot = SensorReading("ondemand", 85.0, ("throttled",))
    rows = tuple(
        dataclasses.replace(
            row,
            instructions=(Instructions("cortex-a72", 5e6, 0.0),),
            latency=tuple(
                dataclasses.replace(
                    latency, preprocess=None, whole=None, conditions=(ThrottlingState(hot, hot, hot.slowed),)
                )
                for latency in row.latency
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
        assert page.browser_errors == []
        text = page.run("document.body.innerText")
        assert "M instr. a72" in text and "CPU throttling (throttled)" in text


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
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    first = next(row for row in results.rows if row.accuracy and row.kind == "artifact")
    other = dataclasses.replace(first, name="other.tflite", network="other", images=(10, 20), classes=("a", "b"))
    both = dataclasses.replace(results, rows=(*results.rows, other))
    write_html(both, tmp_path / "report.html")
    drawn = "document.querySelectorAll('#plot-area [data-name=\"other.tflite\"]').length"
    with chromium.Page(program, tmp_path / "report.html") as page:
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


def test_images_with_changed_predictions(report_with_thumbnails: Path, report: Path, results: Results) -> None:
    """Guards the flips: newly wrong ones first, each with both predictions; without thumbnails no images."""
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    read_cards = "[...document.querySelectorAll('#flipped li')].map(card => [card.className, card.innerText])"
    with chromium.Page(program, report_with_thumbnails) as page:
        name = "pruned-80.int8.tflite"
        page.run(f"document.querySelector('#flips-file').value = '{name}'")
        page.run("document.querySelector('#flips-file').dispatchEvent(new Event('change'))")
        drop = next(row.drop for row in results.rows if row.name == name)
        assert drop is not None
        cards = page.run(read_cards)
        assert len(cards) == MAX_DISPLAYED_FLIPS == page.run("document.querySelectorAll('#flipped img').length")
        for (kind, text), (row, label, before, after) in zip(cards, displayed_flips(drop), strict=True):
            names = [results.data.classes[index] for index in (label, before, after)]
            assert kind == ("lost" if label == before else "won" if label == after else "other")
            assert f"{names[1]} → {names[2]}" in text and f"{names[0]} · row {row}" in text
        kinds = [kind for kind, _ in cards]
        assert kinds == sorted(kinds, key=["lost", "won", "other"].index)
        assert page.run("document.documentElement.scrollWidth") == 1280
        assert page.run(CONTRAST_SCRIPT) == []
        assert page.browser_errors == []
    with chromium.Page(program, report) as page:
        assert page.run("document.querySelectorAll('#flipped li').length") > 0
        assert page.run("document.querySelectorAll('#flipped img').length") == 0


@pytest.mark.parametrize("width", [1280, 390])
def test_a_comparison_as_a_page(results: Results, tmp_path: Path, width: int) -> None:
    """Guards `feredge report A.json B.json --html`: a bar per file, ratios, differing machines, no browser errors."""
    rows = []
    for row in results.rows[:-1]:
        latency = tuple(
            dataclasses.replace(one, inference=dataclasses.replace(one.inference, median=2 * one.inference.median))
            for one in row.latency
        )
        rows.append(dataclasses.replace(row, latency=latency))
    machine = dataclasses.replace(results.machine, cpu="<Another> CPU")
    write_comparison_html(
        [results, dataclasses.replace(results, rows=tuple(rows), machine=machine)], tmp_path / "two.html"
    )
    balance = ElementBalance()
    balance.feed((tmp_path / "two.html").read_text(encoding="utf-8"))
    assert balance.open == []
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    with chromium.Page(program, tmp_path / "two.html", width=width, dark=width == 390) as page:
        text = page.run("document.querySelector('main').innerText")
        assert "B takes 2.00 times A's time in the median" in text
        measured = sum(row.accuracy is not None for row in rows)
        assert f"The same accuracy in both: {measured} files." in text and "<Another> CPU" in text
        assert page.run("document.querySelectorAll('#compare-B tbody tr').length") == len(rows)
        lost = page.run("document.querySelectorAll('#compare-B .track.lost').length")
        assert lost == sum(row.main_latency is not None for row in rows)
        assert page.run("document.querySelector('#machines').innerText").count("differs") == 1
        assert page.run("document.documentElement.scrollWidth") == width
        assert page.run(CONTRAST_SCRIPT) == []
        assert page.browser_errors == []


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


CONTRAST_SCRIPT = """
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
    """Guards phones and dark mode: no horizontal scrolling, a contrast of at least 4.5 to 1 (WCAG AA)."""
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium is installed here")
    with chromium.Page(program, report, width=width, height=844, dark=dark) as page:
        assert page.run("document.documentElement.scrollWidth") == width
        assert page.run(CONTRAST_SCRIPT) == []
        paper = page.run("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", paper))) < 60) == dark
        small = page.run(
            "[...document.querySelectorAll('body *')].filter(n => n.getClientRects().length && n.innerText && "
            "parseFloat(getComputedStyle(n).fontSize) < 10).map(n => n.tagName + n.className)"
        )
        assert small == []
        assert page.browser_errors == []
