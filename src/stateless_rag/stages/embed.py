"""Embed: vectors for the texts that search looks through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stateless_rag.calls import embed_texts
from stateless_rag.checks import texts as checked
from stateless_rag.embedding import embed_digested, embed_into_journal
from stateless_rag.text import unquoted

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import Vectors
    from stateless_rag.types import Entity, Relation

__all__ = ["chunk_text", "embed", "embed_named", "entity_text", "relation_text"]

_HELD_BYTES = 32 << 20  # of vectors that a commit carries with it
_DIMENSION = 1536  # where the embedder does not tell


async def embed(context: Context, texts: Sequence[str]) -> Vectors:
    """Vectors of documents' texts, float32 of shape (texts, dimension), in order.

    Texts that are already in the journal are not paid for again; equal texts are embedded once. Raises
    ProviderError if the embedder fails.
    """
    return await embed_texts(context, checked("texts", texts), role="document")


async def embed_named(context: Context, texts: Mapping[str, str]) -> Mapping[str, Vectors]:
    """As `embed`, for texts by digest. Of a great many, the result is empty: their vectors are in the journal,
    where the store finds them, so that those of a large document are never all in memory.
    """
    held = 4 * len(texts) * (context.embedder.dimension or _DIMENSION)
    if context.journal is None or held <= _HELD_BYTES:
        return await embed_digested(context, texts, role="document")
    await embed_into_journal(context, context.journal, texts)
    return {}


def entity_text(context: Context, entity: Entity) -> str:
    """What is embedded for an entity: name and description, but for what the built-in extractor quotes.

    What passages say themselves has their vectors; embedded again for each name in it, it took twenty times as much.
    What a person or an LLM has written is embedded, also if it is a quotation.
    Where words alone are compared (`lexical`), it costs nothing, and without it a name has no other words.
    """
    lexical = getattr(context.embedder, "lexical", False)
    description = entity.description if lexical else unquoted(entity.description)
    return _cut(context, f"{entity.name}\n{description}" if description else entity.name)


def chunk_text(context: Context, text: str, tokens: int) -> str:
    """What is embedded for a chunk: its text, of which the embedder is given no more than it takes."""
    limit = context.embedder.max_tokens
    return text if limit is None or tokens <= limit else _cut(context, text)


def relation_text(context: Context, relation: Relation) -> str:
    """What is embedded for a relation: keywords, both ends, description but for what the built-in extractor quotes."""
    head = f"{', '.join(relation.keywords)}\t{relation.source}\n{relation.target}"
    description = unquoted(relation.description)
    return _cut(context, f"{head}\n{description}" if description else head)


def _cut(context: Context, text: str) -> str:
    limit = context.embedder.max_tokens
    if limit is None or len(text.encode()) <= limit:
        return text
    offsets = context.tokenizer.offsets(text)
    return text if len(offsets) <= limit else text[: offsets[limit]].rstrip()
