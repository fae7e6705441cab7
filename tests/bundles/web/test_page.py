"""The web bundle's page in Chromium, from `http.server`: answers, the webcam, phone and dark, and what goes wrong."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import cv2
import numpy as np
import pytest
from device_models import draw_frame
from fake_packages import write_fake_onnxruntime

from feredge.bundles.targets import bundle, check_bundle
from feredge.bundles.web.engines import serving
from feredge.errors import RunError
from feredge.inference.contract import CLASSES, InputContract
from feredge.inference.face_detection import crop_square
from feredge.inference.predictor import Predictor
from feredge.inference.runtimes import open_artifact

NANO = Path(__file__).parents[3] / "models/nano/dense.int8.tflite"
CAMERA_FLAGS = ("--use-fake-device-for-media-stream=fps=60", "--use-fake-ui-for-media-stream")
UNTIL = """new Promise((done, fail) => {
    const end = Date.now() + 20000;
    (function look() {
        if (%s) { return done(true); }
        if (Date.now() > end) { return fail(document.body.innerText); }
        setTimeout(look, 20);
    })();
})"""
READY = "document.querySelector('#about')?.textContent.includes('From now on')"
FRAME = cv2.imencode(".png", draw_frame()[0])[1].tobytes()


@pytest.fixture(scope="module")
def address(nano_bundle: Path) -> Iterator[str]:
    with serving(nano_bundle) as address:
        yield address


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    with chromium.open_page(address, flags=CAMERA_FLAGS) as page:
        page.run(UNTIL % READY)
        yield page


def choose(page: Any, name: str, data: bytes) -> None:
    """Choose a file, as a user does."""
    page.run(f"""(() => {{
        const bytes = Uint8Array.from(atob("{base64.b64encode(data).decode()}"), (one) => one.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], "{name}"));
        document.querySelector("#file").files = transfer.files;
        document.querySelector("#file").dispatchEvent(new Event("change"));
    }})()""")


def text(page: Any, identifier: str) -> str:
    return str(page.run(f"document.getElementById('{identifier}').textContent"))


def test_picture_and_keyboard(page: Any) -> None:
    """Guards the answer, the square in the picture's middle, and its sliders, which a keyboard moves."""
    choose(page, "frame.png", FRAME)
    page.run(UNTIL % "document.querySelector('#label')?.textContent")
    pixels = draw_frame()[0]
    boxes = [[80, 0, 480], [81, 0, 479]]
    found = [text(page, "label")]
    assert [page.run(f"+document.getElementById('{name}').value") for name in ("left", "top", "size")] == boxes[0]
    page.run("document.getElementById('size').focus()")
    page.key("ArrowLeft")
    page.run("document.getElementById('left').focus()")
    page.key("ArrowRight")
    found.append(text(page, "label"))
    for (x, y, side), line in zip(boxes, found, strict=True):
        tensor = InputContract().to_tensor(crop_square(pixels, (x, y, side, side)))
        scores = open_artifact(NANO).predict(tensor[None])[0]
        assert line == f"{CLASSES[scores.argmax()]}, {round(scores.max() * 100)} %"
    assert text(page, "status") and page.browser_errors == []
    choose(page, "text.png", b"no picture")
    page.run(UNTIL % "document.querySelector('#error').textContent.startsWith('expected a picture that this browser')")


def test_drag(page: Any) -> None:
    """Guards the square by pointer, also beyond the picture's border."""
    choose(page, "frame.png", FRAME)
    page.run(UNTIL % "document.querySelector('#label')?.textContent")
    left, top, width = page.run("(({ x, y, width }) => [x, y, width])(canvas.getBoundingClientRect())")
    for kind, x, y in (("mousePressed", 400, 200), ("mouseMoved", 500, 320), ("mouseReleased", 500, 320)):
        page.mouse(kind, left + x * width / 640, top + y * width / 640)
    values = page.run("['left', 'top', 'size'].map((name) => +document.getElementById(name).value)")
    assert np.abs(np.array(values) - (400, 200, 120)).max() <= 1
    assert page.browser_errors == []


def test_webcam(page: Any) -> None:
    """Guards an answer of frame after frame until the camera is stopped; benchmarks/web.py measures their rate."""
    page.run("document.querySelector('#camera').click()")
    page.run(UNTIL % "document.querySelector('#label')?.textContent")
    page.run("globalThis.seen = 0; new MutationObserver(() => seen++).observe(label, { childList: true })")
    page.run(UNTIL % "seen >= 30")
    page.run("document.querySelector('#camera').click()")
    assert text(page, "camera") == "Start the webcam"
    seen = page.run("new Promise((done) => setTimeout(() => done(seen), 300))")
    assert page.run("new Promise((done) => setTimeout(() => done(seen), 300))") == seen
    assert page.browser_errors == []


def test_camera_refused(address: str) -> None:
    """Guards the sentence where a user, or the system, gives no camera."""
    with chromium.open_page(address, flags=("--deny-permission-prompts",)) as page:
        page.run(UNTIL % READY)
        page.run("document.querySelector('#camera').click()")
        page.run(UNTIL % "document.querySelector('#error').textContent.startsWith('expected a camera, found none')")
        assert text(page, "camera") == "Start the webcam"


def test_tainted_canvas(page: Any, nano_bundle: Path) -> None:
    """Guards the sentence for a picture of another site, whose pixels a page may not read."""
    with serving(nano_bundle.parent) as other:
        (nano_bundle.parent / "frame.png").write_bytes(FRAME)
        page.send("Page.setBypassCSP", enabled=True)
        page.send("Page.reload")
        page.run(UNTIL % READY)
        messages = page.run(f"""(async () => {{
            const picture = new Image();
            picture.src = "{other}frame.png";
            await picture.decode();
            const canvas = document.createElement("canvas");
            canvas.getContext("2d").drawImage(picture, 0, 0);
            const net = await (await import("{page.address}feredge.js")).load();
            const found = [];
            for (const source of [picture, canvas]) {{
                try {{ net.predict(source); }} catch (error) {{ found.push(error.message); }}
            }}
            return found;
        }})()""")
    expected = "expected a picture of this site, found one of another, whose pixels a browser does not give"
    assert messages == [expected] * 2


def test_another_runtime(nano_bundle: Path, tmp_path: Path) -> None:
    """Guards the choice of a runtime that the owner put beside the page, and the sentence where there is none."""
    folder = Path(shutil.copytree(nano_bundle, tmp_path / "bundle"))
    with serving(folder) as address, chromium.open_page(address) as page:
        page.run(UNTIL % READY)
        choose(page, "frame.png", FRAME)
        page.run(UNTIL % "document.querySelector('#label')?.textContent")
        assert page.browser_errors == []
        choose_runtime(page, "onnxruntime-web")
        page.run(UNTIL % "document.querySelector('#error').textContent")
        expected = "ort.wasm.min.mjs: expected the package beside this page, found none"
        assert expected in text(page, "error") and page.run("document.querySelector('#runtime').value") == ""
        write_fake_onnxruntime(folder / "runtimes")
        (folder / "runtimes/dense.int8.onnx").write_bytes(b"a model")
    with serving(folder) as address, chromium.open_page(address) as page:
        page.run(UNTIL % READY)
        choose(page, "frame.png", FRAME)
        page.run(UNTIL % "document.querySelector('#label')?.textContent")
        choose_runtime(page, "onnxruntime-web")
        pixels = InputContract().to_tensor(crop_square(draw_frame()[0], (80, 0, 480, 480))).reshape(-1)[:7]
        percent = f"{pixels.max() / 2.56:.1f} %"
        page.run(UNTIL % f"[...document.querySelectorAll('#table td')].some((one) => one.textContent === '{percent}')")
        choose_runtime(page, "")
        assert page.browser_errors == []
    checks, tests = check_bundle(folder)
    assert not [check.failure for check in checks if check.failure]
    assert not [test.failure for test in tests if test.failure]
    with pytest.raises(RunError, match="expected files of the bundle only, found another; move your files"):
        bundle("web", NANO, folder)


def choose_runtime(page: Any, name: str) -> None:
    """Choose a runtime, as a user does."""
    page.run(f"(runtime.value = '{name}', runtime.dispatchEvent(new Event('change')), undefined)")


def test_self_test_and_builds(address: str) -> None:
    """Guards the golden vectors in each build, and the sentence of a browser without SIMD."""
    for build, words in (("relaxed", "relaxed SIMD"), ("simd", "with SIMD"), ("plain", "about ten times as long")):
        with chromium.open_page(f"{address}?build={build}&self-test") as page:
            page.address = address
            page.run(UNTIL % READY)
            assert text(page, "result") == "All 32 drawn images are answered as LiteRT answers them."
            assert words in text(page, "about")
            assert [line for line in page.browser_errors if address not in line] == []


def test_offline_after_the_first_visit(nano_bundle: Path) -> None:
    """Guards the service worker: without the server the page, the network and the answer are still there."""
    with serving(nano_bundle) as address:
        page = chromium.open_page(address)
        page.run(UNTIL % READY)
    with page:
        page.send("Page.reload")
        page.run(UNTIL % READY)
        choose(page, "frame.png", FRAME)
        page.run(UNTIL % "document.querySelector('#label')?.textContent")


@pytest.mark.parametrize(("name", "change"), [("wasm", lambda data: data[:-9]), ("gone", None)])
def test_damaged_bundle(nano_bundle: Path, tmp_path: Path, name: str, change: Any) -> None:
    """Guards the sentence on the page for a module that was cut on its way, or that is missing."""
    folder = shutil.copytree(nano_bundle, tmp_path / name)
    for path in folder.glob("*.wasm"):
        path.write_bytes(change(path.read_bytes())) if change else path.unlink()
    with serving(folder) as address, chromium.open_page(address) as page:
        page.run(UNTIL % "document.querySelector('#error').textContent.startsWith('feredge-relaxed.wasm: expected')")
        found = "found a damaged one" if change else "HTTP status 404"
        assert found in text(page, "error")


def test_opened_as_a_file(nano_bundle: Path) -> None:
    """Guards the sentence for a page that was opened without a web server, where browsers load no modules."""
    with chromium.open_page(nano_bundle / "index.html") as page:
        assert "This page needs a web server" in text(page, "summary")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_phone(address: str, dark: bool, tmp_path: Path) -> None:
    """Guards the page at the width of a phone: nothing is cut, and text stands out from its background."""
    with chromium.open_page(address, width=360, height=800, dark=dark) as page:
        page.run(UNTIL % READY)
        choose(page, "frame.png", FRAME)
        page.run(UNTIL % "document.querySelector('#label')?.textContent")
        assert page.run("document.documentElement.scrollWidth") <= 360
        page.screenshot(tmp_path / "page.png")
        picture = cv2.imread(str(tmp_path / "page.png"))
        assert picture is not None and (picture[2, 2].mean() < 64) == dark
        assert page.browser_errors == []


def test_color(color_bundle: Path) -> None:
    """Guards a colour network, whose class names are shown as text."""
    with serving(color_bundle) as address, chromium.open_page(address) as page:
        page.run(UNTIL % READY)
        assert text(page, "summary") == "Answers </script>, `${x}`, 1."
        choose(page, "frame.png", FRAME)
        page.run(UNTIL % "document.querySelectorAll('#table tr').length === 3")
        assert page.browser_errors == []


def test_every_control_has_a_name(page: Any) -> None:
    """Guards screen readers: buttons, sliders and meters are named, and the error and the answer are announced."""
    choose(page, "frame.png", FRAME)
    page.run(UNTIL % "document.querySelector('#label')?.textContent")
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if node["role"].get("value") in ("button", "slider", "meter", "checkbox", "table")
    ]
    assert {role for role, _ in named} >= {"button", "slider", "meter"}
    assert all(name for role, name in named if role != "table"), named
    assert page.run("[...document.querySelectorAll('[role]')].map((one) => one.getAttribute('role')).sort()") == [
        "alert", "img", "status", "status",
    ]  # fmt: skip


def test_the_example_page(nano_bundle: Path, tmp_path: Path) -> None:
    """Guards examples/web_page.html, with a picture and with a file that is none."""
    folder = shutil.copytree(nano_bundle, tmp_path / "web")
    shutil.copy2(NANO.parents[2] / "examples/web_page.html", folder)
    with Predictor(NANO) as predictor:
        face = predictor(FRAME)
    with serving(folder) as address, chromium.open_page(f"{address}web_page.html") as page:
        page.run(UNTIL % "document.querySelector('#state').textContent !== 'Loading ...'")
        choose(page, "face.png", FRAME)
        page.run(UNTIL % "document.querySelectorAll('li').length === 1")
        choose(page, "wrong.png", b"no picture")
        page.run(UNTIL % "document.querySelectorAll('li').length === 2")
        lines = page.run("[...document.querySelectorAll('li')].map((line) => line.textContent)")
    assert lines[0] == f"face.png: {face.label} {face.confidence:.2f}"
    assert lines[1].startswith("wrong.png: ")
