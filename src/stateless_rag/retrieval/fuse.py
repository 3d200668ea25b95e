"""Fusion: ranked lists become one; entities and relations become the chunks that tell of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from types import MappingProxyType
from typing import TypeVar, cast

from stateless_rag.types import Passage

__all__ = ["owned_chunks", "pick_chunks", "placed", "round_robin", "trails"]

Item = TypeVar("Item", bound=Hashable)
_NAMES = 5


def round_robin(*ranked: Iterable[Item]) -> list[Item]:
    """The first of each list, then the second of each, and so on; what was taken already is skipped.

    >>> round_robin([1, 2, 3], [3, 4])
    [1, 3, 2, 4]
    """
    found: dict[Item | None, None] = dict.fromkeys(chain.from_iterable(zip_longest(*ranked)))
    found.pop(None, None)  # what stands for the end of a list
    return list(cast("dict[Item, None]", found))


def pick_chunks(
    chunks: Sequence[Sequence[int]], each: int, similarities: Mapping[int, float], taken: Collection[int] = ()
) -> list[int]:
    """The chunks that stand for some items: by cosine with the question, half of `each` per item all together.

    `chunks` lists what each item (entity or relation, best first) is told of in. Chunks that are `taken` do not
    count, nor do items that are left without one of their own.
    """
    if each < 1:
        return []
    seen, owners = set(taken), 0
    for named in chunks:
        before = len(seen)
        seen.update(named)
        owners += len(seen) > before
    most, candidates = each * owners // 2, seen.difference(taken)
    if not most or not similarities.keys() >= candidates:
        return _counted_out(owned_chunks(chunks, taken), each)
    return sorted(sorted(candidates), key=similarities.__getitem__, reverse=True)[:most]


def owned_chunks(chunks: Sequence[Sequence[int]], taken: Collection[int] = ()) -> list[list[int]]:
    """For each item its own chunks: those that no earlier item names and that are not taken.

    Items left without a chunk are left out. Within an item, chunks that more items name come first, ties by id.
    """
    counts = Counter(chain.from_iterable(chunks))
    seen = set(taken)
    owned = []
    for named in chunks:
        own = [chunk for chunk in dict.fromkeys(named) if chunk not in seen]
        if own:
            seen.update(own)
            if len(own) > 1:
                own.sort(key=lambda chunk: (-counts[chunk], chunk))
            owned.append(own)
    return owned


def _counted_out(owned: Sequence[Sequence[int]], each: int) -> list[int]:
    """Where a chunk has no cosine, or half of `each` would be none: `each` for the first item, falling to one for the
    last; what an item has too few chunks for goes to the first that has more.
    """
    last = len(owned) - 1
    quotas = [round(each - index / last * (each - 1)) if last else each for index in range(len(owned))]
    spare = sum(max(0, quota - len(own)) for quota, own in zip(quotas, owned, strict=True))
    picked: list[int] = []
    for quota, own in zip(quotas, owned, strict=True):
        extra = min(spare, max(0, len(own) - quota))
        spare -= extra
        picked.extend(own[: quota + extra])
    return picked


def trails(
    picked: Collection[int],
    seeds: tuple[str, Collection[int]],
    entities: Iterable[tuple[str, Sequence[int]]],
    relations: Iterable[tuple[str, Sequence[int]]],
) -> dict[int, tuple[str, ...]]:
    """What led to each of the picked chunks: the name of the search that found it, entities, relations.

    `seeds` is that name with the chunks it found; `entities` and `relations` are names with the chunks that
    tell of them, best first, of which at most five each are told.
    """
    label, direct = seeds
    found: dict[int, list[str]] = {chunk: [label] if chunk in direct else [] for chunk in picked}
    for kind, named in (("entity", entities), ("relation", relations)):
        told: Counter[int] = Counter()
        for name, chunks in named:
            for chunk in chunks:
                if chunk in found and told[chunk] < _NAMES:
                    told[chunk] += 1
                    found[chunk].append(f"{kind}:{name}")
    return {chunk: tuple(trail) for chunk, trail in found.items()}


def placed(
    passage: Passage,
    rank: int,
    similarity: float | None,
    found_by: tuple[str, ...],
    parts: Mapping[str, float] | None = None,
) -> Passage:
    """A passage at its rank, from 1, with what led to it. Each question does it for all that it shows: `replace` takes
    twice as long.
    """
    return Passage(
        chunk_id=passage.chunk_id,
        document_id=passage.document_id,
        source=passage.source,
        ordinal=passage.ordinal,
        start=passage.start,
        stop=passage.stop,
        text=passage.text,
        tokens=passage.tokens,
        score=1 / rank,
        similarity=similarity,
        found_by=found_by,
        parts=MappingProxyType({}) if parts is None else parts,
        metadata=passage.metadata,
    )
