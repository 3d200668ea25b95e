"""What the folds of a workspace must be, computed from all of its mentions, and which rows are otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stateless_rag.calls import vector_digest
from stateless_rag.counting import count_lines
from stateless_rag.kinds import Entities, Pair, Relations
from stateless_rag.protocols import EntityRow, RelationRow
from stateless_rag.retrieval.render import entity_line, relation_line
from stateless_rag.stages.embed import entity_text, relation_text
from stateless_rag.stages.merge import present_entity, present_relation
from stateless_rag.stages.summarize import joined
from stateless_rag.text import relation_key
from stateless_rag.types import Entity, Relation

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.curation_log import CurationLog
    from stateless_rag.stages.merge import EntityFold, RelationFold
    from stateless_rag.types import EntityMention, RelationMention

__all__ = ["Differences", "Expected", "Stored", "compare", "expectations", "placed", "row_of"]


@dataclass(frozen=True, slots=True)
class Expected:
    """An entity or a relation as its mentions and the log of changes by hand have it.

    `told` is the description where no LLM is needed for it, else None: `texts` are to be summarised for `subject`.
    `show` makes what is shown of a description.
    """

    id: int
    name: str
    state: str
    subject: str
    texts: tuple[str, ...]
    told: str | None
    ends: Pair | None
    show: Callable[[str], Entity | Relation]


@dataclass(frozen=True, slots=True)
class Stored:
    """A row: what is shown, the fold it keeps, the digest of its vector, and the ids of its ends."""

    id: int
    shown: Entity | Relation
    state: str
    vector: str
    ends: tuple[int, int] | None = None


@dataclass(slots=True)
class Differences:
    """By id: rows with what of each is wrong, rows that are missing, rows that nothing tells of, and rows whose
    description only the LLM could tell.
    """

    wrong: dict[int, tuple[Expected, str]] = field(default_factory=dict)
    missing: dict[int, Expected] = field(default_factory=dict)
    unfounded: dict[int, Stored] = field(default_factory=dict)
    unsure: dict[int, Expected] = field(default_factory=dict)


# ---- what must be there --------------------------------------------------------------------------------


def expectations(
    context: Context,
    log: CurationLog,
    mentions: tuple[Sequence[EntityMention], Sequence[RelationMention]],
    resolve: Callable[[str], str],
) -> tuple[dict[int, Expected], dict[int, Expected]]:
    """All entities and all relations, by id."""
    merging = context.settings.merging
    entities, relations = Entities(merging), Relations(merging)
    folds = entities.fold(mentions[0], resolve)
    pairs = relations.fold(mentions[1], resolve)
    keys = {log.resolve(key) for entry in log.entries for key in entry.keys}
    stated = {pair for key in keys for pair in log.pairs_of(key)}
    keys |= {end for pair in stated for end in pair}
    one = {
        expected.id: expected
        for key in dict.fromkeys([*folds, *sorted(keys)])
        if (expected := _entity(context, entities, log, key, folds.get(key))) is not None
    }
    other = {
        expected.id: expected
        for pair in dict.fromkeys([*pairs, *sorted(stated)])
        if (expected := _relation(context, relations, log, pair, pairs.get(pair))) is not None
    }
    return one, other


def _entity(
    context: Context, kind: Entities, log: CurationLog, key: str, fold: EntityFold | None
) -> Expected | None:
    return _expected(context, kind, log, key, fold, name=key, ends=None, present=present_entity)


def _relation(
    context: Context, kind: Relations, log: CurationLog, pair: Pair, fold: RelationFold | None
) -> Expected | None:
    name = " — ".join(pair)
    return _expected(context, kind, log, pair, fold, name=name, ends=pair, present=present_relation)


def _expected(
    context: Context,
    kind: Any,
    log: CurationLog,
    key: Any,
    fold: Any,
    *,
    name: str,
    ends: Pair | None,
    present: Callable[..., Any],
) -> Expected | None:
    by_hand = kind.by_hand(log, key) if log.entries else None
    if (by_hand is not None and by_hand.hidden) or (fold is None and not (by_hand and by_hand.made)):
        return None
    found = kind.empty(key) if fold is None else fold
    told = _told(context, by_hand, found.texts)
    return Expected(
        id=kind.row_id(key),
        name=name,
        state=kind.dump(found),
        subject="" if told is not None else kind.subject(found, by_hand),
        texts=found.texts,
        told=told,
        ends=ends,
        show=lambda description: present(found, description, by_hand=by_hand),
    )


def _told(context: Context, by_hand: Any, texts: tuple[str, ...]) -> str | None:
    if by_hand is not None and by_hand.description is not None:
        given: str = by_hand.description
        return given
    if by_hand is not None and by_hand.told is not None and not texts:
        implied: str = by_hand.told
        return implied
    return joined(context, texts)


def placed(
    log: CurationLog,
    pairs: Iterable[tuple[str, str | None]],
    resolve: Callable[[str], str],
    merging: Any,
) -> dict[tuple[str, str | None], int | None]:
    """For the raw keys of mentions, the row that they fold into; None for those that fold into none."""
    entities, relations = Entities(merging), Relations(merging)
    found: dict[tuple[str, str | None], int | None] = {}
    for source, target in pairs:
        if target is None:
            key = resolve(source)
            hand = entities.by_hand(log, key) if log.entries else None
            found[source, target] = None if hand is not None and hand.hidden else entities.row_id(key)
            continue
        pair = relation_key(resolve(source), resolve(target))
        said = relations.by_hand(log, pair) if log.entries else None
        there = pair[0] != pair[1] and not (said is not None and said.hidden)
        found[source, target] = relations.row_id(pair) if there else None
    return found


# ---- what is there -------------------------------------------------------------------------------------


def compare(
    context: Context,
    expected: Mapping[int, Expected],
    stored: Mapping[int, Stored],
    replies: frozenset[str],
    entity_ids: Callable[[str], int],
) -> Differences:
    """Rows against what they must be. `replies` are summaries that the journal has, of whatever texts."""
    found = Differences()
    found.unfounded = {id_: row for id_, row in stored.items() if id_ not in expected}
    tokens = _tokens(context, [row.shown for row in stored.values()])
    for (id_, row), count in zip(stored.items(), tokens, strict=True):
        wanted = expected.get(id_)
        if wanted is None:
            continue
        wrong = _wrong(context, wanted, row, count, replies, entity_ids)
        if wrong:
            found.wrong[id_] = (wanted, wrong)
        elif wanted.told is None:
            found.unsure[id_] = wanted
    found.missing = {id_: wanted for id_, wanted in expected.items() if id_ not in stored}
    return found


def _wrong(
    context: Context,
    wanted: Expected,
    row: Stored,
    tokens: int,
    replies: frozenset[str],
    entity_ids: Callable[[str], int],
) -> str:
    """Names what differs; "" if nothing does."""
    description = row.shown.description
    if row.state != wanted.state:
        return "fold"
    ends = None if wanted.ends is None else (entity_ids(wanted.ends[0]), entity_ids(wanted.ends[1]))
    if row.ends != ends:
        return "ends"
    if not _is_same(row.shown, wanted.show(description)):
        return "values"
    if (
        wanted.told is not None
        and description != wanted.told
        and not _may_be(context, wanted, description, replies)
    ):
        return "description"
    if wanted.told is None and not description:
        return "description"
    if row.shown.tokens != tokens:
        return "tokens"
    text = (
        entity_text(context, row.shown)
        if isinstance(row.shown, Entity)
        else relation_text(context, row.shown)
    )
    if row.vector != vector_digest(context.embedder.model, text):
        return "vector"
    return ""


def _is_same(one: Entity | Relation, other: Entity | Relation) -> bool:
    """Whether both show the same, tokens aside. Written out: this runs for every row."""
    if isinstance(one, Entity) or isinstance(other, Entity):
        return (
            isinstance(one, Entity)
            and isinstance(other, Entity)
            and (one.key, one.name, one.type, one.weight) == (other.key, other.name, other.type, other.weight)
        )
    return (one.source_key, one.target_key, one.source, one.target, one.keywords, one.weight) == (
        other.source_key,
        other.target_key,
        other.source,
        other.target,
        other.keywords,
        other.weight,
    )


def _may_be(context: Context, wanted: Expected, description: str, replies: frozenset[str]) -> bool:
    """Whether another LLM, or none, or other settings can have told this of the same texts."""
    if len(wanted.texts) < 2:
        return False
    whole = "\n".join(sorted(wanted.texts, key=lambda text: (-len(text), text)))
    if description in replies or description == whole:
        return True
    if context.llm_for("summarize") is None:  # none to know what is too long for being joined
        settings = context.settings.merging
        return len(wanted.texts) >= settings.summarize_from or whole != wanted.told
    return False


def _tokens(context: Context, shown: Sequence[Entity | Relation]) -> Sequence[int]:
    lines = [entity_line(row) if isinstance(row, Entity) else relation_line(row) for row in shown]
    return count_lines(context.tokenizer, lines) if lines else []


# ---- rows to write -------------------------------------------------------------------------------------


def row_of(
    context: Context,
    wanted: Expected,
    description: str,
    named: Callable[[str], str],
    ids: Callable[[str], int],
) -> EntityRow | RelationRow:
    """The row as it must be; `named` takes the text to embed and gives its digest. Tokens are still to be counted."""
    shown = wanted.show(description)
    if isinstance(shown, Entity):
        return EntityRow(
            id=wanted.id, entity=shown, state=wanted.state, vector=named(entity_text(context, shown))
        )
    assert wanted.ends is not None  # noqa: S101 -- relations have ends
    return RelationRow(
        id=wanted.id,
        left=ids(wanted.ends[0]),
        right=ids(wanted.ends[1]),
        relation=shown,
        state=wanted.state,
        vector=named(relation_text(context, shown)),
    )
