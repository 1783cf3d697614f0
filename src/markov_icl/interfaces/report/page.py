"""Pieces of the report's page: tables and pictures as HTML."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["picture", "table"]


def table(header: Iterable[str], rows: Iterable[Iterable[str]], numeric: bool = False) -> str:
    """Return a table; on narrow screens each cell carries its column's name."""
    names = list(header)
    head = "".join(f"<th scope='col'>{n}</th>" for n in names)
    kind = " class='num'" if numeric else ""
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind} data-label='{n}'>{cell}</td>" for n, cell in zip(names, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def picture(figure: Figure, alt: str, caption: str) -> str:
    """Return a figure as an image inside the page; ``caption`` is HTML."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    data = base64.b64encode(buffer.getvalue()).decode()
    image = f"<img alt='{html.escape(alt, quote=True)}' src='data:image/png;base64,{data}'>"
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
