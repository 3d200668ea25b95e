"""Metadata filters: what each test means, and what is refused."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stateless_rag.errors import InvalidInput
from stateless_rag.filters import MetadataFilter, checked_filter
from stateless_rag.settings import QueryOptions

ULM = {"city": "Ulm", "codes": [1, True]}


def _filter(said: Any) -> MetadataFilter:
    found = checked_filter("metadata_filter", said)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("said", "meets", "fails"),
    [
        ({"a": 1}, [{"a": 1}, {"a": 1.0}, {"a": [2, 1]}], [{"a": "1"}, {"a": True}, {"a": 2}, {}]),
        ({"a": True}, [{"a": True}], [{"a": 1}, {"a": "true"}, {}]),
        ({"a": None}, [{"a": None}, {"a": [None]}], [{"a": 0}, {"a": ""}, {}]),
        ({"a": "x", "b": 2}, [{"a": "x", "b": 2}], [{"a": "x"}, {"b": 2}, {"a": "x", "b": 3}]),
        ({"a": {"in": [1, "x"]}}, [{"a": 1}, {"a": ["y", "x"]}], [{"a": True}, {"a": "y"}, {"a": []}, {}]),
        ({"a": {"in": []}}, [], [{"a": []}, {"a": None}, {}]),
        (
            {"a": {"eq": [1, 2]}},
            [{"a": [1, 2]}, {"a": [[1, 2]]}],
            [{"a": [2, 1]}, {"a": [True, 2]}, {"a": 1}],
        ),
        ({"a": {"eq": ULM}}, [{"a": ULM}, {"a": [ULM]}], [{"a": {**ULM, "codes": [1, 1]}}, {"a": {}}, {}]),
        ({"a": {"gte": 1, "lt": 3}}, [{"a": 1}, {"a": 2.5}, {"a": [0, 2]}], [{"a": 3}, {"a": [0, 5]}, {}]),
        ({"a": {"gt": 1, "lte": 3}}, [{"a": 1.5}, {"a": 3}], [{"a": 1}, {"a": 3.1}, {"a": True}, {"a": "2"}]),
        ({"a": {"gte": "1990", "lt": "2"}}, [{"a": "1990-05"}], [{"a": 1995}, {"a": "2"}, {"a": None}]),
        ({"a": {"exists": True}}, [{"a": None}, {"a": []}], [{}, {"b": 1}]),
        ({"a": {"exists": False}}, [{}, {"b": 1}], [{"a": None}]),
        ({"a": {"exists": True, "gt": 0}}, [{"a": 1}], [{"a": 0}, {}]),
        ({"$not": {"a": 1}}, [{"a": 2}, {}], [{"a": 1}, {"a": [1, 2]}]),
        ({"$not": {"a": 1, "b": 2}}, [{"a": 1}, {}], [{"a": 1, "b": 2}]),
        ({"$or": [{"a": 1}, {"b": 2}]}, [{"a": 1}, {"b": 2, "a": 9}], [{"a": 2}, {}]),
        ({"$and": [{"a": 1}, {"b": 2}]}, [{"a": 1, "b": 2}], [{"a": 1}, {"b": 2}]),
        ({"$or": []}, [], [{}, {"a": 1}]),
        ({"$and": []}, [{}, {"a": 1}], []),
        ({"$not": {}}, [], [{}, {"a": 1}]),
        (
            {"a": 1, "$or": [{"b": 1}, {"$not": {"c": 1}}]},
            [{"a": 1}, {"a": 1, "b": 1, "c": 1}],
            [{"a": 1, "c": 1}],
        ),
    ],
)
def test_what_meets_a_filter(said: Any, meets: list[Any], fails: list[Any]) -> None:
    condition = _filter(said)
    assert [metadata for metadata in meets if not condition.holds(metadata)] == []
    assert [metadata for metadata in fails if condition.holds(metadata)] == []


@pytest.mark.parametrize(
    ("said", "id_", "source", "met"),
    [
        ({"$id": "a"}, "a", None, True),
        ({"$id": {"in": ["b", "c"]}}, "a", None, False),
        ({"$source": {"gte": "/x/", "lt": "/x0"}}, "a", "/x/y.txt", True),
        ({"$source": {"exists": False}}, "a", None, True),
        ({"$source": {"exists": False}}, "a", "s", False),
        ({"$not": {"$source": "s"}}, "a", None, True),
    ],
)
def test_ids_and_sources_have_names_of_their_own(said: Any, id_: str, source: str | None, met: bool) -> None:
    metadata = {"$id": "of the metadata", "$source": "of the metadata", "id": "a", "source": "s"}
    assert _filter(said).holds(metadata, id_, source) is met
    assert _filter(said).of_documents


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("lang", r"metadata_filter is 'lang'; it must be a mapping"),
        ([{"a": 1}], r"it must be a mapping"),
        ({1: 2}, r"keys must be strings"),
        ({"a": float("nan")}, r"metadata_filter\['a'\] is nan; it must be finite"),
        ({"a": {"gt": float("inf")}}, r"must be finite"),
        ({"a": {1, 2}}, r"JSON value, not of type set"),
        ({"a": 2**70}, r"at most 64 bits"),
        ({"a": [1, 2]}, r"\['a'\] is the list \[1, 2\]; write \{\"in\""),
        ({"or": [{"a": 1}]}, r"or \$or$"),
        ({"a": {}}, r"\['a'\] has no test; there are eq, in, gt"),
        ({"a": {"gtt": 1}}, r"unknown test 'gtt'; there are eq, in, gt, gte, lt, lte, exists"),
        ({"not": {"lang": "de"}}, r"unknown test 'lang'"),
        ({"$nor": []}, r"\['\$nor'\] is unknown; names with \$ are \$and, \$or, \$not, \$id, \$source"),
        ({"$or": {"a": 1}}, r"must be a list of filters"),
        ({"$or": [{"a": 1}, 5]}, r"\['\$or'\]\[1\] is 5; it must be a mapping"),
        ({"$not": [1]}, r"\['\$not'\] is \[1\]; it must be a mapping"),
        ({"a": {"in": "de"}}, r"\['a'\]\['in'\] is 'de'; it must be a list"),
        ({"a": {"gt": None}}, r"a range is of numbers, or of strings"),
        ({"a": {"lt": True}}, r"a range is of numbers, or of strings"),
        ({"a": {"exists": 1}}, r"must be true or false"),
        ({"a": {"in": list(range(100_001))}}, r"100,001 values; there may be 100,000"),
        ({str(n): n for n in range(1001)}, r"one condition too many; a filter has at most 1,000"),
    ],
)
def test_what_cannot_be_used_is_named(said: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        QueryOptions(metadata_filter=said)


@pytest.mark.parametrize("levels", [17, 100, 10_000])
def test_deep_nesting_is_refused(levels: int) -> None:
    said: dict[str, Any] = {"a": 1}
    for _ in range(levels):
        said = {"$not": said}
    with pytest.raises(InvalidInput, match="levels deep; make it flatter"):
        checked_filter("metadata_filter", said)


@pytest.mark.parametrize("nothing", [None, {}])
def test_a_filter_that_says_nothing_is_none(nothing: Any) -> None:
    assert checked_filter("metadata_filter", nothing) is None


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from(["", "a", "b"]), st.floats(-2, 2)
)
FIELDS = st.sampled_from(["a", "b", "c"])
RANGES = st.sampled_from(["gt", "gte", "lt", "lte"])
TESTS = st.one_of(
    st.fixed_dictionaries({"eq": VALUES | st.lists(VALUES, max_size=2)}),
    st.fixed_dictionaries({"in": st.lists(VALUES, max_size=3)}),
    st.dictionaries(RANGES, st.integers(-2, 2) | st.sampled_from(["a", "b"]), min_size=1),
    st.fixed_dictionaries({"exists": st.booleans()}),
)
FILTERS = st.recursive(
    st.dictionaries(FIELDS, VALUES | TESTS, max_size=2),
    lambda parts: st.one_of(
        st.fixed_dictionaries({"$not": parts}),
        st.fixed_dictionaries({"$or": st.lists(parts, max_size=3)}),
        st.fixed_dictionaries({"$and": st.lists(parts, max_size=3)}),
    ),
    max_leaves=6,
)
METADATA = st.dictionaries(FIELDS, VALUES | st.lists(VALUES, max_size=3), max_size=3)


def _holds(said: dict[str, Any], metadata: dict[str, Any]) -> bool:
    found = checked_filter("metadata_filter", said)
    return found is None or found.holds(metadata)


@given(FILTERS, FILTERS, METADATA)
def test_logic_is_boolean(one: Any, other: Any, metadata: Any) -> None:
    a, b = _holds(one, metadata), _holds(other, metadata)
    assert _holds({"$not": one}, metadata) is not a
    assert _holds({"$and": [one, other]}, metadata) is (a and b)
    assert _holds({"$or": [one, other]}, metadata) is (a or b)
    assert _holds({"$not": {"$or": [{"$not": one}, {"$not": other}]}}, metadata) is (a and b)


@given(FILTERS, METADATA)
def test_a_filter_is_json_and_can_be_copied(said: Any, metadata: Any) -> None:
    found = checked_filter("metadata_filter", json.loads(json.dumps(said)))
    assert found == checked_filter("metadata_filter", said)
    if found is not None:
        for copied in (copy.deepcopy(found), pickle.loads(pickle.dumps(found)), _filter(found.said)):
            assert copied == found
            assert hash(copied) == hash(found)
            assert copied.holds(metadata) is found.holds(metadata)
        options = QueryOptions(metadata_filter=found)
        assert options.metadata_filter is found


@given(FIELDS, st.lists(VALUES, max_size=3), METADATA)
def test_in_is_any_of_equal(name: str, values: list[Any], metadata: Any) -> None:
    equal = [_holds({name: {"eq": value}}, metadata) for value in values]
    assert _holds({name: {"in": values}}, metadata) is any(equal)
