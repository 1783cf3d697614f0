"""The code on a page: fenced blocks, what is shown below them, and how shown and printed text are compared."""

import re
from dataclasses import dataclass, field

NUMBER = re.compile(r"[+-]?(?:\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)")
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^>]+?) -->\n+)?```(?P<language>[\w{}-]*)\n(?P<text>.*?)^```$", re.M | re.S
)
IGNORED = set("─━")


@dataclass
class Block:
    """A fenced block.

    ``shown`` is what a reader sees below it: the ``output`` block that follows a ``python`` block.
    """

    language: str
    text: str
    line: int
    reason: str | None = None
    shown: str | None = None


@dataclass
class Command:
    """One line of a console and what the page shows below it."""

    words: str
    shown: list[str] = field(default_factory=list)


def blocks_of(text):
    """Return the fenced blocks of a page in order; an ``output`` block belongs to the one before."""
    found = []
    for match in FENCE.finditer(text):
        language, line = match["language"], text[: match.start("text")].count("\n")
        if language == "output":
            assert found, f"line {line}: output of nothing"
            assert found[-1].language == "python", f"line {line}: output of {found[-1].language}"
            found[-1].shown = match["text"]
        else:
            found.append(Block(language, match["text"], line, match["reason"]))
    return found


def commands_of(text):
    """Return the commands of a console block; comments behind them are not part of them."""
    commands = []
    for line in text.splitlines():
        if line.startswith("$ "):
            commands.append(Command(re.sub(r"\s+#.*$", "", line[2:])))
        elif commands:
            commands[-1].shown.append(line)
    return commands


def agree(shown, printed):
    """Return whether ``printed`` is what the page shows.

    White space and ruled lines do not count, ``...`` stands for anything, and a number may differ by two in its
    last digit shown.
    """
    want, have = _tokens(shown), _tokens(printed)
    reach = {0}  # how many printed tokens the shown ones so far can account for
    for token in want:
        if token == "...":
            reach = set(range(min(reach), len(have) + 1)) if reach else set()
        else:
            reach = {at + 1 for at in reach if at < len(have) and _same(token, have[at])}
        if not reach:
            return False
    return len(have) in reach


def _tokens(text):
    return [t for t in text.split() if not set(t) <= IGNORED]


def _same(shown, printed):
    if shown == printed:
        return True
    if "..." in shown:
        return re.fullmatch(".*".join(map(re.escape, shown.split("..."))), printed) is not None
    if NUMBER.sub("#", shown) != NUMBER.sub("#", printed):
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(abs(_value(a) - _value(b)) <= 2.001 * _unit(a) for a, b in pairs)


def _value(text):
    return float(text.replace(",", ""))


def _unit(text):
    """Return one unit of the last digit shown; whole numbers are exact."""
    mantissa, _, exponent = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals) if decimals or exponent else 0.0
