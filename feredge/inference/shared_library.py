"""A compiled C library behind the runner interface, through ctypes: needs numpy only. It is native code."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError
from feredge.inference.artifact import Card
from feredge.inference.c_source import library_name
from feredge.inference.contract import Images


class SharedLibraryRunner:
    """A library that was compiled from a `.c` artifact. Loading it runs its code.

    Attributes:
        card: that of the `.c` artifact.
        path: the file that was opened.
    """

    def __init__(self, library: Path, card: Card, *, path: Path) -> None:
        self.card = card
        self.path = path
        self._lock = threading.Lock()
        symbol = f"feredge_{library_name(card)}_predict"
        try:
            self._predict = getattr(ctypes.CDLL(str(library.absolute())), symbol)
        except (OSError, AttributeError) as error:
            raise ArtifactError(f"{path}: expected a library for this machine with {symbol}, found none") from error
        self._predict.argtypes = [ctypes.c_void_p, ctypes.c_void_p]

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
        with self._lock:  # the library has one arena
            for image, output in zip(batch, outputs, strict=True):
                self._predict(image.ctypes.data, output.ctypes.data)
        return outputs
