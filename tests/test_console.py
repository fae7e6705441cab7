"""What reaches a terminal: nothing that steers it, in any encoding; and data in files and pipes unchanged."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import feredge
from feredge import console
from feredge.console import escape_control

PACKAGE = Path(feredge.__file__).parent
BEFORE_IMPORTS = {"devices/bundle_main.py", "devices/agent.py"}
"""Programs that a device runs before it has feredge: one line each, and JSON for the host."""
EVIL = "a\x1b]0;title\x07\x1b[2J\x9b2J\x7f\u202egnp.\udcff\nerror: b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain “text”, naïve 😀", "plain “text”, naïve 😀"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b2J\x7f\x00\r\t", "\\x9b2J\\x7f\\x00\\r\\t"),
        ("gnp\u202egpj\u2066\u200f\ufeff", "gnp\\u202egpj\\u2066\\u200f\\ufeff"),
        ("\ud800 and \udcff", "\\ud800 and \\udcff"),
        ("a\nb\u2028c", "a\\nb\\u2028c"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # the joiner is spelling
    ],
)
def test_what_steers_a_terminal_is_written_out(text: str, shown: str) -> None:
    """Guards titles, screens and lines against names of files: C0, C1, DEL, direction, half pairs, line breaks."""
    assert escape_control(text) == shown


def run(code: str, encoding: str = "utf-8") -> tuple[bytes, bytes]:
    """Return what a program that prints by the module writes to its pipes."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(PACKAGE.parent)}
    program = f"from feredge.console import *\nEVIL = {EVIL!a}\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, check=True)
    return done.stdout, done.stderr


def test_each_way_to_print_escapes() -> None:
    """Guards the whole module: a way to print that lets an escape through, or a newline begin a line of its own."""
    out, err = run(
        "echo(EVIL); echo(EVIL, err=True); echo_lines(EVIL); echo_json({'a': EVIL}); echo_styled('\\x1b[1m' + EVIL)\n"
        "progress_line(EVIL, 1, 1)"
    )
    assert not set(out + err) & {0x1B, 0x07, 0x7F, 0x9B, 0x0D}
    lines = out.decode().splitlines()
    assert lines[0] == "a\\x1b]0;title\\x07\\x1b[2J\\x9b2J\\x7f\\u202egnp.\\udcff\\nerror: b"
    assert err.decode().splitlines() == [lines[0], f"{lines[0]}: done"]
    assert sum(line.startswith("error") for line in lines) == 2, "echo_lines and echo_styled keep lines"


def test_json_stays_json() -> None:
    """Guards programs that read --json: what is escaped for a terminal must come back as it was."""
    import json

    assert json.loads(run("echo_json([EVIL])")[0]) == [EVIL]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii"])
def test_any_encoding_prints(encoding: str) -> None:
    """Guards the end of an hour of measuring against a terminal that has no minus sign; columns keep their width."""
    out, _ = run("echo('−0.20 │ 😀 ● end'); echo_styled('│ ─ × ≥'); echo('−', err=True)", encoding)
    first, second = out.decode(encoding).splitlines()
    assert first == "-0.20 | ? ? end" and len(second) == 7 and second[:3] == "| -"


def test_data_for_programs_keeps_its_bytes() -> None:
    """Guards csv in a pipe: names of files that are no text, whatever the terminal's encoding."""
    out, _ = run("echo('before'); write_data('a\\udcff.png,−\\n'.encode('utf-8', 'surrogateescape'))", "cp1252")
    assert out == b"before\na\xff.png,\xe2\x88\x92\n"


def test_data_on_a_terminal_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards `--csv -` before a person's eyes."""

    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    screen = Terminal(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", screen)
    console.write_data(b"a\x1b[2J\xff.png,1\n")
    screen.flush()
    assert screen.buffer.getvalue() == b"a\\x1b[2J\\udcff.png,1\n"  # type: ignore[attr-defined]  # a buffer of bytes


def test_colours_of_data_are_not_ours() -> None:
    """Guards tables against text that hides itself: only what is coloured after `visible` keeps its colour."""
    pytest.importorskip("rich")
    from rich.text import Text

    styled = console.rendered(Text(escape_control("\x1b[8mhidden"), style="bold"))
    assert styled == "\x1b[1m\\x1b[8mhidden\x1b[0m"


def prints(source: str) -> list[str]:
    """Return the calls in Python source that print by themselves."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        streams = ("sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer.write", "sys.stderr.buffer.write")
        own = ("print", "Console", *(f"click.{one}" for one in ("echo", "secho", "progressbar", "prompt", "confirm")))
        if name in (*own, *streams) or name.endswith(".print"):
            found.append(name)
    return found


def test_only_the_console_prints() -> None:
    """Guards the one place: a print elsewhere would let a name or a card reach the terminal as it is."""
    assert prints("import click\nclick.echo(1)\nprint(2)\nsys.stderr.write('3')\nconsole.print(4)") != []
    paths = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    assert set(paths) > BEFORE_IMPORTS
    others = set(paths) - BEFORE_IMPORTS - {"console.py"}
    assert {name for name in others if prints(paths[name].read_text(encoding="utf-8"))} == set()
