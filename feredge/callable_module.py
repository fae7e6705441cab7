"""Packages that can be called: `feredge.train(...)` beside `feredge.train.fitting`.

Standard library only: the rooms of the device side import it too.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any

_CALL_TARGET = "_call_target"
"""Attribute of a callable package: `module:function`, imported by the first call."""


class CallableModule(ModuleType):
    """A module whose call is a call of one function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function; see its own docstring."""
        return self._function(*arguments, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        """The function's signature, for `help` and editors."""
        return inspect.signature(self._function)

    @property
    def target(self) -> str:
        """The function, `module:function`."""
        return str(self.__dict__[_CALL_TARGET])

    @property
    def _function(self) -> Any:
        module, _, name = self.target.partition(":")
        return getattr(importlib.import_module(module), name)


def make_callable(module: str, target: str) -> None:
    """Make an imported module callable.

    Args:
        module: its name in `sys.modules`.
        target: the function, `module:function`; imported by the first call.
    """
    sys.modules[module].__dict__[_CALL_TARGET] = target
    sys.modules[module].__class__ = CallableModule
