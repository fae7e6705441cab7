"""A compiled C library behind the runner interface, through ctypes: needs numpy only. It is native code."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError
from feredge.inference.artifact import MANIFEST_FILE, Card, Manifest, check_digest
from feredge.inference.c_source import library_name
from feredge.inference.contract import Images

SHARED_LIBRARY_SUFFIX = ".so"
ARENA_ALIGNMENT = 16  # bytes, as the header of a C library states
ARENA_LIMIT_BYTES = 1 << 30


def open_shared_library(path: Path) -> SharedLibraryRunner:
    """Load a compiled library that the manifest beside it names with its SHA-256.

    A library is native code, which runs with all rights of this process; nothing of it is checked but that it is the
    file that the manifest names. Open none from people whom you do not trust.

    Raises:
        ArtifactError: no manifest, one that does not name the file, another digest, or a library for another machine.
    """
    if not (path.parent / MANIFEST_FILE).is_file():
        raise ArtifactError(
            f"{path}: expected {MANIFEST_FILE} beside a compiled library, which is native code, found none; "
            f"`feredge bundle --for pi` writes both"
        )
    for entry in Manifest.read(path.parent, check=False).entries:
        if entry.file == path.name:
            check_digest(path, entry.sha256)
            arena_bytes = entry.facts.get("arena_bytes")
            if type(arena_bytes) is not int or not 0 < arena_bytes <= ARENA_LIMIT_BYTES:
                raise ArtifactError(f"{path}: expected arena_bytes in {MANIFEST_FILE}, found {arena_bytes!r:.40}")
            return SharedLibraryRunner(path, entry.card, path=path, arena_bytes=arena_bytes)
    raise ArtifactError(f"{path}: expected a library that {MANIFEST_FILE} names, found another")


class SharedLibraryRunner:
    """A library that was compiled from a `.c` artifact. Loading it runs its code.

    Runners of one library share its code, and have an arena each.

    Args:
        library: the compiled file.
        card: that of the `.c` artifact.
        path: the file that messages name.
        arena_bytes: memory of an inference.

    Attributes:
        card: that of the `.c` artifact.
        path: the file that was opened.
    """

    def __init__(self, library: Path, card: Card, *, path: Path, arena_bytes: int) -> None:
        self.card = card
        self.path = path
        self._lock = threading.Lock()
        memory = np.empty(arena_bytes + ARENA_ALIGNMENT, np.uint8)
        self._arena = memory[-memory.ctypes.data % ARENA_ALIGNMENT :]
        symbol = f"feredge_{library_name(card)}_predict_in"
        try:
            self._predict = getattr(ctypes.CDLL(str(library.absolute())), symbol)
        except (OSError, AttributeError) as error:
            raise ArtifactError(f"{path}: expected a library for this machine with {symbol}, found none") from error
        self._predict.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]

    def predict(self, batch: Images) -> NDArray[np.float32]:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`.

        Raises:
            ArtifactError: a batch of another shape or dtype.
        """
        shape = self.card.contract.shape
        if batch.dtype != np.uint8 or batch.shape[1:] != shape:
            raise ArtifactError(
                f"{self.path}: expected a batch of uint8 (N, {', '.join(map(str, shape))}), "
                f"found {batch.dtype} {batch.shape}"
            )
        batch = np.ascontiguousarray(batch)
        outputs = np.empty((len(batch), len(self.card.classes)), np.float32)
        with self._lock:  # there is one arena
            for image, output in zip(batch, outputs, strict=True):
                self._predict(self._arena.ctypes.data, image.ctypes.data, output.ctypes.data)
        return outputs
