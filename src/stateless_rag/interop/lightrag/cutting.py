"""Tokenizers and chunking functions written for LightRAG, as this engine uses them."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import shown
from stateless_rag.errors import InvalidInput, StatelessRagError

if TYPE_CHECKING:
    from stateless_rag.protocols import Tokenizer

__all__ = ["chunk_function", "tokenizer_of"]

_UNFINISHED = "�"  # what decoding half a character gives
_ANSWER = ("content", "tokens", "chunk_order_index")


# ---- tokenizers ----------------------------------------------------------------------------------------


class _EncodingTokenizer:
    """An object with `encode` and `decode` as a tokenizer, known by its name, or that of its class."""

    def __init__(self, encoding: Any) -> None:
        self._encoding = encoding
        named = getattr(encoding, "name", None) or getattr(encoding, "model_name", None)
        self._name = named if isinstance(named, str) else type(encoding).__qualname__

    @property
    def name(self) -> str:
        """Names the encoding."""
        return self._name

    def count(self, text: str) -> int:
        """The number of tokens in the text."""
        return len(self._encoding.encode(text))

    def offsets(self, text: str) -> list[int]:
        """Where each token begins. Tokens that make up a character together begin where it does."""
        offsets: list[int] = []
        waiting: list[int] = []
        place = 0
        for token in self._encoding.encode(text):
            offsets.append(min(place, max(0, len(text) - 1)))
            waiting.append(token)
            piece = self._encoding.decode(waiting)
            if not piece.endswith(_UNFINISHED) or list(self._encoding.encode(piece)) == waiting:
                place += len(piece)
                waiting.clear()
        return offsets


def tokenizer_of(value: Any) -> Tokenizer:
    """A tokenizer as it is, an object with `encode` and `decode` as one."""
    if hasattr(value, "count") and hasattr(value, "offsets"):
        found: Tokenizer = value
        return found
    if not (callable(getattr(value, "encode", None)) and callable(getattr(value, "decode", None))):
        raise InvalidInput(f"tokenizer is {shown(value)}; it must have encode(text) and decode(tokens)")
    return _EncodingTokenizer(value)


# ---- chunking functions --------------------------------------------------------------------------------


def chunk_function(
    function: Callable[..., Any],
    encoding: Any,
    *,
    split_by_character: str | None,
    split_by_character_only: bool,
    overlap: int,
    size: int,
) -> Callable[[str], list[str]]:
    """A chunking function of LightRAG as one of ours: a text gives its chunks, as they stand in it.

    It may be async. Whatever it raises, and an answer that is no list of mappings with `content`, `tokens` and
    `chunk_order_index`, is an InvalidInput, and the document fails with that.
    """

    def cut(text: str) -> list[str]:
        try:
            answer = function(encoding, text, split_by_character, split_by_character_only, overlap, size)
            if inspect.isawaitable(answer):
                answer = _finished(answer)
        except StatelessRagError:
            raise
        except Exception as error:  # the caller's function may raise anything
            raise InvalidInput(f"chunking_func raised {type(error).__name__}: {error}") from error
        return _contents(answer)

    return cut


def _contents(answer: Any) -> list[str]:
    if not isinstance(answer, list | tuple) or not all(
        isinstance(piece, Mapping) and all(name in piece for name in _ANSWER) for piece in answer
    ):
        raise InvalidInput(
            f"chunking_func returned {shown(answer)}; it must return a list of dicts with {', '.join(_ANSWER)}"
        )
    ordered = sorted(answer, key=lambda piece: piece["chunk_order_index"])
    return [piece["content"].strip() for piece in ordered if piece["content"].strip()]


def _finished(answer: Awaitable[Any]) -> Any:
    """The result of an awaitable, on a loop of its own: documents are cut where there is none."""
    done: Future[Any] = Future()

    async def wait() -> Any:
        return await answer

    def run() -> None:
        try:
            done.set_result(asyncio.run(wait()))
        except BaseException as error:  # noqa: BLE001 -- raised where it is waited for
            done.set_exception(error)

    threading.Thread(target=run, name="stateless-rag-chunking").start()
    return done.result()
