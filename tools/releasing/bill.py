"""The bill of materials of a release, sbom.cdx.json, and digests, SHA256SUMS.

The bill is CycloneDX 1.6, made of requirements.lock by cyclonedx-bom: every package that an installation with all
extras may bring, by version and hashes. SHA256SUMS has the digests of the distributions, the bill and the models.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SBOM_NAME = "sbom.cdx.json"
DIGESTS_NAME = "SHA256SUMS"


def write_bill(root: Path, folder: Path, version: str) -> Path:
    """Write the bill of materials of the project in `root` into `folder`."""
    from feredge import files

    path = folder / SBOM_NAME
    subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", "requirements.lock"),
            *("--pyproject", "pyproject.toml", "--mc-type", "library", "--short-PURLs", "--output-reproducible"),
            *("--spec-version", "1.6", "--output-file", str(path)),
        ],
        cwd=root,
        check=True,
    )
    bill = json.loads(path.read_text(encoding="utf-8"))
    bill["metadata"]["component"]["version"] = version  # pyproject.toml leaves it to feredge/__init__.py
    files.write_text(path, json.dumps(bill, indent=2) + "\n")
    return path


def write_digests(root: Path, folder: Path, released: list[Path]) -> int:
    """Write the digests of released files and of the models, as `sha256sum -c` reads them; return their number."""
    from feredge import files

    models = sorted(path for path in (root / "models").glob("*/dense.*") if path.is_file())
    named = {path.name: path for path in released}
    named |= {f"../{path.relative_to(root).as_posix()}": path for path in models}
    files.write_text(folder / DIGESTS_NAME, "".join(f"{files.sha256(path)}  {name}\n" for name, path in named.items()))
    return len(named)
