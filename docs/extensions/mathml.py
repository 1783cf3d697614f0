"""Mathematics as MathML: browsers draw it themselves, so a page needs no script, no font and no network."""

from __future__ import annotations

from html import escape
from typing import Any

from docutils import nodes
from latex2mathml import exceptions
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

__all__ = ["setup"]

_REFUSALS = tuple(v for v in vars(exceptions).values() if isinstance(v, type) and issubclass(v, Exception))
_log = logging.getLogger(__name__)


def _mathml(node: nodes.Element, display: str) -> str:
    """Return the MathML of a node; LaTeX that is not understood is a warning, and so an error in `make docs`."""
    latex = node.astext()
    try:
        made = convert(latex, display=display)
    except _REFUSALS as error:
        _log.warning("expected LaTeX that latex2mathml reads; got %r (%s)", latex, type(error).__name__, location=node)
        return f"<code>{escape(latex)}</code>"
    made = made.replace("<mo>&#x0002A;</mo>", "<mo>&#x02217;</mo>")  # a star on the axis, not a raised one
    if "<mtext>\\" in made or "<mi>\\" in made:
        _log.warning("expected commands that latex2mathml knows; got %r", latex, location=node)
    return made


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(_mathml(node, "inline"))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{_mathml(node, "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer under the name ``mathml``."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
