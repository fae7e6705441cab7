"""`feredge report`: results again, as table, page, Markdown or csv; several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from feredge.commands.shared import DATA_AGAIN, NO_FACES, PATH, show
from feredge.console import echo, echo_lines, echo_styled, write_data
from feredge.errors import DataError, ResultsError, RunError

if TYPE_CHECKING:
    from feredge.benchmark import Results


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="RUN|RESULTS...")
@click.option("--markdown", "form", flag_value="markdown", help="Print a Markdown table instead.")
@click.option("--csv", "form", flag_value="csv", help="Print every figure as csv instead.")
@click.option("--html", type=PATH, help="Write the page here.  [default: into a run's folder]")
@DATA_AGAIN
@NO_FACES
def command(runs: tuple[Path, ...], form: str | None, html: Path | None, data: str | None, no_faces: bool) -> None:
    """Show results again, or several side by side.

    RUN is a run folder, whose page is written anew; RESULTS is a results file. Several are compared with the first.
    """
    from feredge import report
    from feredge.benchmark import Results
    from feredge.run import RunFolder

    if len(runs) > 1 and form:
        raise click.UsageError("--markdown and --csv take one run")
    if html and form:
        raise click.UsageError("--html writes a page, --markdown and --csv print: expected one of them")
    tables = [Results.read(RunFolder(path).results if path.is_dir() else path) for path in runs]
    if len(tables) > 1:
        echo_lines(report.comparison_to_markdown(tables))
        if html:
            report.write_comparison_html(tables, html)
            echo(f"report: {html.absolute()}")
        return
    results, page = tables[0], html or (RunFolder(runs[0]).report if runs[0].is_dir() else None)
    if form == "csv":
        write_data(report.to_csv(results).encode("utf-8", "surrogateescape"))
    elif form == "markdown":
        echo_lines(report.to_markdown(results))
    elif page:
        faces = None if no_faces else _faces(results, runs[0], data)
        pictures = runs[0] if runs[0].is_dir() else runs[0].parent
        report.write_html(results, page, run_folder=pictures, thumbnails=faces)
        show(results, page)
    else:
        echo_styled(report.to_terminal(results))


def _faces(results: Results, run: Path, data: str | None) -> dict[int, str] | None:
    """Return the faces that the page shows, from the data where they can be read; they are no reason to fail."""
    from feredge import report
    from feredge.data import load
    from feredge.run import RunFolder

    try:
        folder = RunFolder.open(run) if run.is_dir() and data is None else None
        if folder is None and data is None:
            return None
        dataset = folder.load_data() if folder else load(str(data))
        if dataset.digest != results.data.digest:
            raise ResultsError(
                f"{dataset.source}: expected the data of the results (SHA-256 {results.data.digest[:12]}), "
                f"found others ({dataset.digest[:12]})"
            )
    except (DataError, RunError) as error:
        if data is not None:
            raise
        echo(f"the page has no faces: {error}", err=True)
        return None
    return report.flip_thumbnails(results, [dataset])
