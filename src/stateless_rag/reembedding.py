"""Re-embedding: another embedder's vectors for all that is stored, without an LLM call.

Vectors are gathered beside those that questions are answered from, batch by batch, and stay there if it ends early.
What is committed meanwhile is looked at again; when little is left, commits wait until that is embedded too, and
all rows change over in one commit.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from stateless_rag.embedding import embed_into_journal, vector_digest
from stateless_rag.errors import InvalidInput
from stateless_rag.limits import Priority
from stateless_rag.stages.embed import chunk_text, entity_text, relation_text
from stateless_rag.types import ReembedReport

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stateless_rag.context import Context
    from stateless_rag.protocols import Coming, Embedder, Snapshot, VectorKind, Workspace
    from stateless_rag.protocols.reading import Ids

__all__ = ["reembed"]

_PAGE = 2048  # rows that are read at a time
_TEXTS, _CHARACTERS = 8192, 16_000_000  # that are held until they are embedded
_LOOKS = 8  # at what is missing while others may commit
_FEW = 64  # texts that commits may have to wait for


async def reembed(
    context: Context, workspace: Workspace, recorded: str | None, embedder: Embedder, *, cut: bool = False
) -> ReembedReport:
    """Change a workspace to another embedder. `recorded` names the one that it has.

    Errors and a cancel leave what was paid for to the next call. Raises InvalidInput if the embedder takes less
    than a chunk holds, unless such chunks may be `cut`; StoreError if somebody re-embeds the workspace already.
    """
    run = _Run(context, workspace, embedder)
    with workspace.reembedding.alone():
        if embedder.model == recorded:
            await workspace.reembedding.give_up()
            return run.report(workspace.revision, changed=False)
        if not cut:
            await run.require_room()
        coming = await workspace.reembedding.begin(embedder)
        for _ in range(_LOOKS):
            if await run.look(coming) <= _FEW:
                break
        await workspace.reembedding.hold_commits()
        await run.look(coming)
        revision = await workspace.reembedding.switch(embedder, run.base, run.named)
    run.dimension = coming.dimension
    report = run.report(revision, changed=True)
    run.context.emit("reembedded", done=run.rows, total=run.rows, report=report)
    return report


class _Run:
    """One change to another embedder, and what the last look at the workspace has told."""

    def __init__(self, context: Context, workspace: Workspace, embedder: Embedder) -> None:
        meter = context.meter.another()
        self.context = context.derive(embedder=embedder, meter=meter, priority=Priority.INGEST)
        self._workspace = workspace
        self._started = context.clock.monotonic()
        self.base = workspace.revision
        self.dimension = embedder.dimension
        self.named: dict[VectorKind, tuple[list[int], list[str]]] = {}
        self._wanted: dict[str, str] = {}
        self._characters = 0
        self._done = 0
        self._cut = 0

    @property
    def rows(self) -> int:
        """How many rows the last look has seen."""
        return sum(len(ids) for ids, _ in self.named.values())

    async def require_room(self) -> None:
        """Raise InvalidInput if a chunk is longer than the embedder takes."""
        most = self.context.embedder.max_tokens
        if most is None:
            return
        longest = long = 0
        _, ids = self._workspace.reembedding.ids()
        for page in _pages(ids.get("chunk", ())):
            counts = await self._workspace.read(partial(_tokens, page))
            longest = max(longest, *counts, 0)
            long += sum(count > most for count in counts)
        if long:
            raise InvalidInput(
                f"{long:,} chunks are longer than the {most:,} tokens that {self.context.embedder.model!r} takes, the "
                f"longest has {longest:,}; say cut=True (--cut) to embed their beginnings, or upgrade the documents "
                "afterwards, which cuts them anew"
            )

    async def look(self, coming: Coming) -> int:
        """Embed what has no vector yet; returns how many texts that were."""
        self.base, ids = self._workspace.reembedding.ids()
        total, self._done, self._cut = sum(map(len, ids.values())), 0, 0
        self.named = {kind: ([], []) for kind in ids}
        embedded = 0
        for kind, all_ids in ids.items():
            for page in _pages(all_ids):
                embedded += await self._look_at(coming, kind, page)
                if len(self._wanted) >= _TEXTS or self._characters >= _CHARACTERS:
                    await self._embed(coming)
                self._done += len(page)
                self.context.emit("embedding", done=self._done - len(self._wanted), total=total)
        await self._embed(coming)
        self.context.emit("embedding", done=self._done, total=total)
        return embedded

    async def _look_at(self, coming: Coming, kind: VectorKind, page: Sequence[int]) -> int:
        """Name the vectors of a page of rows, and take note of the texts that have none; how many these are."""
        rows = await self._workspace.read(partial(_texts, self.context, kind, page))
        ids, digests = self.named[kind]
        texts: dict[str, str] = {}
        for id_, digest, text, cut in rows:
            ids.append(id_)
            digests.append(digest)
            texts[digest] = text
            self._cut += cut
        missing = await coming.missing(texts.keys() - self._wanted.keys())
        self._wanted.update({digest: text for digest, text in texts.items() if digest in missing})
        self._characters += sum(len(texts[digest]) for digest in missing)
        return len(missing)

    async def _embed(self, coming: Coming) -> None:
        if self._wanted:
            await embed_into_journal(self.context, coming, self._wanted)
        self._wanted.clear()
        self._characters = 0

    def report(self, revision: int, *, changed: bool) -> ReembedReport:
        """What was done so far."""
        counts = {kind: len(ids) for kind, (ids, _) in self.named.items()}
        return ReembedReport(
            embedder=self.context.embedder.model,
            dimension=self.dimension,
            chunks=counts.get("chunk", 0),
            entities=counts.get("entity", 0),
            relations=counts.get("relation", 0),
            cut=self._cut,
            changed=changed,
            usage=self.context.meter.totals(),
            seconds=self.context.clock.monotonic() - self._started,
            revision=revision,
        )


_Rows = list[tuple[int, str, str, bool]]
"""Of rows by id: the digest of the vector, the text that it is of, and whether that is only a beginning."""


def _texts(context: Context, kind: VectorKind, ids: Sequence[int], snapshot: Snapshot) -> _Rows:
    """What is to be embedded for some rows. Long: it runs in a thread of the store."""
    texts: list[tuple[int, str, bool]]
    if kind == "chunk":
        passages = snapshot.passages(ids).items()
        shown = [(id_, p.text, chunk_text(context, p.text, p.tokens)) for id_, p in passages]
        texts = [(id_, text, text != whole) for id_, whole, text in shown]
    elif kind == "entity":
        entities = snapshot.entities(ids).items()
        texts = [(id_, entity_text(context, entity), False) for id_, entity in entities]
    else:
        relations = snapshot.relations(ids).items()
        texts = [(id_, relation_text(context, relation), False) for id_, relation in relations]
    return [(id_, vector_digest(context.embedder.model, text), text, cut) for id_, text, cut in texts]


def _tokens(ids: Sequence[int], snapshot: Snapshot) -> list[int]:
    return [passage.tokens for passage in snapshot.passages(ids).values()]


def _pages(ids: Ids | tuple[()]) -> Iterator[list[int]]:
    for start in range(0, len(ids), _PAGE):
        yield list(map(int, ids[start : start + _PAGE]))
