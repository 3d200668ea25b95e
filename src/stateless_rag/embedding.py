"""Vectors of texts: taken from the journal where they were paid for, else embedded in full batches.

The part of `stateless_rag.calls` that calls the embedder; import it from there.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from stateless_rag.attempts import provider_time, slot, together, until_answered, within_deadline
from stateless_rag.checks import shown
from stateless_rag.counting import count_tokens
from stateless_rag.errors import InvalidReply
from stateless_rag.protocols import Embeddings
from stateless_rag.text import digest
from stateless_rag.types import Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from stateless_rag.context import Context
    from stateless_rag.protocols import Journal, Vectors

__all__ = ["embed_digested", "embed_into_journal", "embed_texts", "vector_digest"]

Role = Literal["document", "query"]

_SLICE = range(1024, 8193)  # texts that are looked up and embedded together
_SLICES = 2  # under way at once: one begins while the last batches of the other are still awaited


def vector_digest(model: str, text: str) -> str:
    """The name of a document text's vector in the journal."""
    return digest("embed", model, text)


async def embed_texts(context: Context, texts: Sequence[str], *, role: Role) -> Vectors:
    """Vectors of the texts as the embedder gives them: float32 of shape (texts, dimension), in order.

    Vectors of documents are journaled; equal texts are paid for once, also when asked for at the same time,
    and each batch is kept as soon as it arrives. Questions (`role="query"`) are not journaled. Without texts
    the shape is (0, dimension or 0). Errors as for `complete`.
    """
    import numpy as np

    embedder = context.embedder
    if not texts:
        return np.empty((0, embedder.dimension or 0), dtype=np.float32)
    digests = [vector_digest(embedder.model, text) for text in texts]
    found = await embed_digested(context, dict(zip(digests, texts, strict=True)), role=role)
    return np.stack([found[key] for key in digests])


async def embed_digested(context: Context, wanted: Mapping[str, str], *, role: Role) -> Mapping[str, Vectors]:
    """As `embed_texts`, for texts by digest: the vector of each."""
    found: dict[str, Vectors] = {}
    if role == "document" and context.journal is not None:
        await _find_or_embed(context, context.journal, wanted, found)
    else:

        async def keep(vectors: Mapping[str, Vectors], _: Usage) -> None:
            found.update(vectors)

        await _embed(context, wanted, role, context.embedder.dimension, keep)
    return found


async def embed_into_journal(context: Context, journal: Journal, wanted: Mapping[str, str]) -> None:
    """See to it that the journal holds the vectors of documents' texts, given by digest; none are held here.

    The texts are taken in slices, so that memory is bounded, and the slots of the embedder stay full.
    """
    capacity = context.embedder.max_batch * context.limits.capacity("embedder")
    size = min(max(capacity, _SLICE.start), _SLICE.stop - 1)
    keys = iter(wanted)
    slices = iter(lambda: list(islice(keys, size)), [])

    async def work() -> None:
        for part in slices:
            await _find_or_embed(context, journal, {key: wanted[key] for key in part}, {})

    await together(work, _SLICES)


async def _find_or_embed(
    context: Context, journal: Journal, wanted: Mapping[str, str], found: dict[str, Vectors]
) -> None:
    flights = journal.flights
    missing = dict(wanted)
    while missing:
        with flights.lead(missing) as led:
            stored = await _stored(context, journal, missing)
            found.update(stored)
            flights.land(led, stored)

            async def keep(vectors: Mapping[str, Vectors], usage: Usage, led: set[str] = led) -> None:
                await journal.put_vectors(vectors, usage, context.embedder.model)
                found.update(vectors)
                flights.land(led, vectors)

            dimension = len(next(iter(found.values()))) if found else context.embedder.dimension
            own = {key: text for key, text in missing.items() if key in led}
            await _embed(context, own, "document", dimension, keep, flights.call)
        missing = {key: text for key, text in missing.items() if key not in found}
        for key in missing:
            await within_deadline(context, flights.wait(key), "the same texts were being embedded elsewhere")


async def _stored(context: Context, journal: Journal, missing: Mapping[str, str]) -> dict[str, Vectors]:
    dimension = context.embedder.dimension
    stored = {
        key: vector
        for key, vector in (await journal.get_vectors(tuple(missing))).items()
        if dimension in (None, len(vector))
    }
    if stored:
        context.meter.add("embed", Usage(cached=len(stored)))
    return stored


async def _embed(
    context: Context,
    wanted: Mapping[str, str],
    role: Role,
    dimension: int | None,
    keep: Callable[[Mapping[str, Vectors], Usage], Awaitable[None]],
    call: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Embed the texts in batches, as many at once as the limits allow, and `keep` each as it arrives.

    `call` is entered for each call of the embedder.
    """
    batches = await _batches(context, wanted)
    remaining = iter(batches)

    async def attempt(batch: Sequence[str]) -> tuple[Vectors, Usage]:
        nonlocal dimension
        reply, usage = await _embed_batch(context, [wanted[key] for key in batch], role)
        vectors = _checked(context.embedder.model, reply.vectors, len(batch), dimension)
        dimension = vectors.shape[1]
        return vectors, usage

    async def work() -> None:
        for batch in remaining:
            with call():
                await context.limits.turn(context.priority, context.way)
                vectors, usage = await until_answered(context, partial(attempt, batch))
            await keep(dict(zip(batch, vectors, strict=True)), usage)

    # Twice the slots, so that they stay full while batches are kept, and the queue stays short.
    await _at_once(work, min(len(batches), 2 * context.limits.capacity("embedder")))


async def _batches(context: Context, wanted: Mapping[str, str]) -> list[list[str]]:
    """Digests in batches that the embedder takes; a text above its token limit goes alone."""
    size, limit = max(1, context.embedder.max_batch), context.embedder.max_batch_tokens
    keys = list(wanted)
    full = [keys[start : start + size] for start in range(0, len(keys), size)]
    # A token is at least one byte: short texts need not be counted.
    if limit is None or all(sum(_bytes(wanted[key]) for key in batch) <= limit for batch in full):
        return full
    batches: list[list[str]] = []
    tokens = 0
    costs = await count_tokens(context.tokenizer, list(wanted.values()))
    for key, cost in zip(wanted, costs, strict=True):
        if not batches or len(batches[-1]) >= size or tokens + cost > limit:
            batches.append([])
            tokens = 0
        batches[-1].append(key)
        tokens += cost
    return batches


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


async def _embed_batch(context: Context, texts: Sequence[str], role: Role) -> tuple[Embeddings, Usage]:
    embedder, seconds = context.embedder, context.settings.calls.embed_timeout
    usage: Usage | None = None
    async with slot(context, "embedder"):
        async with provider_time(context, seconds, embedder.model):
            reply = await embedder.embed(texts, role=role)
        if context.allowance is not None and context.allowance.bounded:  # before the next call may begin
            usage = await _counted(context, reply, texts, role)
    return reply, usage or await _counted(context, reply, texts, role)


async def _counted(context: Context, reply: Any, texts: Sequence[str], role: Role) -> Usage:
    if not isinstance(reply, Embeddings):
        raise InvalidReply(f"{context.embedder.model} gave {shown(reply)}, which is no Embeddings value.")
    tokens = reply.tokens
    if tokens is None:
        tokens = sum(await count_tokens(context.tokenizer, texts))
    usage = Usage(calls=1, prompt_tokens=tokens)
    context.meter.add("embed" if role == "document" else "embed_query", usage)
    return usage


def _checked(model: str, vectors: Vectors, count: int, dimension: int | None) -> Vectors:
    import numpy as np

    try:
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as exc:
        raise InvalidReply(f"{model} gave vectors that are not rows of numbers: {exc}") from exc
    if array.ndim != 2 or array.shape[0] != count or not array.shape[1]:
        raise InvalidReply(f"{model} gave vectors of shape {array.shape} for {count} texts.")
    if dimension is not None and array.shape[1] != dimension:
        raise InvalidReply(
            f"{model} gave vectors of {array.shape[1]} dimensions where {dimension} were expected."
        )
    if not np.isfinite(array).all():
        raise InvalidReply(f"{model} gave vectors that are not finite.")
    return array


async def _at_once(work: Callable[[], Coroutine[Any, Any, None]], count: int) -> None:
    """As `together`; one needs no task."""
    await (work() if count == 1 else together(work, count))
