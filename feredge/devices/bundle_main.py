"""What `python bench.zip` runs on a device: unpack beside the results, measure, remove what was unpacked.

It stands as `__main__.py` in a bundle. Nothing newer than Python 3.6 is written here, so that an older Python than
feredge takes gets to say so.
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

OLDEST = (3, 11)


def main() -> int:
    """Measure what the bundle holds; return the exit code."""
    parser = argparse.ArgumentParser(prog="python bench.zip", description="Measure the files in this bundle here.")
    parser.add_argument("--out", default="results.json", help="where the results go  [default: results.json]")
    parser.add_argument("--progress", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if sys.version_info < OLDEST:
        return fail(f"expected Python {OLDEST[0]}.{OLDEST[1]} or newer, found {sys.version.split()[0]}")
    missing = [name for name in ("numpy", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        return fail(f"expected numpy and onnxruntime, found no {' nor '.join(missing)}: pip install numpy onnxruntime")
    out = Path(options.out).absolute()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that what was unpacked is removed
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
    except BrokenPipeError:  # whoever read the output wants no more; the results are written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        return fail(f"expected to measure a whole bundle, found {error}")
    except KeyboardInterrupt:
        return fail("stopped", 130)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def fail(message: str, code: int = 2) -> int:
    """Say why not, control characters written out; return the exit code. `feredge.console` is too new for it."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)
    sys.stderr.write(f"error: {shown}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
