"""Directives for the reference: every module of a room, every public verb, every command, so that none is forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import markov_icl

__all__ = ["setup"]

_PACKAGE = Path(markov_icl.__file__).parent


class _Written(SphinxDirective):
    """A directive that writes reStructuredText and has it parsed."""

    has_content = False

    def lines(self) -> list[str]:
        """Return the text."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse the text in place of the directive."""
        node = nodes.section()
        node.document = self.state.document
        self.state.nested_parse(StringList(self.lines(), source=type(self).__name__), 0, node, match_titles=True)
        return node.children


class Room(_Written):
    """``.. room:: tasks``: every module of ``markov_icl.tasks``, or the module itself."""

    required_arguments = 1

    def lines(self) -> list[str]:
        """Return a heading and an ``automodule`` for each module."""
        room = self.arguments[0]
        folder = _PACKAGE / room
        paths = [path.relative_to(_PACKAGE).with_suffix("") for path in sorted(folder.rglob("*.py"))]
        names = [".".join(path.parts) for path in paths if path.name != "__init__"]
        lines = []
        for name in names or [room]:
            title = f"``{name}``"
            members = ", ".join(_own_names(f"markov_icl.{name}"))
            lines += [title, "=" * len(title), "", f".. automodule:: markov_icl.{name}", f"   :members: {members}", ""]
        return lines


def _own_names(name: str) -> list[str]:
    """Return what a module says it offers, without what it only passes on from another one."""
    module = import_module(name)
    offered = getattr(module, "__all__", [own for own in vars(module) if not own.startswith("_")])
    return [own for own in offered if getattr(getattr(module, own), "__module__", name) in (name, "typing")]


class Verbs(_Written):
    """``.. verbs::``: what ``import markov_icl`` offers."""

    def lines(self) -> list[str]:
        """Return an entry for each name of ``markov_icl.__all__``."""
        lines = []
        for name in markov_icl.__all__:
            found = getattr(markov_icl, name)
            kind, members = ("autoclass", ["   :members:"]) if isinstance(found, type) else ("autofunction", [])
            lines += [name, "=" * len(name), "", f".. {kind}:: {found.__module__}.{name}", *members]
            lines += ["   :no-index:", ""]
        return lines


class Commands(SphinxDirective):
    """``.. commands::``: what every command's help says; the options of a task, which most of them take, once."""

    def run(self) -> list[nodes.Node]:
        """Return a section for the task's options and one for each command."""
        from typer.main import get_command

        root = get_command(import_module("markov_icl.interfaces.cli").app)
        commands = [(words, one) for words, one in _walk(root, ()) if not hasattr(one, "commands") and not one.hidden]
        task = _section("task options", "")
        task += _options([one for one in dict(commands)[("optimum",)].params if _of_task(one)])
        return [task, *(self._command(words, one) for words, one in commands)]

    def _command(self, words: tuple[str, ...], command: Any) -> nodes.section:
        own = [one for one in command.params if not _of_task(one)]
        section = _section(" ".join(("markov-icl", *words)), command.help or "")
        if len(own) < len(command.params):
            section += nodes.paragraph("", "Takes the task options.")
        section += _options(own)
        return section


def _section(title: str, text: str) -> nodes.section:
    section = nodes.section(ids=[title.replace(" ", "-")])
    section += nodes.title(title, title[0].upper() + title[1:] if " " in title and "icl" not in title else title)
    if text:
        section += nodes.paragraph("", " ".join(text.split()))
    return section


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, child in getattr(command, "commands", {}).items():
        yield from _walk(child, (*words, name))


def _of_task(parameter: Any) -> bool:
    return getattr(parameter, "rich_help_panel", None) == "Task"


def _options(parameters: list[Any]) -> nodes.definition_list:
    entries = nodes.definition_list()
    for parameter in parameters:
        text = " ".join((getattr(parameter, "help", "") or "").split())
        names = ", ".join((*parameter.opts, *parameter.secondary_opts))
        if parameter.param_type_name == "argument":
            names = parameter.name.upper()
        default = parameter.default
        shown = "" if default in (None, False, "") or callable(default) else f" [default: {default}]"
        item = nodes.definition_list_item()
        item += nodes.term("", "", nodes.literal("", names))
        item += nodes.definition("", nodes.paragraph("", text + shown))
        entries += item
    return entries


_THEORY = re.compile(r"\btheory, section (\d)")


def _link_sources(_app: Sphinx, _what: str, _name: str, _found: object, _options: object, lines: list[str]) -> None:
    """Make links of the sections of the theory that docstrings name as their source."""
    lines[:] = [_THEORY.sub(r":ref:`theory, section \1 <theory-\1>`", line) for line in lines]


def _keep_colons(_app: Sphinx, what: str, _name: str, _found: object, _options: object, lines: list[str]) -> None:
    """Break a constant's or property's first line behind its colon: napoleon takes what is before it for a type."""
    if what in ("attribute", "data", "property") and lines and ": " in lines[0]:
        head, rest = lines[0].split(": ", 1)
        lines[:1] = [f"{head}:", rest]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("room", Room)
    app.add_directive("verbs", Verbs)
    app.add_directive("commands", Commands)
    app.connect("autodoc-process-docstring", _link_sources)
    app.connect("autodoc-process-docstring", _keep_colons, priority=100)  # before napoleon
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
