"""`feredge doctor`: what is installed, what this machine has, and whether prediction and export work."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

import feredge
from feredge.commands.shared import JSON_OPTION
from feredge.console import echo, echo_json, echo_table
from feredge.progress import heartbeat


@click.command("doctor")
@click.option("--no-export", is_flag=True, help="Do not try an export, which takes about half a minute.")
@JSON_OPTION
def command(no_export: bool, as_json: bool) -> None:
    """Check the installation and the machine, and try a prediction and an export.

    It shows the installed packages, what each missing extra would give, the CPU's instruction sets, cameras and
    compilers. Packages are imported, and trials are run, in child processes. If feredge cannot work as it is installed,
    the cause and its remedy are printed, and the exit code is 1.
    """
    with heartbeat("checking"):
        result = feredge.doctor(export=not no_export)
    if as_json:
        echo_json([asdict(check) for check in result.checks], indent=2)
    else:
        echo_table(("check", "status", "detail"), ((check.name, check.status, check.detail) for check in result.checks))
        for check in result.checks:
            if check.status == "missing" and check.remedy:
                echo(f"{check.name}: {check.remedy}")
    for check in result.failures:
        echo(f"error: {check.name}: {check.detail}; to mend it: {check.remedy}", err=True)
    if result.failures:
        sys.exit(1)
