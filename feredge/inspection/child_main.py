"""The program of a `ChildProcess`: answers each request, a line of JSON on standard input, with one on standard output.

It ends when its input is closed, also in the middle of a call, so that none outlives a parent that was killed.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any

from feredge.errors import FeredgeError, one_line
from feredge.inspection.limits import set_limits
from feredge.inspection.write_confinement import confine_writes


def respond(request: dict[str, Any]) -> dict[str, Any]:
    """Call the function that `request` names; return `result`, or `error` and `text`."""
    try:
        limits = request["limits"]
        set_limits(cpu_seconds=limits["cpu_seconds"], memory_bytes=limits["memory_bytes"])
        if request["writable"]:
            os.chdir(request["writable"])
            confine_writes(Path(request["writable"]))
        module, _, name = request["function"].partition(":")
        return {"result": getattr(importlib.import_module(module), name)(**request["arguments"])}
    except FeredgeError as error:
        return {"error": type(error).__name__, "text": str(error)}
    except ModuleNotFoundError as error:
        return {"error": "ModuleNotFoundError", "text": str(error.name)}
    except OSError as error:
        location = error.filename or "the system"
        return {"error": "ArtifactError", "text": f"{location}: expected a file that can be read ({error.strerror})"}
    except Exception as error:  # whatever a reader raises on a file
        return {"error": type(error).__name__, "text": one_line(error)}


def main() -> None:
    """Respond to requests until the input ends. What libraries print goes to standard error."""
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read_requests() -> None:
        for line in sys.stdin.buffer:
            requests.put(line)
        os._exit(0)

    threading.Thread(target=read_requests, daemon=True).start()
    while True:
        response = respond(json.loads(requests.get()))
        responses.write(json.dumps(response).encode() + b"\n")
        responses.flush()


if __name__ == "__main__":
    main()
