"""Vectors that a folder brings along, taken where the workspace's embedder would have made the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from stateless_rag.calls import embed_texts, vector_digest
from stateless_rag.types import Usage

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.flights import Flights
    from stateless_rag.protocols import Journal, JournalEntry, LLMReply, Vectors

__all__ = ["TakenVectors", "fitting_vectors"]

_PROBES = 3
# Rounding to half or to eight bits leaves a cosine of 0.98 at least; other models, about 0.
_SAME = 0.97


async def fitting_vectors(
    context: Context, vectors: Mapping[str, Vectors], texts: Iterable[str]
) -> tuple[Mapping[str, Vectors], str | None]:
    """Those of the folder's vectors that are as the context's embedder makes them, by text; or none, and why.

    A folder does not tell which model its vectors are of. So a few texts, of the `texts` if possible, are
    embedded here, and compared. Raises ProviderError if the embedder fails.
    """
    dimension = context.embedder.dimension
    fitting = {text: vector for text, vector in vectors.items() if dimension in (None, len(vector))}
    if vectors and not fitting:
        lengths = ", ".join(sorted({str(len(vector)) for vector in vectors.values()}))
        return MappingProxyType({}), f"they have {lengths} dimensions, not {dimension}"
    if not fitting:
        return MappingProxyType({}), None
    wanted = {text for text in texts if text in fitting} or fitting.keys()
    probes = sorted(wanted, key=lambda text: (len(text), text))[:_PROBES]
    own = await embed_texts(context, probes, role="document")
    if all(_alike(fitting[text], vector) for text, vector in zip(probes, own, strict=True)):
        return MappingProxyType({text: v for text, v in fitting.items() if len(v) == own.shape[1]}), None
    return MappingProxyType({}), f"they are not as {context.embedder.model} makes them"


def _alike(one: Vectors, other: Vectors) -> bool:
    import numpy as np

    if len(one) != len(other):
        return False
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return lengths > 0 and float(one @ other) / lengths >= _SAME


class TakenVectors:
    """A journal that also knows the vectors of a folder. Those that are asked for are kept in the real one.

    `taken` are the digests of vectors that the folder had, `missing` of those that had to be embedded.
    """

    def __init__(self, journal: Journal, vectors: Mapping[str, Vectors], model: str) -> None:
        self._journal = journal
        self._model = model
        self._known = {vector_digest(model, text): vector for text, vector in vectors.items()}
        self.taken: set[str] = set()
        self.missing: set[str] = set()

    @property
    def flights(self) -> Flights:
        """Those of the journal."""
        return self._journal.flights

    async def get(self, digest: str) -> LLMReply | None:
        """As the journal."""
        return await self._journal.get(digest)

    async def put(self, entry: JournalEntry) -> None:
        """As the journal."""
        await self._journal.put(entry)

    async def get_vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        """Those that are stored, and those of the folder, which are stored by that."""
        found = dict(await self._journal.get_vectors(digests))
        new = {
            digest: self._known[digest] for digest in digests if digest in self._known and digest not in found
        }
        if new:
            await self._journal.put_vectors(new, Usage(), self._model)
            self.taken |= new.keys()
            found |= new
        self.missing |= set(digests) - found.keys()
        return found

    async def put_vectors(self, vectors: Mapping[str, Vectors], entry_usage: Usage, model: str) -> None:
        """As the journal."""
        await self._journal.put_vectors(vectors, entry_usage, model)
