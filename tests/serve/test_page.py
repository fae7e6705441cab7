"""The page to try a picture or the webcam, in Chromium."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import chromium
import cv2
import pytest
from device_models import draw_frame

UNTIL = """new Promise((done, fail) => {
    const end = Date.now() + 20000;
    (function look() {
        if (%s) { return done(true); }
        if (Date.now() > end) { return fail(document.body.innerText); }
        setTimeout(look, 50);
    })();
})"""


@pytest.fixture
def page(serving: Callable[..., Any], tmp_path: Path) -> Iterator[Any]:
    """The page of a service that looks for faces."""
    blank = tmp_path / "blank.html"
    blank.write_text("<!doctype html><title>blank</title>")
    with chromium.open_page(blank) as page, serving(detect=True) as service:
        address = f"http://127.0.0.1:{service.port}/"
        page.send("Page.navigate", url=address)
        page.run(UNTIL % "document.querySelector('#model')?.textContent")
        yield page
        # Asking this service is what the page is for; anything else is a complaint.
        foreign = [line for line in page.browser_errors if f"network request: {address}" not in line]
        assert foreign == []


def give(page: Any, name: str, data: bytes) -> None:
    """Choose a file in the page, as a user does."""
    text = base64.b64encode(data).decode()
    page.run(f"""(() => {{
        const bytes = Uint8Array.from(atob("{text}"), one => one.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], "{name}"));
        const input = document.querySelector("#file");
        input.files = transfer.files;
        input.dispatchEvent(new Event("change"));
    }})()""")


def test_picture(page: Any, tmp_path: Path) -> None:
    """A frame with two faces shows two boxes and two tables; a picture that is none shows the service's words."""
    frame = cv2.imencode(".png", draw_frame()[0])[1].tobytes()
    give(page, "frame.png", frame)
    page.run(UNTIL % "document.querySelectorAll('#faces table').length === 2")
    assert page.run("document.querySelectorAll('#faces table')[0].rows.length") == 7
    assert page.run("document.querySelector('#stage p').hidden")
    orange = """(() => {
        const canvas = document.querySelector("#canvas");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0;
        for (let at = 0; at < data.length; at += 4) {
            count += data[at] === 213 && data[at + 1] === 94 && data[at + 2] === 0;
        }
        return [canvas.width, canvas.height, count];
    })()"""
    width, height, count = page.run(orange)
    assert (width, height) == (640, 480) and count > 1000
    page.screenshot(tmp_path / "page.png")
    assert cv2.imread(str(tmp_path / "page.png")) is not None
    page.run("document.querySelector('#face').click()")
    give(page, "frame.png", frame)
    page.run(UNTIL % "document.querySelectorAll('#faces table').length === 1")
    before = len(page.browser_errors)
    give(page, "text.png", b"no picture")
    page.run(UNTIL % "document.querySelector('#error').textContent.startsWith('expected a PNG')")
    # Chromium notes every answer that is not 200 in its console; that one was wanted
    page.browser_errors[before:] = [line for line in page.browser_errors[before:] if "415" not in line]


def test_webcam(page: Any) -> None:
    """Frames of a camera are sent one after the other and drawn with their boxes. A canvas stands in for the camera."""
    frame = base64.b64encode(cv2.imencode(".png", draw_frame()[0])[1].tobytes()).decode()
    page.run(f"""(async () => {{
        const bytes = Uint8Array.from(atob("{frame}"), one => one.charCodeAt(0));
        const picture = await createImageBitmap(new Blob([bytes]));
        const canvas = document.createElement("canvas");
        canvas.width = 640; canvas.height = 480;
        const draw = () => canvas.getContext("2d").drawImage(picture, 0, 0);
        draw(); setInterval(draw, 50);
        navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(20);
    }})()""")
    page.run("document.querySelector('#camera').click()")
    page.run(UNTIL % "document.querySelectorAll('#faces table').length === 2")
    asked = sum("/predict" in line for line in page.browser_errors)
    page.run("new Promise(done => setTimeout(done, 1000))")
    assert page.run("document.querySelector('#camera').textContent") == "Stop the webcam"
    page.run("document.querySelector('#camera').click()")
    page.run("new Promise(done => setTimeout(done, 300))")
    assert page.run("document.querySelector('#camera').textContent") == "Start the webcam"
    later = sum("/predict" in line for line in page.browser_errors)
    assert later > asked
    page.run("new Promise(done => setTimeout(done, 500))")
    assert sum("/predict" in line for line in page.browser_errors) == later


def test_no_webcam(page: Any) -> None:
    """Without a camera the page says so and goes on."""
    page.run("navigator.mediaDevices.getUserMedia = async () => { throw new Error('none here'); }")
    page.run("document.querySelector('#camera').click()")
    page.run(UNTIL % "document.querySelector('#error').textContent === 'No webcam: none here'")


def test_a_service_of_whole_pictures(serving: Callable[..., Any], tmp_path: Path) -> None:
    """Guards networks that are not of faces: the page asks for no face, whatever the picture."""
    blank = tmp_path / "blank.html"
    blank.write_text("<!doctype html><title>blank</title>")
    with chromium.open_page(blank) as page, serving(detect=False) as service:
        page.send("Page.navigate", url=f"http://127.0.0.1:{service.port}/")
        page.run(UNTIL % "document.querySelector('#model')?.textContent")
        give(page, "gray.png", cv2.imencode(".png", draw_frame()[0][:40, :40])[1].tobytes())
        page.run(UNTIL % "document.querySelectorAll('#faces table').length === 1")
