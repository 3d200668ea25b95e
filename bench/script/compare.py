"""What two runs of the script saw, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.script.script import MODES

__all__ = ["Row", "compared"]

_GRAPHS = ("graph", "graph after deleting", "graph in the end")
_SAME = ("counts", "answers", "deleted", "changes", "custom graph", "export")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was compared; `same` is false where the two differ in more than the case of names."""

    what: str
    lightrag: str
    facade: str
    same: bool


def compared(lightrag: Mapping[str, Any], facade: Mapping[str, Any]) -> list[Row]:
    """All that was compared, in the order of the script."""
    rows = [_statuses(lightrag["statuses"], facade["statuses"])]
    rows += [_equal(step, lightrag[step], facade[step]) for step in _SAME]
    rows.append(_equal("counts after the same again", *(_done(each) for each in (lightrag, facade))))
    for step in _GRAPHS:
        one, other = lightrag[step], facade[step]
        rows.append(_sets(f"{step}: entities", _folded(one["labels"]), _folded(other["labels"])))
        rows.append(
            _sets(f"{step}: relations", _folded(map(repr, one["edges"])), _folded(map(repr, other["edges"])))
        )
        rows.append(_weights(f"{step}: weights", one["weights"], other["weights"]))
    return rows + [_passages(mode, lightrag["passages"][mode], facade["passages"][mode]) for mode in MODES]


def _statuses(one: Mapping[str, Any], other: Mapping[str, Any]) -> Row:
    fields = ("status", "file_path", "chunks_count")
    alike = [
        id_ for id_ in one.keys() & other.keys() if all(one[id_][name] == other[id_][name] for name in fields)
    ]
    told = f"of {len(one)} documents, {len(alike)} with the same status, path and number of chunks"
    return Row("statuses", told, told, len(alike) == len(one) == len(other))


def _equal(what: str, one: Any, other: Any) -> Row:
    same = one == other
    return Row(what, "the same" if same else _short(one), "the same" if same else _short(other), same)


def _short(value: Any) -> str:
    counts = value.items() if isinstance(value, Mapping) else ()
    told = ", ".join(f"{number} {name}" for name, number in counts if number) or repr(value)
    return told if len(told) <= 80 else f"{told[:79]}…"


def _done(seen: Mapping[str, Any]) -> Mapping[str, Any]:
    counts: Mapping[str, Any] = seen["counts after the same again"]
    return counts


def _folded(names: Iterable[str]) -> set[str]:
    return {name.casefold() for name in names}


def _sets(what: str, one: set[str], other: set[str]) -> Row:
    def told(own: set[str], alone: set[str]) -> str:
        return f"{len(own)}" + (f", {len(alone)} of them here alone" if alone else "")

    return Row(what, told(one, one - other), told(other, other - one), one == other)


def _weights(what: str, one: Mapping[str, float], other: Mapping[str, float]) -> Row:
    there = {name.casefold(): weight for name, weight in other.items()}
    both = {name.casefold(): weight for name, weight in one.items() if there.get(name.casefold()) is not None}
    differing = sum(there[name] != weight for name, weight in both.items())
    told = f"{len(both) - differing} of {len(both)} the same"
    return Row(what, told, told, not differing)


def _passages(mode: str, one: Mapping[str, list[str]], other: Mapping[str, list[str]]) -> Row:
    shared = sum(len(set(one[question]) & set(other[question])) for question in one)
    counts = [sum(len(set(found)) for found in each.values()) for each in (one, other)]
    told = [f"{count}, {shared} of them in both" for count in counts]
    return Row(f"passages in mode {mode}", told[0], told[1], shared == counts[0] == counts[1])
