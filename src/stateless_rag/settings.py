"""Settings: small frozen values, one group for each stage. Derive a changed one with `dataclasses.replace`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

from stateless_rag.checks import (
    callback,
    choice,
    each_field,
    flag,
    instance,
    number,
    optional,
    shown,
    text,
    texts,
    whole,
)
from stateless_rag.errors import InvalidInput
from stateless_rag.filters import MetadataFilter, checked_filter
from stateless_rag.text import KeyPolicy
from stateless_rag.types import Message, Mode

__all__ = [
    "WALK_PARTS",
    "CallSettings",
    "ChunkSettings",
    "CommunitySettings",
    "Configuration",
    "ExtractSettings",
    "IngestSettings",
    "MergeSettings",
    "QueryOptions",
    "Settings",
    "StoreSettings",
    "WalkSettings",
    "from_env",
]

ChunkFunction = Callable[[str], Sequence[str] | Sequence[tuple[int, int]]]
_SEPARATORS_LIMIT, _SEPARATOR_LENGTH = 64, 256
_SIZE = re.compile(r"\d+(\.\d+)? ?([KMGT]i?)?B", re.IGNORECASE)


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

    def __post_init__(self) -> None:
        each_field(self, choice, "strategy", among=("content", "tokens", "separator", "recursive"))
        each_field(self, whole, "max_tokens", least=1)
        each_field(self, whole, "overlap_tokens")
        each_field(self, text, "separator")
        each_field(self, flag, "separator_only")
        each_field(self, texts, "separators")
        each_field(self, optional, "function", check=callback)
        if self.function is None and self.strategy != "content":
            self._check_strategy()

    def _check_strategy(self) -> None:
        if self.strategy == "separator":
            if not self.separator:
                raise InvalidInput("separator is empty; the strategy separator needs one")
            if self.separator_only:
                return
        if self.overlap_tokens >= self.max_tokens:
            raise InvalidInput(
                f"overlap_tokens is {self.overlap_tokens}; it must be less than max_tokens, {self.max_tokens}"
            )
        if len(self.separators) > _SEPARATORS_LIMIT or any(
            len(separator) > _SEPARATOR_LENGTH for separator in self.separators
        ):
            raise InvalidInput(
                f"separators are at most {_SEPARATORS_LIMIT} strings of at most {_SEPARATOR_LENGTH} characters"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractSettings:
    """What the extractor is asked for. `gleaning` is how many more times the LLM is asked for what it missed.

    A request beyond `max_input_tokens` (0: no bound) is not made. `max_records` and `max_entities` are told to
    the LLM; what it says beyond them is kept, as it is paid for.
    """

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

    def __post_init__(self) -> None:
        each_field(self, text, "language")
        each_field(self, texts, "entity_types")
        each_field(self, choice, "format", among=("text", "json"))
        each_field(self, whole, "gleaning")
        each_field(self, whole, "max_records", "max_entities", least=1)
        each_field(self, whole, "max_input_tokens")
        each_field(self, optional, "max_tokens", check=whole, least=1)


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

    def __post_init__(self) -> None:
        each_field(self, choice, "key_policy", among=get_args(KeyPolicy))
        each_field(self, whole, "description_texts", "summarize_from", "summary_length", least=1)
        each_field(self, whole, "summary_max_tokens", "summary_context_tokens", least=1)
        each_field(self, whole, "relation_keywords")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """How providers are called. Times are seconds.

    A call may take `llm_timeout` or `embed_timeout`, not counting the wait for a free slot. Errors that may
    pass are tried again, up to `attempts` in all, after a random wait that doubles from `backoff` up to
    `max_backoff`, or as long as the provider asks (`Retry-After`). A stream is closed, and its slot given to
    others, when its consumer asks for nothing for `stream_idle`.
    """

    llm_timeout: float = 240.0
    embed_timeout: float = 30.0
    rerank_timeout: float = 30.0
    attempts: int = 5
    backoff: float = 1.0
    max_backoff: float = 30.0
    stream_idle: float = 60.0

    def __post_init__(self) -> None:
        each_field(self, number, "llm_timeout", "embed_timeout", "rerank_timeout", "stream_idle", above=0.0)
        each_field(self, whole, "attempts", least=1)
        each_field(self, number, "backoff", "max_backoff", least=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """How much of an ingest is held in memory, and when documents are committed together.

    `accept_partial` makes a document searchable although some of its chunks failed.
    """

    documents_in_flight: int = 1024
    characters_in_flight: int = 16_000_000
    commit_chunks: int = 512
    accept_partial: bool = False

    def __post_init__(self) -> None:
        each_field(self, whole, "documents_in_flight", "characters_in_flight", "commit_chunks", least=1)
        each_field(self, flag, "accept_partial")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """How an embedded store uses the machine. `placement` is where new workspaces are put: "root" shares one
    database file, "own" gives each a file of its own. Take "own" for hundreds of workspaces, most of them small:
    opening the store reads the tables of all workspaces in the root's file, and a small file takes less room.
    `base_rows` is the number of vectors from which a base segment is written to a FAISS file, `base_type` what it
    holds of them: all types find the same.
    """

    placement: Literal["root", "own"] = "root"
    memory_limit: str = "1GB"
    threads: int = 2
    readers: int = 4
    checkpoint_threshold: str = "32MB"
    base_rows: int = 20_000
    base_type: Literal["int8", "float16", "float32"] = "int8"

    def __post_init__(self) -> None:
        each_field(self, choice, "placement", among=("root", "own"))
        each_field(self, text, "memory_limit", "checkpoint_threshold")
        each_field(self, whole, "threads", "readers", least=1, most=1024)
        each_field(self, whole, "base_rows")
        each_field(self, choice, "base_type", among=("int8", "float16", "float32"))
        for name in ("memory_limit", "checkpoint_threshold"):
            if not _SIZE.fullmatch(size := getattr(self, name)):
                raise InvalidInput(f"{name} is {shown(size)}; it must be a size such as 512MB or 1.5GB")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOptions:
    """How a question is answered. Budgets are tokens. `min_similarity` is a cosine; by default it is
    the embedder's (its attribute `min_similarity`), or 0.2.

    `top_k` entities and relations and `chunk_top_k` chunks are looked up. `keywords` given by the caller
    replace the LLM's. `system_prompt` replaces the template and may use its slots `{context}`,
    `{response_type}` and `{user_prompt}`. `history` holds earlier turns, oldest first, as (role, text), or as
    mappings with `role` and `content`, or as Message values. `deadline` is seconds for the
    whole operation, waiting included.
    `rerank=False` leaves a reranker out; passages it scores below `min_rerank_score` are dropped (without a
    reranker, or where it fails and may, nothing is).
    `on_provider_error="degrade"` falls back (keywords to the built-in extractor, dense search to words, no
    rerank) and says so in the result.
    `cache` keeps the LLM's answer in the workspace, and takes it from there when the same prompt is sent again at
    the same revision.
    Mode themes looks at the `max_communities` communities that weigh most for the question. For those of which no
    summary is kept it asks the LLM for at most `max_summaries` (by default for all of them, and for none where only
    the context is wanted) within `max_summary_tokens`, prompts and replies together; the others are shown by their
    entities, relations and passages.
    `metadata_filter` limits the question to the documents that meet it (`stateless_rag.filters`): nothing that
    others say is found, shown or counted.
    """

    mode: Literal["naive", "local", "global", "hybrid", "walk", "mix", "themes", "bypass"] = "mix"
    top_k: int = 40
    chunk_top_k: int = 20
    max_entity_tokens: int = 6000
    max_relation_tokens: int = 8000
    max_total_tokens: int = 30000
    min_similarity: float | None = None
    related_chunks: int = 5
    max_communities: int = 20
    max_summaries: int | None = None
    max_summary_tokens: int = 100_000
    high_level_keywords: tuple[str, ...] = ()
    low_level_keywords: tuple[str, ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    response_type: str = "Multiple Paragraphs"
    user_prompt: str = ""
    system_prompt: str | None = None
    only_context: bool = False
    only_prompt: bool = False
    cache: bool = False
    rerank: bool = True
    min_rerank_score: float | None = None
    on_provider_error: Literal["raise", "degrade"] = "raise"
    deadline: float | None = None
    metadata_filter: Mapping[str, Any] | MetadataFilter | None = None

    def __post_init__(self) -> None:
        each_field(self, choice, "mode", among=get_args(Mode))
        each_field(self, whole, "top_k", "chunk_top_k", "max_total_tokens", least=1)
        each_field(self, whole, "max_communities", least=1, most=1_000)
        each_field(self, optional, "max_summaries", check=whole)
        each_field(self, whole, "max_summary_tokens")
        each_field(self, whole, "max_entity_tokens", "max_relation_tokens", "related_chunks")
        each_field(self, optional, "min_similarity", check=number, least=-1.0, most=1.0)
        each_field(self, texts, "high_level_keywords", "low_level_keywords")
        each_field(self, _turns, "history")
        each_field(self, text, "response_type", "user_prompt")
        each_field(self, optional, "system_prompt", check=text)
        each_field(self, flag, "only_context", "only_prompt", "rerank", "cache")
        each_field(self, optional, "min_rerank_score", check=number)
        each_field(self, choice, "on_provider_error", among=("raise", "degrade"))
        each_field(self, optional, "deadline", check=number, above=0.0)
        each_field(self, checked_filter, "metadata_filter")


WALK_PARTS = MappingProxyType(
    {
        "walk": 3.4,
        "words": 1.0,
        "vector": 2.0,
        "title": 2.0,
        "leads": 1.5,
        "shared": 1.1,
        "completes": 2.0,
    }
)
"""What each kind of evidence weighs in the sum that mix ranks by: the walk's share (its logarithm), BM25, cosine;
that the question names the title; that a likely first passage names the title; that it shares a rare entity; and the
question's words that the first one lacks, where they share one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkSettings:
    """What the modes walk and mix rank by (docs/retrieval.md). The defaults are what measured best; a part that is
    False or 0 is left out, which is how each part's worth is measured.

    `names` links the entities and titles that a question names, `facts` is how many relations near to it a walk
    starts from, `fact_passages` how much the passage that states a relation counts among them, `passages` the
    weight of the nearest passages as a start, `titles` that of the edge between a passage and its title,
    `hub_damping` makes a start weigh 1/√ of its passages, `damping` is the probability to walk on. `words` searches by
    words, too. `parts` are the weights of the sum that mix ranks by; those that are not named keep theirs.
    """

    names: bool = True
    facts: int = 5
    fact_passages: float = 0.5
    passages: float = 0.02
    titles: float = 5.0
    hub_damping: bool = True
    damping: float = 0.5
    words: bool = True
    parts: Mapping[str, float] = field(default_factory=lambda: WALK_PARTS)

    def __post_init__(self) -> None:
        each_field(self, flag, "names", "hub_damping", "words")
        each_field(self, whole, "facts", most=1_000)
        each_field(self, number, "fact_passages", "passages", "titles", least=0.0, most=1_000.0)
        each_field(self, number, "damping", least=0.0, most=0.99)
        object.__setattr__(self, "parts", _weighed(self.parts))


def _weighed(parts: Any) -> Mapping[str, float]:
    if not isinstance(parts, Mapping) or not parts.keys() <= WALK_PARTS.keys():
        raise InvalidInput(
            f"parts is {shown(parts)}; it must map some of {', '.join(WALK_PARTS)} to their weights"
        )
    given = {name: number(f"parts[{name!r}]", weight, least=-1e6, most=1e6) for name, weight in parts.items()}
    return MappingProxyType({**WALK_PARTS, **given})


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunitySettings:
    """How entities fall into communities, and what a summary of one is made of (docs/retrieval.md).

    Connected parts of more than `max_size` entities are divided by Leiden; the higher the `resolution`, the smaller
    what they fall into. The same `seed` gives the same communities. `evidence_tokens` is how much of entities,
    relations and passages one summary is made of, `summary_tokens` how long it may be.
    """

    resolution: float = 1.0
    max_size: int = 100
    seed: int = 0
    evidence_tokens: int = 3000
    summary_tokens: int = 400

    def __post_init__(self) -> None:
        each_field(self, number, "resolution", above=0.0, most=1_000.0)
        each_field(self, whole, "max_size", least=1, most=1_000_000)
        each_field(self, whole, "seed", most=2**32 - 1)
        each_field(self, whole, "evidence_tokens", least=200, most=200_000)
        each_field(self, whole, "summary_tokens", least=20, most=20_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of an engine."""

    chunking: ChunkSettings = field(default_factory=ChunkSettings)
    extraction: ExtractSettings = field(default_factory=ExtractSettings)
    merging: MergeSettings = field(default_factory=MergeSettings)
    calls: CallSettings = field(default_factory=CallSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    query: QueryOptions = field(default_factory=QueryOptions)
    walk: WalkSettings = field(default_factory=WalkSettings)
    communities: CommunitySettings = field(default_factory=CommunitySettings)

    def __post_init__(self) -> None:
        each_field(self, instance, "chunking", kind=ChunkSettings)
        each_field(self, instance, "extraction", kind=ExtractSettings)
        each_field(self, instance, "merging", kind=MergeSettings)
        each_field(self, instance, "calls", kind=CallSettings)
        each_field(self, instance, "ingest", kind=IngestSettings)
        each_field(self, instance, "query", kind=QueryOptions)
        each_field(self, instance, "walk", kind=WalkSettings)
        each_field(self, instance, "communities", kind=CommunitySettings)


def _turns(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    """Turns of a conversation as pairs, from pairs, mappings as chat APIs have them, or Message values."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        raise InvalidInput(f"{name} is {shown(value)}; it must be a tuple of (role, text)")
    return tuple(_turn(f"{name}[{place}]", turn) for place, turn in enumerate(value))


def _turn(name: str, turn: Any) -> tuple[str, str]:
    if isinstance(turn, Message):
        return turn.role, turn.content
    if isinstance(turn, Mapping) and turn.keys() >= {"role", "content"}:
        pair: Sequence[Any] = (turn["role"], turn["content"])
    elif isinstance(turn, tuple | list) and len(turn) == 2:
        pair = turn
    else:
        raise InvalidInput(
            f"{name} is {shown(turn)}; it must be (role, text), a mapping with role and content, or a Message"
        )
    try:
        message = Message(pair[0], pair[1])
    except InvalidInput as error:
        raise InvalidInput(f"{name} is {shown(turn)}: {error}") from error
    return message.role, message.content


# ---- the command line ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What environment variables say to programs that read them: the command line does, the library does not.

    With an `api_key` or a `base_url` an LLM is used, else the built-in parts. `embed_model` is a model of that
    server, "hashing" for the built-in embedder, or "fastembed:" and a model's name or folder. `server` is the address
    of a stateless-rag server to work on, in place of a folder, with a `server_key` if it wants one. `environ` is all
    that was set, for who serves, which has settings of its own.
    """

    root: str = "stateless-rag-data"
    workspace: str = "default"
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    llm_model: str = "gpt-5-mini"
    embed_model: str = "text-embedding-3-small"
    llm_calls: int = 16
    server: str | None = None
    server_key: str | None = field(default=None, repr=False)
    environ: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, compare=False
    )

    @property
    def offline(self) -> bool:
        """Whether there is no server to ask."""
        return self.api_key is None and self.base_url is None


def from_env(environ: Mapping[str, str]) -> Configuration:
    """Turn environment variables into a configuration; those that are not set, or empty, leave its defaults.

    OPENAI_API_KEY, OPENAI_BASE_URL, STATELESS_RAG_ROOT, STATELESS_RAG_WORKSPACE, STATELESS_RAG_LLM_MODEL,
    STATELESS_RAG_EMBED_MODEL, STATELESS_RAG_LLM_CALLS (how many at once), STATELESS_RAG_SERVER and STATELESS_RAG_KEY
    (a server to work on, and the key for it). Raises InvalidInput for a number
    that is none.
    """
    names = {
        "root": "STATELESS_RAG_ROOT",
        "workspace": "STATELESS_RAG_WORKSPACE",
        "api_key": "OPENAI_API_KEY",
        "base_url": "OPENAI_BASE_URL",
        "llm_model": "STATELESS_RAG_LLM_MODEL",
        "embed_model": "STATELESS_RAG_EMBED_MODEL",
        "server": "STATELESS_RAG_SERVER",
        "server_key": "STATELESS_RAG_KEY",
    }
    given: dict[str, Any] = {
        field_: value for field_, name in names.items() if (value := environ.get(name, "").strip())
    }
    calls = environ.get("STATELESS_RAG_LLM_CALLS", "").strip()
    if calls:
        if not (calls.isascii() and calls.isdigit() and int(calls) > 0):
            raise InvalidInput(f"STATELESS_RAG_LLM_CALLS must be a positive whole number, not {calls!r}")
        given["llm_calls"] = int(calls)
    return Configuration(**given, environ=environ)
