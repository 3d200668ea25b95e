"""Proposing duplicates: names that are alike, vectors that are near, and what an LLM makes of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stateless_rag.kinds import entity_row_id
from stateless_rag.resolving.candidates import Pair, alike
from stateless_rag.resolving.compare import opposed
from stateless_rag.resolving.names import taken_apart
from stateless_rag.resolving.verdict import verdicts
from stateless_rag.types import Duplicate

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import Basis, Workspace
    from stateless_rag.types import Entity

__all__ = ["propose_duplicates"]

_NEIGHBOURS, _NEAR = 5, 0.75  # neighbours by vector that are looked at, and how near they must be
_ASKED_FROM = 0.45  # of this score on a pair is shown to the LLM
_SURE = 0.95


@dataclass(frozen=True, slots=True)
class _Look:
    """The entities of one revision: ids, names and types, pairs that are kept apart, and how to find near ones."""

    ids: Sequence[int]
    names: Sequence[str]
    types: Sequence[str]
    apart: frozenset[Pair]
    near: Callable[[], Sequence[tuple[int, int, float]]]


@dataclass(frozen=True, slots=True)
class _Found:
    """A pair of ids, the lower first, and what speaks for it."""

    pair: Pair
    score: float
    reasons: tuple[str, ...]
    similarity: float | None


async def propose_duplicates(
    context: Context, workspace: Workspace, *, least: float, limit: int, ask_llm: bool
) -> list[Duplicate]:
    """Pairs of entities that may be one, surest first, at most `limit`, of a score of at least `least`.

    Pairs that were rejected are left out. With `ask_llm`, the LLM judges all but the surest, also pairs that only
    their vectors bring together: what it denies is left out, what it affirms counts 0.95. Nothing is changed. Raises
    ProviderError.
    """
    look = await workspace.read_basis(_look)
    found = await workspace.compute(lambda: _found(look))
    found = [one for one in found if one.score >= (min(least, _ASKED_FROM) if ask_llm else least)]
    found.sort(key=lambda one: (-one.score, one.pair))
    # The LLM may lift any of them: what it is asked about is bounded by the limit, too.
    found = found[: 2 * limit if ask_llm else limit]
    ids = sorted({id_ for one in found for id_ in one.pair})
    entities = await workspace.read_basis(
        lambda basis: {id_: row.entity for id_, row in basis.entity_rows(ids).items()}
    )
    proposed = [(one, _ordered(one, entities)) for one in found if entities.keys() >= set(one.pair)]
    judged: Mapping[int, bool] = {}
    if ask_llm:
        asked = {place: pair for place, (one, pair) in enumerate(proposed) if one.score < _SURE}
        judged = await verdicts(context, asked)
    told = (_duplicate(one, pair, judged.get(place)) for place, (one, pair) in enumerate(proposed))
    kept = [one for one in told if one.verdict is not False and one.score >= least]
    kept.sort(key=lambda one: (-one.score, one.target, one.source))
    return kept[:limit]


def _look(basis: Basis) -> _Look:
    ids, names, types = basis.entity_labels()
    return _Look(ids, names, types, _apart(basis), basis.near_entities(_NEIGHBOURS, _NEAR))


def _apart(basis: Basis) -> frozenset[Pair]:
    """The pairs that were said to be different, whatever their names are now."""
    log = basis.curations()
    pairs = (
        sorted(entity_row_id(log.resolve(key)) for key in entry.keys)
        for entry in log.entries
        if entry.kind == "keep_apart" and entry.undone_by is None
    )
    return frozenset((one, other) for one, other in pairs)


def _found(look: _Look) -> list[_Found]:
    order = sorted(range(len(look.ids)), key=lambda place: look.ids[place])
    ids = [look.ids[place] for place in order]
    names, types = [look.names[place] for place in order], [look.types[place] for place in order]
    at = {id_: place for place, id_ in enumerate(ids)}
    near = {(at[a], at[b]): score for a, b, score in look.near() if a in at and b in at}
    likenesses = alike(names, types, also=near)
    found = []
    for pair in {*likenesses, *near}:
        likeness, similarity = likenesses.get(pair), near.get(pair)
        if likeness is not None:
            score, reasons = likeness.score, (likeness.reason,)
        elif opposed(*(taken_apart(names[place]) for place in pair)):
            continue
        else:
            score, reasons = 0.6 * (similarity or 0.0), ("what is said of them is alike",)
        row_ids = (ids[pair[0]], ids[pair[1]])
        if row_ids not in look.apart:
            found.append(_Found(row_ids, round(score, 4), reasons, similarity))
    return found


def _ordered(found: _Found, entities: Mapping[int, Entity]) -> tuple[Entity, Entity]:
    """Source and target: the one that more chunks mention stays, then the longer name."""
    one, other = sorted(
        (entities[id_] for id_ in found.pair),
        key=lambda entity: (entity.weight, len(entity.name), entity.key),
    )
    return one, other


def _duplicate(found: _Found, pair: tuple[Entity, Entity], verdict: bool | None) -> Duplicate:
    source, target = pair
    reasons: Collection[str] = found.reasons
    return Duplicate(
        source=source.name,
        target=target.name,
        score=max(found.score, _SURE) if verdict else found.score,
        reasons=(*reasons, "the LLM says so") if verdict else tuple(reasons),
        similarity=found.similarity,
        verdict=verdict,
    )
