"""What answers from outside and what is told: models, the tokenizer, the extractor, the observer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stateless_rag.context import Context
    from stateless_rag.types import Chunk, Event, Extraction, Message

    Vectors = NDArray[np.float32]

__all__ = [
    "LLM",
    "Embedder",
    "Embeddings",
    "Extractor",
    "LLMReply",
    "LLMRequest",
    "LineCounter",
    "Observer",
    "Reranker",
    "StreamPart",
    "Tokenizer",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMRequest:
    """One call of an LLM. The order of the messages is system, history, prompt.

    `purpose` (extract, glean, summarize, keywords, themes, answer) is for ledgers; it does not change the answer.
    """

    prompt: str
    system: str | None = None
    history: tuple[Message, ...] = ()
    json: bool = False
    max_tokens: int | None = None
    purpose: str = "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMReply:
    """What an LLM said. `truncated`: it was cut off by a token limit (finish reason "length").

    Tokens are the provider's count, or None where it gives none.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPart:
    """A piece of a streamed answer; the last one carries `reply`, the whole answer with its tokens."""

    text: str = ""
    reply: LLMReply | None = None


@runtime_checkable
class LLM(Protocol):
    """A language model. Raises `ProviderError` (or a subclass) when it fails; it need not retry."""

    @property
    def model(self) -> str:
        """Names the model and whatever else changes its answers; part of the journal's key."""

    async def complete(self, request: LLMRequest) -> LLMReply:
        """Answer one request."""

    def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """Answer one request piece by piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """Vectors, float32 of shape (texts, dimension), and the tokens they cost where the provider says."""

    vectors: Vectors
    tokens: int | None = None


@runtime_checkable
class Embedder(Protocol):
    """An embedding model. One call takes at most `max_batch` texts and `max_batch_tokens` tokens together."""

    @property
    def model(self) -> str:
        """Names the model and whatever else changes its vectors."""

    @property
    def dimension(self) -> int | None:
        """The length of its vectors; None if that is known only after the first call."""

    @property
    def max_tokens(self) -> int | None:
        """The longest text it takes, in tokens; longer chunks are split before they are embedded."""

    @property
    def max_batch(self) -> int:
        """How many texts one call may carry."""

    @property
    def max_batch_tokens(self) -> int | None:
        """How many tokens one call may carry."""

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        """Embed texts, in order. Models that treat questions differently look at `role`."""


@runtime_checkable
class Reranker(Protocol):
    """Scores passages against a question."""

    @property
    def model(self) -> str:
        """Names the model."""

    async def rerank(self, query: str, texts: Sequence[str], *, top_n: int) -> Sequence[tuple[int, float]]:
        """The indexes of the best texts with their scores, best first."""


@runtime_checkable
class Tokenizer(Protocol):
    """Counts tokens and says where they begin. Used from several threads at once.

    One that is built when it first counts may have an attribute `built`, which tells whether it is: until then
    it is not asked on the event loop. One that is built for some texts only has a method `is_ready(texts)` instead.
    """

    @property
    def name(self) -> str:
        """Names the encoding; recorded with the workspace."""

    def count(self, text: str) -> int:
        """The number of tokens in the text."""

    def offsets(self, text: str) -> Sequence[int]:
        """For each token the offset in `text` (code points) of the character it begins in; never falls."""


@runtime_checkable
class LineCounter(Protocol):
    """A tokenizer that counts many lines at once, which a large commit is glad of."""

    def count_lines(self, lines: Sequence[str]) -> Sequence[int]:
        """The tokens of each line with a line feed after it, which no line holds itself."""


class Extractor(Protocol):
    """Finds entities and relations in a chunk. Failures of providers are raised, not swallowed."""

    def generation(self, context: Context) -> str:
        """Names all that decides what is found: prompt, model, parameters, version of the rules."""

    async def extract(self, context: Context, chunk: Chunk) -> Extraction:
        """Extract one chunk."""


class Observer(Protocol):
    """Is told of every step, synchronously; must return quickly and not raise."""

    def __call__(self, event: Event) -> None:
        """Take note of one event."""
