"""Rendering of Jinja2 templates with autoescaping, and the content security policy of the pages.

Text from results, names and cards becomes neither markup nor control characters; an undefined name in a template is an
error. Needs jinja2, of feredge[workshop].
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

from feredge.benchmark.formatting import VERDICT_LABELS, format_drop, signed
from feredge.console import escape_control

if TYPE_CHECKING:
    from markupsafe import Markup


def render(name: str, **values: Any) -> Markup:
    """Render a template to HTML, which other templates include without escaping."""
    from markupsafe import Markup

    return Markup(_environment().get_template(name).render(**values))


def trusted_html(text: str) -> Markup:
    """Mark HTML, CSS or JavaScript of this package as safe, so that it is not escaped."""
    from markupsafe import Markup

    return Markup(text)


def asset(name: str) -> str:
    """Return the text of a file in this package: page.css, page.js."""
    return resources.files("feredge.report").joinpath(name).read_text(encoding="utf-8")


def security_policy(style: str, script: str) -> str:
    """Return a content security policy that allows only this style and this script, and loads nothing.

    Style attributes, which position the marks in tables, are allowed: their values are formatted numbers.
    """
    return (
        f"default-src 'none'; style-src {_csp_hash(style)}; style-src-attr 'unsafe-inline'; "
        f"script-src {_csp_hash(script)}; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _csp_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _breakable(name: str) -> Markup:
    """Allow line breaks in a long name after dots, underscores and slashes."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(?<=[._/])(?=.)", "<wbr>", str(escape(escape_control(name)))))


def _escape_controls(value: Any) -> Any:
    """Escape control characters and lone surrogates, which no page can hold, in text that is not HTML already."""
    return escape_control(value, lines=True) if isinstance(value, str) and not hasattr(value, "__html__") else value


@functools.cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("feredge.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_escape_controls,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    environment.globals.update(
        verdicts=VERDICT_LABELS, interval=format_drop, signed=signed, security_policy=security_policy
    )
    return environment
