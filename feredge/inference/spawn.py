"""Processes that are spawned without importing the caller's script, so that it needs no `if __name__ == "__main__"`."""

from __future__ import annotations

import sys
import threading
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any

_main_module_lock = threading.Lock()


class IndependentProcess(SpawnProcess):
    """A spawned process; what it runs must be defined in an importable module."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        # multiprocessing sends the path of the main module, which the child would run again. There is no option for it.
        with _main_module_lock:
            main_module = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                return SpawnProcess._Popen(process_obj)  # type: ignore[attr-defined]  # private, and in all versions
            finally:
                sys.modules["__main__"] = main_module


class IndependentContext(SpawnContext):
    """The spawn method without the caller's `__main__`.

    Libraries with threads, such as TensorFlow, do not survive a fork.
    """

    Process = IndependentProcess
