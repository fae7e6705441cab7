#!/usr/bin/env python3
"""The cost of mirror averaging: each `dense-mirror` file's time per image over that of the dense file.

    python benchmarks/mirror.py runs/nano/artifacts

Both are timed in short turns, one after the other, on one thread; the median ratio of the turns is printed. Times are
CPU times of that thread, in which other programs on the machine do not count.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
from paired_times import compare_times


def main() -> None:
    """Print the ratio of every pair of files in the folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args().folders:
        for path in sorted(folder.glob("dense-mirror.*.*")):
            dense = path.with_name(path.name.replace("dense-mirror", "dense"))
            if not dense.is_file() or path.suffix == ".h":
                continue
            ratio, dense_seconds, mirror_seconds = compare_times(dense, path)
            print(f"{path}: {ratio:.2f} times dense ({1e3 * mirror_seconds:.3f} and {1e3 * dense_seconds:.3f} ms)")


if __name__ == "__main__":
    main()
