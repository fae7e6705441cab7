"""The web bundle's files: their size, the same bytes each time, and the module in Node."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from feredge.bundles.targets import bundle, check_bundle
from feredge.errors import ArtifactError
from feredge.export.c import compiler
from feredge.inference.contract import InputContract
from feredge.inference.face_detection import crop_square
from feredge.inference.runtimes import open_artifact

NANO = Path(__file__).parents[3] / "models/nano/dense.int8.tflite"
FIRST_VISIT = ("index.html", "page.js", "feredge.js", "feredge-relaxed.wasm", "sw.js")
MOST_FIRST_VISIT_BYTES = 110_000
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def node(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program that imports the bundle's module as `load` and `network`."""
    text = f'import {{ load, network }} from "./feredge.js";\n{program}'
    return subprocess.run(["node", "--input-type=module", "-e", text], cwd=folder, capture_output=True, text=True)


def test_bytes_of_a_first_visit(nano_bundle: Path) -> None:
    """Guards the size over the wire."""
    sizes = {name: len(gzip.compress((nano_bundle / name).read_bytes(), 9)) for name in FIRST_VISIT}
    assert sum(sizes.values()) <= MOST_FIRST_VISIT_BYTES, sizes


def test_same_bytes_each_time(nano_bundle: Path, tmp_path: Path) -> None:
    """Guards `feredge verify`, which compares a bundle with what feredge writes."""
    again = bundle("web", NANO, tmp_path / "again")
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in nano_bundle.iterdir()
    }


def test_verify(color_bundle: Path, tmp_path: Path) -> None:
    """Guards the self-tests in Node and Chromium, and that they are not run on a changed bundle."""
    checks, tests = check_bundle(color_bundle)
    assert not [check.failure for check in checks if check.failure]
    assert not [test.failure for test in tests if test.failure], tests
    changed = shutil.copytree(color_bundle, tmp_path / "changed")
    (changed / "page.js").write_text("alert(1)")
    checks, tests = check_bundle(changed)
    assert [check.failure for check in checks] and not tests


@needs_node
@pytest.mark.parametrize("build", ["simd", "plain"])
def test_answers_as_litert(nano_bundle: Path, tmp_path: Path, build: str) -> None:
    """Guards each build, the preprocessing of whole pictures, and the crop of a box at the border."""
    pictures = np.random.default_rng(3).integers(0, 256, (4, 90, 70, 4), np.uint8)
    (tmp_path / "pictures.bin").write_bytes(pictures.tobytes())
    program = f"""
        const net = await load({{ build: {build!r} }}), rows = [];
        const bytes = (await import("node:fs")).readFileSync({str(tmp_path / "pictures.bin")!r});
        for (let at = 0; at < bytes.length; at += 90 * 70 * 4) {{
          const picture = {{ data: bytes.subarray(at, at + 90 * 70 * 4), width: 70, height: 90 }};
          rows.push(net.predict(picture).scores);
          rows.push(net.predict(picture, {{ box: {{ x: 50.4, y: -5, width: 30, height: 41 }} }}).scores);
        }}
        console.log(JSON.stringify(rows));
    """
    done = node(nano_bundle, program)
    assert not done.stderr
    crops = [crop for picture in pictures for crop in (picture, crop_square(picture, (50, -5, 30, 41)))]
    batch = InputContract().to_batch(crops, color="rgb")
    np.testing.assert_array_equal(np.array(json.loads(done.stdout), np.float32), open_artifact(NANO).predict(batch))


@needs_node
def test_color(color_bundle: Path) -> None:
    """Guards three channels, and class names that are code elsewhere."""
    picture = np.random.default_rng(4).integers(0, 256, (31, 45, 4), np.uint8)
    program = f"""
        const data = Uint8Array.from({picture.reshape(-1).tolist()});
        const prediction = (await load()).predict({{ data, width: 45, height: 31 }});
        console.log(JSON.stringify([network, prediction]));
    """
    network, prediction = json.loads(node(color_bundle, program).stdout)
    assert network["classes"] == ["</script>", "`${x}`", "1"] and network["channels"] == 3
    runner = open_artifact(color_bundle / "dense.int8.tflite")
    expected = runner.predict(InputContract(20, 16, 3).to_batch([picture], color="rgb"))[0]
    assert prediction["scores"] == expected.tolist()
    assert prediction["label"] == network["classes"][expected.argmax()]


@needs_node
@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("load({ build: 'toString' })", "expected build relaxed, simd, plain, found toString"),
        ("net.predict(new Uint8Array(5))", "expected Uint8Array of 48 x 48 x 1, found Uint8Array of 5"),
        ("net.predict(new Float32Array(2304))", "found Float32Array of 2304"),
        ("net.predict({})", "expected a picture with a width and a height, found undefined x undefined"),
        ("net.predict(null)", "expected a picture with a width and a height"),
        (
            "net.predict({ data: new Uint8Array(4), width: 9, height: 9 })",
            "expected RGBA pixels of 9 x 9, found 4",
        ),
        (
            "net.predict(picture, { box: { x: 9, y: 0, width: 5, height: 5 } })",
            "expected a box that overlaps the 9 x",
        ),
        ("net.predict(picture, { box: { x: 0, y: 0, width: 5 } })", "expected a box that overlaps the 9 x"),
        (
            "net.predict(picture, { box: { x: 0, y: 0, width: 99, height: 5 } })",
            "expected a box about as large as",
        ),
    ],
)
def test_bad_input(nano_bundle: Path, call: str, message: str) -> None:
    """Guards one sentence for each mistake."""
    program = f"""
        const net = await load(), picture = {{ data: new Uint8Array(324), width: 9, height: 9 }};
        try {{ await {call}; }} catch (error) {{ console.log(error.message); }}
    """
    done = node(nano_bundle, program)
    assert message in done.stdout and "\n" not in done.stdout.strip()


@needs_node
def test_damaged_files(nano_bundle: Path, tmp_path: Path) -> None:
    """Guards against a module that was cut or changed on its way: it does not run."""
    folder = shutil.copytree(nano_bundle, tmp_path / "damaged")
    for name in ("simd", "plain"):
        path = folder / f"feredge-{name}.wasm"
        path.write_bytes(path.read_bytes()[: -1 if name == "simd" else 40_000])
        done = node(folder, f"await load({{ build: {name!r} }}).catch((error) => console.log(error.message))")
        assert done.stdout.startswith(f"feredge-{name}.wasm: expected the file that feredge wrote, found a damaged one")
    vectors = folder / "golden.bin"
    vectors.write_bytes(vectors.read_bytes()[:-1] + b"\0")
    done = subprocess.run(["node", "self_test.mjs"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1 and "simd: feredge-simd.wasm: expected" in done.stdout


def test_without_zig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards the line that says what to install; nothing is written."""
    monkeypatch.setattr(compiler, "has_zig", lambda: False)
    with pytest.raises(ArtifactError, match=r"expected Zig's C compiler for wasm32-freestanding, found none; pip"):
        bundle("web", NANO, tmp_path / "bundle")
    assert not list(tmp_path.iterdir())
