"""Metadata filters: which documents a question may look at, written as JSON.

A filter is a mapping. All that it says must hold:

    {"lang": "de"}                                   equal (a string, number, true, false or null)
    {"lang": {"in": ["de", "en"]}}                   equal to one of them
    {"year": {"gte": 1990, "lt": 2000}}              a range: gt, gte, lt, lte; of numbers, or of strings
    {"address": {"eq": {"city": "Ulm"}}}             equal to a list or a mapping as a whole
    {"year": {"exists": false}}                      the field is not there
    {"$or": [{"lang": "de"}, {"year": 1843}]}        one of them holds; "$and": all of them
    {"$not": {"lang": "de"}}                         does not hold
    {"$id": "a", "$source": {"in": ["b.txt"]}}       the document's id and source

Names that begin with `$` are not fields of the metadata. A field that holds a list meets conditions if one of its
members does, or the list as a whole. A document without the field meets no condition on it but
`{"exists": false}`, so that `$not` lets it in. Values of different types are neither equal nor in order; true
and false are no numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stateless_rag.checks import json_object, shown
from stateless_rag.errors import InvalidInput

__all__ = ["DOCUMENT_ID", "DOCUMENT_SOURCE", "MetadataFilter", "checked_filter"]

DOCUMENT_ID, DOCUMENT_SOURCE = "$id", "$source"
_LOGIC = ("$and", "$or", "$not")
_TESTS = ("eq", "in", "gt", "gte", "lt", "lte", "exists")
_DEPTH, _CONDITIONS, _MEMBERS = 16, 1000, 100_000

Facts = Mapping[str, Any]
Condition = Callable[[Facts], bool]
Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class MetadataFilter:
    """A filter that was checked; made by `checked_filter`. Equal if they are written alike.

    `text` is its JSON. `of_documents` tells whether it looks at more than the metadata: at ids or sources.
    """

    text: str
    of_documents: bool
    condition: Condition = field(compare=False, repr=False)

    @property
    def said(self) -> dict[str, Any]:
        """The mapping that it was made from."""
        said: dict[str, Any] = json.loads(self.text)
        return said

    def holds(self, metadata: Mapping[str, Any], document_id: str = "", source: str | None = None) -> bool:
        """Whether a document meets it."""
        facts = {name: value for name, value in metadata.items() if not name.startswith("$")}
        if self.of_documents:
            facts[DOCUMENT_ID] = document_id
            if source is not None:
                facts[DOCUMENT_SOURCE] = source
        return self.condition(facts)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, Any]]:
        """Copied and sent to other processes as what it was made from."""
        return checked_filter, ("metadata_filter", self.said)


def checked_filter(name: str, value: Any) -> MetadataFilter | None:
    """The filter that a mapping writes; None for None and for a mapping that says nothing.

    Raises InvalidInput, which names the place, for whatever is not as the module describes, more than 16
    levels, 1,000 conditions, or 100,000 values in a list.
    """
    if value is None or isinstance(value, MetadataFilter):
        return value
    said = json_object(name, value, error=InvalidInput)
    if not said:
        return None
    reader = _Reader()
    condition = reader.all_of(name, said, 1)
    return MetadataFilter(
        json.dumps(said, sort_keys=True, ensure_ascii=False), reader.of_documents, condition
    )


class _Reader:
    """Reads one filter; counts its conditions."""

    def __init__(self) -> None:
        self.of_documents = False
        self._left = _CONDITIONS

    def all_of(self, place: str, said: Any, depth: int) -> Condition:
        """All entries of a mapping."""
        if not isinstance(said, dict):
            raise InvalidInput(f"{place} is {shown(said)}; it must be a mapping of fields to conditions")
        if depth > _DEPTH:
            raise InvalidInput(f"{place:.200} is nested more than {_DEPTH} levels deep; make it flatter")
        conditions = [self._entry(f"{place}[{name!r:.40}]", name, rest, depth) for name, rest in said.items()]
        return conditions[0] if len(conditions) == 1 else _every(conditions)

    def _entry(self, place: str, name: str, said: Any, depth: int) -> Condition:
        self._left -= 1
        if self._left < 0:
            raise InvalidInput(
                f"{place:.200} is one condition too many; a filter has at most {_CONDITIONS:,}"
            )
        if name == "$not":
            return _none(self.all_of(place, said, depth + 1))
        if name in _LOGIC:
            if not isinstance(said, list):
                raise InvalidInput(f"{place} is {shown(said)}; it must be a list of filters")
            parts = [self.all_of(f"{place}[{n}]", part, depth + 1) for n, part in enumerate(said)]
            return _every(parts) if name == "$and" else _some(parts)
        if name in (DOCUMENT_ID, DOCUMENT_SOURCE):
            self.of_documents = True
        elif name.startswith("$"):
            known = ", ".join((*_LOGIC, DOCUMENT_ID, DOCUMENT_SOURCE))
            raise InvalidInput(f"{place} is unknown; names with $ are {known}")
        return _field(place, name, said)


# ---- fields --------------------------------------------------------------------------------------------


def _field(place: str, name: str, said: Any) -> Condition:
    """The condition on one field: a value, or a mapping of tests."""
    if isinstance(said, list):
        raise InvalidInput(
            f'{place} is the list {shown(said)}; write {{"in": [...]}} for one of them, '
            f'{{"eq": [...]}} for the list as a whole' + (f", or ${name}" if f"${name}" in _LOGIC else "")
        )
    if not isinstance(said, dict):
        return _holds_for(name, [_among(frozenset({_key(said)}))])
    if not said:
        raise InvalidInput(f"{place} has no test; there are {', '.join(_TESTS)}")
    unknown = [test for test in said if test not in _TESTS]
    if unknown:
        raise InvalidInput(
            f"{place} has the unknown test {shown(unknown[0])}; there are {', '.join(_TESTS)}"
            f'; write {{"eq": {{...}}}} for a mapping as a whole'
        )
    tests = [_test(f"{place}[{test!r}]", test, bound) for test, bound in said.items() if test != "exists"]
    if "exists" not in said:
        return _holds_for(name, tests)
    there = said["exists"]
    if not isinstance(there, bool):
        raise InvalidInput(f"{place}['exists'] is {shown(there)}; it must be true or false")
    present = _present(name, there)
    return _every([present, _holds_for(name, tests)]) if tests else present


def _test(place: str, test: str, bound: Any) -> Test:
    if test == "eq":
        return _among(frozenset({_key(bound)}))
    if test == "in":
        if not isinstance(bound, list):
            raise InvalidInput(f"{place} is {shown(bound)}; it must be a list of values")
        if len(bound) > _MEMBERS:
            raise InvalidInput(f"{place} has {len(bound):,} values; there may be {_MEMBERS:,}")
        return _among(frozenset(map(_key, bound)))
    if isinstance(bound, bool) or not isinstance(bound, int | float | str):
        raise InvalidInput(f"{place} is {shown(bound)}; a range is of numbers, or of strings")
    return _range(test, bound)


def _range(test: str, bound: Any) -> Test:
    """Numbers by size, strings by code points; what is of another kind is not in the range."""
    kinds: Any = str if isinstance(bound, str) else (int, float)

    def inside(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        if value == bound:
            return test in ("gte", "lte")
        return bool(value > bound) is (test in ("gt", "gte"))

    return inside


def _among(keys: frozenset[Any]) -> Test:
    return lambda value: _key(value) in keys


def _key(value: Any) -> Any:
    """Something hashable that is equal for equal values only: Python takes True for 1."""
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, list):
        return (list, tuple(map(_key, value)))
    if isinstance(value, Mapping):
        return (dict, frozenset((name, _key(item)) for name, item in value.items()))
    return value


# ---- conditions ----------------------------------------------------------------------------------------


def _holds_for(name: str, tests: list[Test]) -> Condition:
    def condition(facts: Facts) -> bool:
        if name not in facts:
            return False
        value = facts[name]
        if all(test(value) for test in tests):
            return True
        return isinstance(value, list) and any(all(test(member) for test in tests) for member in value)

    return condition


def _present(name: str, there: bool) -> Condition:
    return lambda facts: (name in facts) is there


def _every(conditions: list[Condition]) -> Condition:
    return lambda facts: all(condition(facts) for condition in conditions)


def _some(conditions: list[Condition]) -> Condition:
    return lambda facts: any(condition(facts) for condition in conditions)


def _none(condition: Condition) -> Condition:
    return lambda facts: not condition(facts)
