"""The header of a certificate's file: a schema, so that whatever else it says is refused in one line."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from markov_icl.tasks.prompts import MarkovTask
from markov_icl.tasks.spec import task_from_header
from markov_icl.tasks.units import whole_units

__all__ = ["VERSION", "Header", "read_header"]

VERSION = 3
_MOST_BYTES = 1_000_000
_MOST_DIGITS = 18
_ROUNDED = 1e-10
"""Share by which the ends of an older file are taken to be weaker than they say: no rounding was counted there."""
_COUNT = Annotated[int, Field(ge=1, le=10**9)]


class Header(BaseModel):
    """What a file says beside its tensors; the meaning of each is that of the attribute of ``Certificate``.

    Attributes:
        y2: of the stored quadratic, if there is one.
        sha256: over the rest of the header and all tensors: it finds damage, not forgery.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Annotated[int, Field(ge=VERSION, le=VERSION)]
    task: dict[str, Any] | None
    y2: FiniteFloat | None
    lower: FiniteFloat
    upper: FiniteFloat
    tolerance: Annotated[FiniteFloat, Field(gt=0)]
    seconds: Annotated[FiniteFloat, Field(ge=0)]
    status: Literal["certified", "bound", "estimate"]
    verified: Literal["rational", "interval", "float"] | None
    moment_error: Annotated[FiniteFloat, Field(ge=0, lt=1)] | None
    nodes: _COUNT
    blocks: _COUNT
    dimension: Annotated[int, Field(ge=2, le=10**9)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def read_header(text: str) -> tuple[Header, dict[str, Any]]:
    """Return the header, brought up to date, and what its digest was taken of.

    Raises:
        ValueError: one line that names the field, what was expected and what came.
    """
    if len(text) > _MOST_BYTES:
        raise ValueError(f"expected a header of at most {_MOST_BYTES:,} characters; got {len(text):,}")
    try:
        raw = json.loads(text, parse_constant=_no_number, parse_int=_whole, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("expected a header of plain fields; got one nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"expected a header in JSON; got {error.msg} at character {error.pos}") from None
    if not isinstance(raw, dict):
        raise ValueError(f"expected a header of fields; got {type(raw).__name__}")
    digested = {name: value for name, value in raw.items() if name != "sha256"}
    if type(raw.get("version")) is int and raw["version"] == VERSION - 1:
        raw = _from_version_2(raw)
    try:
        header = Header(**raw)
    except (ValidationError, TypeError) as error:
        raise ValueError(_in_words(error)) from None
    if header.task is not None:
        task_from_header(header.task)
    return header, digested


def _from_version_2(raw: dict[str, Any]) -> dict[str, Any]:
    """Return an older header in the present form: its matrices are in the user's coordinates, its ends plain floats."""
    if "moment_error" in raw or "method" not in raw:
        raise ValueError("expected the fields of version 2 in a certificate of that version; got others")
    task = raw.get("task")
    if isinstance(task, dict):
        found = task_from_header(task)
        if isinstance(found, MarkovTask) and not whole_units(found)[1].trivial:
            raise ValueError(
                "expected a certificate of version 3; got 2, in other coordinates for these values (certify again)"
            )
    kept = {name: value for name, value in raw.items() if name != "method"}
    for name, share in (("lower", -_ROUNDED), ("upper", _ROUNDED)):
        if isinstance(kept.get(name), float):
            kept[name] += share * abs(kept[name])
    return kept | {"version": VERSION, "moment_error": None}


def _in_words(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return "expected a header of named fields; got others"
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])[:40]
    wanted = str(first["msg"]).removeprefix("Input should be ")
    if first["type"] == "extra_forbidden":
        return f"expected only the fields of a certificate's header; got {field!r}"
    if first["type"] == "missing":
        return f"expected {field} in the header; got none"
    return f"expected {field} to be {wanted:.80}; got {first['input']!r:.40}"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("expected every field of the header once; got one twice")
    return fields


def _no_number(word: str) -> float:
    raise ValueError(f"expected finite numbers in the header; got {word}")


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"expected whole numbers of at most {_MOST_DIGITS} digits; got {len(digits)}")
    return int(digits)
