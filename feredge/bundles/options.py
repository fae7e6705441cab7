"""Options of the targets of bundles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Arithmetic = Literal["xnnpack", "tflm"]


@dataclass(frozen=True)
class BundleOptions:
    """Options of targets; each takes those that `targets.Target.options` names.

    Attributes:
        arithmetic: whose kernels' answers the C library gives: `xnnpack`, or `tflm` for TensorFlow Lite Micro's.
        board: a microcontroller board whose memory must suffice; None for any.
    """

    arithmetic: Arithmetic = "xnnpack"
    board: str | None = None
