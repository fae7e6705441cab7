"""`feredge bundle --for web`: a page and an ES module with the network in WebAssembly."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import feredge
from feredge.bundles.folder import Contents
from feredge.bundles.golden import Golden
from feredge.bundles.notices import NOTICES_FILE, code_notice, notices_text, weights_notice
from feredge.bundles.options import BundleOptions
from feredge.bundles.source import Source
from feredge.bundles.targets import SelfTest
from feredge.bundles.templates import fill_dollars
from feredge.bundles.web.engines import chromium_self_test, node_self_test
from feredge.bundles.web.wasm import WASM_BUILDS, compile_modules
from feredge.inference.c_source import library_name

TEMPLATE_FOLDER = Path(__file__).with_name("templates")
GOLDEN_FILE = "golden.bin"
IMPORT_MAP = json.dumps(
    {
        "imports": {
            "@litertjs/core": "./runtimes/node_modules/@litertjs/core/dist/index.js",
            "@litertjs/wasm-utils": "./runtimes/node_modules/@litertjs/wasm-utils/dist/index.js",
        }
    }
)
"""Where LiteRT.js's modules find each other; see runtimes.js."""


def build(source: Source, golden: Golden, options: BundleOptions) -> Contents:
    """Return the bundle's files.

    Raises:
        ArtifactError: a model that the C library does not take, or no compiler for WebAssembly.
    """
    del options
    contents = {f"feredge-{name}.wasm": module for name, module in compile_modules(source).items()}
    contents[GOLDEN_FILE] = golden.to_bytes()
    contents |= {name: text.encode() for name, text in _texts(source, golden, contents).items()}
    notices = [code_notice("The page, the JavaScript and WebAssembly modules"), weights_notice(source.card)]
    return {**contents, source.name: source.data, NOTICES_FILE: notices_text(notices)}


def self_tests(folder: Path, source: Source, golden: Golden) -> list[SelfTest]:
    """Run the bundle's self-test in Node and in Chromium, where they are."""
    del source, golden
    return [node_self_test(folder), chromium_self_test(folder)]


def _texts(source: Source, golden: Golden, binaries: Contents) -> dict[str, str]:
    card = source.card
    name = library_name(card)
    height, width, channels = card.contract.shape
    network = {"name": name, "classes": card.classes, "height": height, "width": width, "channels": channels}
    digests = {file: _sha256(data) for file, data in binaries.items()}
    onnx_file = f"{Path(source.name).stem}.onnx"
    values = {
        "NAME": html.escape(name),
        "TITLE": name,
        "SHAPE": f"{height}, {width}, {channels}",
        "NETWORK": _literal(network),
        "GOLDEN": _literal({"sha256": digests[GOLDEN_FILE], "images": len(golden.images)}),
        "MODELS": _literal({"LiteRT.js": quote(source.name), "onnxruntime-web": f"runtimes/{quote(onnx_file)}"}),
        "IMPORT_MAP": IMPORT_MAP,
        "IMPORT_MAP_HASH": f"sha256-{_sha256(IMPORT_MAP.encode())}",
        "VERSION": f"{feredge.__version__} {source.sha256[:16]}",
        "VERSIONS": _literal({file: digest[:8] for file, digest in digests.items()}),
        "RELAXED_KB": str(round(len(binaries["feredge-relaxed.wasm"]) / 1000)),
        **{build.upper(): _literal({"sha256": digests[f"feredge-{build}.wasm"]}) for build in WASM_BUILDS},
    }
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(TEMPLATE_FOLDER.iterdir())}
    filled = {file: fill_dollars(text, values) for file, text in texts.items()}
    return {**filled, "package.json": _package(name)}


def _sha256(data: bytes) -> str:
    """Return a digest as browsers write it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _literal(value: Any) -> str:
    """Return a JavaScript literal."""
    return json.dumps(value, ensure_ascii=True)


def _package(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    package = {
        "name": f"feredge-{slug}",
        "version": feredge.__version__,
        "type": "module",
        "exports": "./feredge.js",
        "types": "./feredge.d.ts",
        "private": True,
    }
    return json.dumps(package, indent=2) + "\n"
