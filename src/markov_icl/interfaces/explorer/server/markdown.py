"""Words in Markdown to components, on the server: the page then needs no Markdown reader of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it.token import Token

__all__ = ["components"]

_TAGS = {
    "p": "P",
    "strong": "Strong",
    "em": "Em",
    "ul": "Ul",
    "ol": "Ol",
    "li": "Li",
    "h1": "H2",
    "h2": "H2",
    "h3": "H3",
    "blockquote": "Blockquote",
    "table": "Table",
    "thead": "Thead",
    "tbody": "Tbody",
    "tr": "Tr",
    "th": "Th",
    "td": "Td",
}


def components(text: str) -> list[Any]:
    """Return the components of Markdown text; HTML in it stays text, links lead inside the explorer only."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    return _nested(reader.parse(text))


def _nested(tokens: list[Token]) -> list[Any]:
    """Return the components of a flat list of tokens, in which opening and closing ones pair up."""
    from dash import html

    stack: list[tuple[Token | None, list[Any]]] = [(None, [])]
    for token in tokens:
        if token.nesting == 1:
            stack.append((token, []))
        elif token.nesting == -1:
            opened, children = stack.pop()
            assert opened is not None
            stack[-1][1].append(_element(opened, children))
        elif token.type == "inline":
            stack[-1][1].extend(_nested(token.children or []))
        elif token.type == "code_inline":
            stack[-1][1].append(html.Code(token.content))
        elif token.type in ("fence", "code_block"):
            stack[-1][1].append(html.Pre(token.content, tabIndex="0"))
        elif token.type in ("softbreak", "hardbreak"):
            stack[-1][1].append(" " if token.type == "softbreak" else html.Br())
        elif token.type == "hr":
            stack[-1][1].append(html.Hr())
        else:
            stack[-1][1].append(token.content)
    return stack[0][1]


def _element(token: Token, children: list[Any]) -> Any:
    from dash import html

    if token.tag == "a":
        address = str(token.attrs.get("href", ""))
        inside = address.startswith("/") and not address.startswith("//")
        return html.A(children, href=address) if inside else html.Span(children)
    return getattr(html, _TAGS.get(token.tag, "Span"))(children)
