"""Confinement of a process's writes to one folder, by Landlock: https://docs.kernel.org/userspace-api/landlock.html.

It is for processes that run a network from elsewhere. Other systems than Linux 5.13 and newer have no such confinement.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

# System call numbers are the same on all architectures since Linux 5.1.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
GET_VERSION = 1
RULE_PATH_BENEATH = 1
PR_SET_NO_NEW_PRIVS = 38
WRITE_FILE, TRUNCATE = 1 << 1, 1 << 14
REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 14))
"""Removing and creating files and folders of any kind, and linking across folders."""
ACCESS_BY_VERSION = ((3, TRUNCATE), (2, 1 << 13))  # bits that older versions do not know


def confine_writes(folder: Path) -> bool:
    """Let this thread, and those that it starts, write in `folder` and to the null device only.

    Open files stay as they are. The limit cannot be lifted.

    Returns:
        Whether the system enforces it.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), GET_VERSION)
    if version < 1:
        return False
    handled = WRITE_FILE | REMOVE_AND_MAKE | TRUNCATE
    for needed, bit in ACCESS_BY_VERSION:
        handled &= ~bit if version < needed else ~0
    attributes = struct.pack("=Q", handled)
    ruleset = libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    try:
        _allow(libc, ruleset, folder, handled)
        _allow(libc, ruleset, Path(os.devnull), handled & (WRITE_FILE | TRUNCATE))
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, access: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", access, descriptor)
        if libc.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0):
            raise OSError(ctypes.get_errno(), "Landlock takes no rule", str(path))
    finally:
        os.close(descriptor)
