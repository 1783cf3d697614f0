"""The table of contents: the order of the commands, the panels they stand in, an example of each."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from markov_icl.choices import hint
from markov_icl.interfaces.commands.options import show_task_defaults

__all__ = ["EXAMPLES", "PANELS", "Command", "Group", "arrange"]

PANELS: dict[str, dict[str, str]] = {
    "Optimum and recovery": {
        "optimum": "--context 10",
        "ladder": "--length 3 --context 100",
        "recover": "--x 1/3,-1/6,1/2",
        "certify": "--length 3 --context 10 --save proof.safetensors",
        "verify": "proof.safetensors",
        "best": "--length 3 --context 10",
        "nearest": "--length 3 --context 10 --norm euclidean",
        "heads": "--length 3 --context 100",
        "map": "--p 1/4,1/2,3/4 --contexts 1,10,100",
        "slices": "--length 3 --context 100 --coordinates 1,2,3",
    },
    "Layers and models": {
        "sample": "--length 4 --context 6 --prompts 2",
        "train": "--length 3 --context 10 --population --save model.safetensors",
        "evaluate": "--length 3 --predictors bayes,optimum,constant --prompts 500",
        "attention": "--model model.safetensors --length 3 --context 10 --kernels 2",
        "layers": "--length 3 --depth 3 --steps 60 --prompts 200",
    },
    "Hardness": {
        "hardness": "independent-set --graph petersen",
        "hardness separability": "--kind separable --seed 1",
        "hardness reduce": "--example",
        "hardness independent-set": "--graph cycle:7",
        "hardness scaling": "--most 12 --time-limit 1",
    },
    "Experiments": {
        "reproduce": "fig10",
        "sweep": "examples/sweep.yaml",
        "runs": "list",
        "runs list": "--experiment train",
        "runs show": "last",
        "runs compare": "first last",
        "runs export": "--out runs.csv",
        "claims": "'Lemma 3.1'",
        "report": "--out report",
    },
    "Tools": {
        "explore": "--port 8050",
        "bench": "sampling --repeat 1",
        "doctor": "--json",
    },
}
"""Panel of ``--help``, then command, then what follows the command in its example."""

EXAMPLES = {name: f"markov-icl {name} {rest}" for panel in PANELS.values() for name, rest in panel.items()}
_PANEL_OF = {name: panel for panel, commands in PANELS.items() for name in commands}
_ORDER = {name: place for place, name in enumerate(EXAMPLES)}


class Command(TyperCommand):
    """A command whose help shows the defaults of the task options, read from the task when they are asked for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        show_task_defaults(self.params)
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """A group in the order of the catalogue, which names the command that was probably meant."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, those of the catalogue first."""
        above = "" if ctx.parent is None else f"{self.name} "
        return sorted(self.commands, key=lambda name: _ORDER.get(above + name, len(_ORDER)))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that ``args`` begin with, or refuse them."""
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command {name!r:.60}{hint(name, self._paths())}.")
        return super().resolve_command(ctx, args)

    def _paths(self) -> list[str]:
        inner = {name: one.commands for name, one in self.commands.items() if isinstance(one, TyperGroup)}
        return [*self.commands, *(f"{name} {sub}" for name, subs in inner.items() for sub in subs)]


def arrange(app: typer.Typer, above: str = "") -> None:
    """Give every command of ``app`` its panel and its example; one without an entry stands under Tools."""
    for info in app.registered_commands:
        name = f"{above}{info.name}"
        info.cls = Command
        info.epilog = _epilog(name)
        if not above:
            info.rich_help_panel = _PANEL_OF.get(name, "Tools")
    for group in app.registered_groups:
        assert group.typer_instance is not None
        group.cls = Group
        group.epilog = _epilog(str(group.name))
        group.rich_help_panel = _PANEL_OF.get(str(group.name), "Tools")
        arrange(group.typer_instance, f"{group.name} ")


def _epilog(name: str) -> str | None:
    return f"Example: {EXAMPLES[name]}" if name in EXAMPLES else None
