"""Settings: small frozen values, one group for each stage. Derive a changed one with `dataclasses.replace`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stateless_rag.errors import InvalidInput
from stateless_rag.text import KeyPolicy

__all__ = [
    "CallSettings",
    "ChunkSettings",
    "Configuration",
    "ExtractSettings",
    "IngestSettings",
    "MergeSettings",
    "QueryOptions",
    "Settings",
    "StoreSettings",
    "from_env",
]

ChunkFunction = Callable[[str], Sequence[str] | Sequence[tuple[int, int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSettings:
    """How documents are cut. Sizes are tokens.

    `strategy`: "content" cuts at sentence and paragraph ends chosen by content, so an edit moves only the
    boundaries near it; "tokens" are fixed windows with `overlap_tokens`; "separator" splits on `separator`
    (pieces above `max_tokens` are windowed, unless `separator_only`, which refuses them); "recursive" tries
    `separators` in order. A `function(text)` returns chunks as strings found in the text in order, or as
    (start, stop) offsets, and overrides the strategy.
    """

    strategy: Literal["content", "tokens", "separator", "recursive"] = "content"
    max_tokens: int = 1200
    overlap_tokens: int = 100
    separator: str = "\n\n"
    separator_only: bool = False
    separators: tuple[str, ...] = ("\n\n", "\n", "。", "！", "？", "；", "，", " ", "")
    function: ChunkFunction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractSettings:
    """What the extractor is asked for. `gleaning` is how many more times the LLM is asked for what it missed."""

    language: str = "English"
    entity_types: tuple[str, ...] = (
        "Person",
        "Creature",
        "Organization",
        "Location",
        "Event",
        "Concept",
        "Method",
        "Content",
        "Data",
        "Artifact",
        "NaturalObject",
    )
    format: Literal["text", "json"] = "text"
    gleaning: int = 1
    max_records: int = 100
    max_entities: int = 40
    max_input_tokens: int = 20480
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSettings:
    """How mentions fold into entities and relations.

    A key's description is made from at most `description_texts` distinct texts, chosen by hash. Below
    `summarize_from` texts and `summary_max_tokens` tokens they are joined; from there on the LLM summarises
    them into about `summary_length` tokens, reading at most `summary_context_tokens` at a time.
    """

    key_policy: KeyPolicy = "casefold"
    description_texts: int = 24
    relation_keywords: int = 64
    summarize_from: int = 8
    summary_max_tokens: int = 1200
    summary_context_tokens: int = 12000
    summary_length: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """How providers are called. Times are seconds.

    A call may take `llm_timeout` or `embed_timeout`, not counting the wait for a free slot. Errors that may
    pass are tried again, up to `attempts` in all, after a random wait that doubles from `backoff` up to
    `max_backoff`, or as long as the provider asks (`Retry-After`).
    """

    llm_timeout: float = 240.0
    embed_timeout: float = 30.0
    rerank_timeout: float = 30.0
    attempts: int = 5
    backoff: float = 1.0
    max_backoff: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """How much of an ingest is held in memory, and when documents are committed together.

    `accept_partial` makes a document searchable although some of its chunks failed.
    """

    documents_in_flight: int = 1024
    characters_in_flight: int = 16_000_000
    commit_chunks: int = 512
    accept_partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """How an embedded store uses the machine. `placement` is where new workspaces are put: "root" shares one
    database file, "own" gives each a file of its own. `base_rows` is the number of vectors from which a base
    segment is written to a FAISS file.
    """

    placement: Literal["root", "own"] = "root"
    memory_limit: str = "1GB"
    threads: int = 2
    readers: int = 4
    checkpoint_threshold: str = "256MB"
    base_rows: int = 20_000
    base_type: Literal["float16", "int8", "float32"] = "float16"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOptions:
    """How a question is answered. Budgets are tokens. `min_similarity` is a cosine; by default it is
    the embedder's (its attribute `min_similarity`), or 0.2.

    `top_k` entities and relations and `chunk_top_k` chunks are looked up. `keywords` given by the caller
    replace the LLM's. `system_prompt` replaces the template and may use its slots `{context}`,
    `{response_type}` and `{user_prompt}`. `history` holds earlier turns, oldest first, as (role, text); the
    engine also takes mappings with `role` and `content`, and Message values. `deadline` is seconds for the
    whole operation, waiting included.
    `on_provider_error="degrade"` falls back (keywords to the built-in extractor, dense search to words, no
    rerank) and says so in the result.
    """

    mode: Literal["naive", "local", "global", "hybrid", "mix", "bypass"] = "mix"
    top_k: int = 40
    chunk_top_k: int = 20
    max_entity_tokens: int = 6000
    max_relation_tokens: int = 8000
    max_total_tokens: int = 30000
    min_similarity: float | None = None
    related_chunks: int = 5
    high_level_keywords: tuple[str, ...] = ()
    low_level_keywords: tuple[str, ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    response_type: str = "Multiple Paragraphs"
    user_prompt: str = ""
    system_prompt: str | None = None
    only_context: bool = False
    only_prompt: bool = False
    on_provider_error: Literal["raise", "degrade"] = "raise"
    deadline: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of an engine."""

    chunking: ChunkSettings = field(default_factory=ChunkSettings)
    extraction: ExtractSettings = field(default_factory=ExtractSettings)
    merging: MergeSettings = field(default_factory=MergeSettings)
    calls: CallSettings = field(default_factory=CallSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    query: QueryOptions = field(default_factory=QueryOptions)


# ---- the command line ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What environment variables say to programs that read them: the command line does, the library does not.

    With an `api_key` or a `base_url` an LLM is used, else the built-in parts. `embed_model` is a model of that
    server, "hashing" for the built-in embedder, or "fastembed:" and a model's name or folder.
    """

    root: str = "stateless-rag-data"
    workspace: str = "default"
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    llm_model: str = "gpt-5-mini"
    embed_model: str = "text-embedding-3-small"
    llm_calls: int = 16

    @property
    def offline(self) -> bool:
        """Whether there is no server to ask."""
        return self.api_key is None and self.base_url is None


def from_env(environ: Mapping[str, str]) -> Configuration:
    """Turn environment variables into a configuration; those that are not set, or empty, leave its defaults.

    OPENAI_API_KEY, OPENAI_BASE_URL, STATELESS_RAG_ROOT, STATELESS_RAG_WORKSPACE, STATELESS_RAG_LLM_MODEL,
    STATELESS_RAG_EMBED_MODEL, STATELESS_RAG_LLM_CALLS (how many at once). Raises InvalidInput for a number
    that is none.
    """
    names = {
        "root": "STATELESS_RAG_ROOT",
        "workspace": "STATELESS_RAG_WORKSPACE",
        "api_key": "OPENAI_API_KEY",
        "base_url": "OPENAI_BASE_URL",
        "llm_model": "STATELESS_RAG_LLM_MODEL",
        "embed_model": "STATELESS_RAG_EMBED_MODEL",
    }
    given: dict[str, Any] = {
        field_: value for field_, name in names.items() if (value := environ.get(name, "").strip())
    }
    calls = environ.get("STATELESS_RAG_LLM_CALLS", "").strip()
    if calls:
        if not (calls.isascii() and calls.isdigit() and int(calls) > 0):
            raise InvalidInput(f"STATELESS_RAG_LLM_CALLS must be a positive whole number, not {calls!r}")
        given["llm_calls"] = int(calls)
    return Configuration(**given)
