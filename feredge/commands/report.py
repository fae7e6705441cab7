"""`feredge report`: show results as a table, HTML report, Markdown or csv; several side by side."""

from __future__ import annotations

from pathlib import Path

import click

import feredge
from feredge.commands.search import print_study
from feredge.commands.shared import MOVED_DATA_OPTION, NO_FACES_OPTION, PATH_TYPE, print_results
from feredge.console import echo, echo_json, echo_lines, write_data
from feredge.paths import StudyPath, resolve


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=PATH_TYPE, metavar="RUN|RESULTS...")
@click.option("--markdown", "text_format", flag_value="markdown", help="Print a Markdown table instead.")
@click.option("--csv", "text_format", flag_value="csv", help="Print all measurements as csv instead.")
@click.option("--json", "text_format", flag_value="json", help="Print all measurements as JSON instead.")
@click.option("--html", type=PATH_TYPE, help="Path of the HTML report.  [default: report.html in the run folder]")
@MOVED_DATA_OPTION
@NO_FACES_OPTION
def command(
    runs: tuple[Path, ...], text_format: str | None, html: Path | None, data: str | None, no_faces: bool
) -> None:
    """Show results again, or several side by side.

    RUN is a run folder, whose HTML report is rewritten, or a study folder of `feredge search`; RESULTS is a results
    file. Several are compared with the first.
    """
    if len(runs) > 1 and text_format:
        raise click.UsageError("--markdown, --csv and --json take one run")
    if html and text_format:
        raise click.UsageError("expected one of --html, --markdown, --csv and --json, found --html and another")
    if len(runs) == 1 and isinstance(resolve(runs[0]), StudyPath):
        _report_study(runs[0], text_format, html)
        return
    result = feredge.report(runs, html=html, write_page=not text_format, data=data, faces=not no_faces)
    if text_format == "csv":
        write_data(result.to_csv().encode("utf-8", "surrogateescape"))
    elif text_format == "json":
        echo_json(result.results[0].to_json())
    elif text_format or len(runs) > 1:
        echo_lines(result.to_markdown())
        if result.page is not None:
            echo(f"report: {result.page.absolute()}")
    else:
        print_results(result.results[0], result.page)


def _report_study(path: Path, text_format: str | None, html: Path | None) -> None:
    if text_format == "markdown" or html is not None:
        raise click.UsageError("--markdown and --html are for runs; the page of a study is in its folder")
    study = feredge.study(path)
    if text_format == "csv":
        write_data(study.results.to_csv().encode())
    elif text_format == "json":
        echo_json(study.results.rows())
    else:
        print_study(study)
