"""The `__main__.py` of a bundle: unpacks it next to the results, measures, and removes what was unpacked.

Its syntax is Python 3.6's, so that a Python that is too old for feredge gets a message.
"""

import argparse
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

OLDEST_PYTHON = (3, 11)


def main() -> int:
    """Measure the files in the bundle; return the exit code."""
    parser = argparse.ArgumentParser(prog="python bench.zip", description="Measure the files in this bundle here.")
    parser.add_argument("--out", default="results.json", help="where the results go  [default: results.json]")
    parser.add_argument("--progress", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if sys.version_info < OLDEST_PYTHON:
        return fail(f"expected Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer, found {sys.version.split()[0]}")
    missing = [name for name in ("numpy", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        return fail(f"expected numpy and onnxruntime, found no {' nor '.join(missing)}: pip install numpy onnxruntime")
    out = Path(options.out).absolute()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that the unpacked files are removed
    try:
        folder = tempfile.mkdtemp(prefix=".feredge-", dir=str(out.parent))
    except OSError as error:
        return fail(f"expected a folder that can be written, found {out.parent}: {error.strerror}")
    try:
        with zipfile.ZipFile(sys.path[0]) as archive:
            archive.extractall(folder)
        sys.path[0] = folder  # workers read sources and files from there
        from feredge.devices import on_device
        from feredge.errors import FeredgeError

        try:
            on_device.main(folder, out, options.progress)
        except FeredgeError as error:
            return fail(str(error))
    except BrokenPipeError:  # the reader of the output has ended; the results are written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        return fail(f"expected a complete bundle, found {error}")
    except KeyboardInterrupt:
        return fail("stopped", 130)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def fail(message: str, code: int = 2) -> int:
    """Print an error, control characters escaped, and return `code`. `feredge.console` needs a newer Python."""
    printable = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)
    sys.stderr.write(f"error: {printable}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
