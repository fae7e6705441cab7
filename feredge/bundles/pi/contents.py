"""The files of a bundle for Arm Linux."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from feredge.bundles.folder import Contents
from feredge.bundles.golden import Golden
from feredge.bundles.mcu import contents as mcu
from feredge.bundles.mcu.self_test import emulated_test
from feredge.bundles.notices import NOTICES_FILE, code_notice, notices_text, weights_notice
from feredge.bundles.options import BundleOptions
from feredge.bundles.pi.libraries import ARCHITECTURES, compile_library
from feredge.bundles.source import Source
from feredge.bundles.targets import SelfTest
from feredge.bundles.templates import fill
from feredge.inference.artifact import MANIFEST_FILE, Entry, Manifest
from feredge.inference.c_source import c_library_memory

README_TEMPLATE = Path(__file__).with_name("README.md")


def build(source: Source, golden: Golden, options: BundleOptions) -> Contents:
    """Return the bundle's files: a folder for each of ARCHITECTURES, with a library and its manifest.

    Raises:
        ArtifactError: a model that has no C library, or no Zig to compile it.
    """
    library = mcu.library_files(source, golden, options)
    code = library[f"src/{mcu.library_symbol(source)}.c"].decode()
    name = Path(source.name).with_suffix(".so").name
    values = {**mcu.model_values(source), "SO_NAME": name}
    notices = [code_notice("The libraries, armhf/ and aarch64/, and their source, src/"), weights_notice(source.card)]
    files = {
        **library,
        "README.md": fill(README_TEMPLATE.read_text(encoding="utf-8"), values).encode(),
        f"model/{source.name}": source.data,
        NOTICES_FILE: notices_text(notices),
    }
    facts = c_library_memory(code.encode())
    for architecture in ARCHITECTURES:
        compiled = compile_library(code, architecture)
        entry = Entry(name, hashlib.sha256(compiled).hexdigest(), len(compiled), source.card, facts=facts)
        files[f"{architecture}/{name}"] = compiled
        files[f"{architecture}/{MANIFEST_FILE}"] = json.dumps(Manifest((entry,)).to_json(), indent=2).encode()
    return files


def self_tests(folder: Path, source: Source, golden: Golden) -> list[SelfTest]:
    """Run the self-test of the libraries' source in QEMU, compiled for the same CPUs."""
    del golden  # in the self-test
    return [emulated_test(folder, mcu.library_symbol(source), architecture) for architecture in ARCHITECTURES]
