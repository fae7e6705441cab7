"""Pages from Jinja2 templates that escape by themselves; what a page may load and run stands in its security policy.

Text from results, names and cards becomes neither markup nor control characters, and a name that a template lacks is
an error. Needs jinja2, of feredge[workshop].
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

from feredge.benchmark.formatting import VERDICT_LABELS, format_drop, signed
from feredge.console import visible

if TYPE_CHECKING:
    from markupsafe import Markup


def render(name: str, **values: Any) -> Markup:
    """Return a template filled with values, as HTML that other templates take unescaped."""
    from markupsafe import Markup

    return Markup(_environment().get_template(name).render(**values))


def as_html(text: str) -> Markup:
    """Take text that is HTML, style or script of our own, as it is."""
    from markupsafe import Markup

    return Markup(text)


def resource(name: str) -> str:
    """Return the text of a file that stands beside this module."""
    return resources.files("feredge.report").joinpath(name).read_text(encoding="utf-8")


def policy(style: str, script: str) -> str:
    """Return a content security policy under which only this style and this script are taken, and nothing is loaded.

    Style attributes, which place the marks in tables, are allowed: values in them are numbers, formatted as such.
    """
    return (
        f"default-src 'none'; style-src {_hash(style)}; style-src-attr 'unsafe-inline'; script-src {_hash(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _breakable(name: str) -> Markup:
    """Let a long name break after its dots, bars and slashes."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(?<=[._/])(?=.)", "<wbr>", str(escape(visible(name)))))


def _shown(value: Any) -> Any:
    """Write out control characters and half pairs, which no page can hold, of all that is not HTML already."""
    return visible(value, lines=True) if isinstance(value, str) and not hasattr(value, "__html__") else value


@functools.cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("feredge.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    environment.globals.update(verdicts=VERDICT_LABELS, interval=format_drop, signed=signed, policy=policy)
    return environment
