"""`feredge bundle`: what a device needs of a file, or one file that benchmarks a run there."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

import feredge
from feredge.api.bundling import TargetName
from feredge.bundles.options import Arithmetic
from feredge.commands.measuring import EFFORT_OPTIONS, effort_name
from feredge.commands.shared import MOVED_DATA_OPTION, PATH_TYPE, bars
from feredge.console import echo


@click.command("bundle")
@click.argument("source", type=PATH_TYPE)
@click.option("--for", "target", type=click.Choice(get_args(TargetName)), help="The device; see above.")
@click.option("--out", required=True, type=PATH_TYPE, metavar="PATH", help="Folder to write; without --for a zip file.")
@click.option(
    "--arithmetic",
    type=click.Choice(get_args(Arithmetic)),
    default="xnnpack",
    show_default=True,
    help="With --for mcu: whose answers the C library gives, LiteRT's with XNNPACK or TensorFlow Lite Micro's.",
)
@click.option("--board", help="With --for mcu: refuse a library that this board's memory does not hold.")
@MOVED_DATA_OPTION
@EFFORT_OPTIONS
def command(
    source: Path,
    target: TargetName | None,
    out: Path,
    arithmetic: Arithmetic,
    board: str | None,
    data: str | None,
    quick: bool,
    strict: bool,
    threads: tuple[int, ...],
    batches: tuple[int, ...],
) -> None:
    """Write what a device needs of an exported file, or with no --for a benchmark of a run.

    With --for, PATH is a folder with all that a device needs of one file, licence notices, and golden vectors: images
    and the reference runtime's answers to them, with which `feredge verify PATH`, and a self-test on the device, check
    it. SOURCE is the file, or a run, a folder of exported files or a name of `feredge models`, of which
    dense.int8.tflite is taken, for ios dense.float32.onnx, for executorch dense.int8.onnx, or the float32.onnx
    file itself.

    \b
    --for android   a library with a Java class, and Kotlin for bitmaps
    --for executorch  a .pte program for the XNNPACK backend; needs pip install 'feredge[executorch]'
    --for ios       a Core ML package in float16 with a Swift class; no Mac has run it; needs pip install 'feredge[ios]'
    --for mcu       a C library for microcontrollers
    --for pi        compiled libraries for Arm Linux, for which the Predictor needs numpy alone
    --for web       a web page and an ES module, in WebAssembly

    Without --for, PATH is a zip file that benchmarks the files of the run SOURCE on a device without ssh. There,
    `python BENCH.ZIP` needs only numpy and onnxruntime, and ai-edge-litert for TFLite files. It writes results.json,
    which `feredge report` reads. The file contains the test images.
    """
    if target is not None:
        if data is not None or quick or strict or threads or batches:
            raise click.UsageError("expected --data and options of the benchmark without --for, found both")
        result = feredge.bundle(source, target=target, out=out, arithmetic=arithmetic, board=board)
        echo(f"bundle: {result.path}, {result.size_bytes / 1e6:.1f} MB; test it: feredge verify {result.path}")
        return
    effort = effort_name(quick, strict)
    with bars() as progress:
        result = feredge.bundle(
            source, out=out, data=data, effort=effort, threads=threads, batches=batches, progress=progress
        )
    echo(f"bundle: {result.path}, {result.size_bytes / 1e6:.1f} MB; on the device: python {result.path.name}")
