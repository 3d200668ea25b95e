"""What the constructor's arguments become: settings, limits and providers of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import flag, optional, shown, text, texts, whole
from stateless_rag.errors import InvalidInput
from stateless_rag.interop.lightrag.cutting import chunk_function, tokenizer_of
from stateless_rag.interop.lightrag.options import DEFAULT_MODEL
from stateless_rag.interop.lightrag.providers import embedder_of, llm_of, reranker_of
from stateless_rag.limits import Limits
from stateless_rag.providers import O200kTokenizer
from stateless_rag.settings import CallSettings, ChunkSettings, ExtractSettings, MergeSettings, Settings

if TYPE_CHECKING:
    from stateless_rag.interop.lightrag.options import Options, RoleLLMConfig
    from stateless_rag.protocols import LLM

__all__ = ["chunk_settings", "engine_arguments", "llms_by_role", "with_chunking"]

_CHUNK_SIZE, _CHUNK_OVERLAP = 1200, 100
_FIXED = "fixed_token"


def engine_arguments(options: Options) -> Mapping[str, Any]:
    """The keyword arguments of `Engine.open`."""
    arguments: dict[str, Any] = {
        "llm": _llm(options, None),
        "roles": llms_by_role(options, options.roles),
        "embedder": embedder_of(options.embedding_func, max_batch=options.embedding_batch_num),
        "reranker": reranker_of(options.rerank_model_func),
        "limits": options.limits or _limits(options),
    }
    if options.tokenizer is not None:
        arguments["tokenizer"] = tokenizer_of(options.tokenizer)
    elif options.chunking_func is not None:
        arguments["tokenizer"] = O200kTokenizer()
    return MappingProxyType({**arguments, "settings": _settings(options, arguments)})


def with_chunking(
    options: Options, arguments: Mapping[str, Any], separator: str | None, *, only: bool
) -> Mapping[str, Any]:
    """The same arguments, for documents that are split on a separator."""
    chunking = chunk_settings(options, arguments.get("tokenizer"), separator, only=only)
    settings: Settings = arguments["settings"]
    return {**arguments, "settings": replace(settings, chunking=chunking)}


def chunk_settings(
    options: Options, tokenizer: Any, separator: str | None = None, *, only: bool = False
) -> ChunkSettings:
    """How documents are cut: windows of tokens, at a separator, or by the caller's function."""
    fixed = _fixed(options)
    size, overlap = _sizes(options, fixed)
    mark = optional(
        "split_by_character", fixed.get("split_by_character") if separator is None else separator, text
    )
    only = flag("split_by_character_only", only or fixed.get("split_by_character_only", False))
    if options.chunking_func is not None:
        encoding = tokenizer if options.tokenizer is None else options.tokenizer
        function = chunk_function(
            options.chunking_func,
            encoding,
            split_by_character=mark or None,
            split_by_character_only=only,
            overlap=overlap,
            size=size,
        )
        return ChunkSettings(max_tokens=size, overlap_tokens=overlap, function=function)
    if not mark:
        return ChunkSettings(strategy="tokens", max_tokens=size, overlap_tokens=overlap)
    return ChunkSettings(
        strategy="separator", separator=mark, separator_only=only, max_tokens=size, overlap_tokens=overlap
    )


def _fixed(options: Options) -> Mapping[str, Any]:
    """What `addon_params["chunker"]` says of fixed windows. Raises InvalidInput for what it may not say."""
    chunker = options.chunker
    fixed: Mapping[str, Any] = chunker.get(_FIXED) or {}
    known = {"split_by_character", "split_by_character_only", "chunk_overlap_token_size", "chunk_token_size"}
    unknown = [
        *(set(chunker) - {"chunk_token_size", "chunk_overlap_token_size", _FIXED}),
        *(set(fixed) - known),
    ]
    if unknown:
        raise InvalidInput(
            f"addon_params['chunker'] has {shown(sorted(map(str, unknown)))}; it may have chunk_token_size, "
            f"chunk_overlap_token_size and {_FIXED}: for other ways to cut give a chunking_func"
        )
    return {**{name: value for name, value in chunker.items() if name != _FIXED}, **fixed}


def _sizes(options: Options, fixed: Mapping[str, Any]) -> tuple[int, int]:
    size = fixed.get("chunk_token_size", options.chunk_token_size)
    overlap = fixed.get("chunk_overlap_token_size", options.chunk_overlap_token_size)
    return (
        whole("chunk_token_size", _CHUNK_SIZE if size is None else size, least=1),
        whole("chunk_overlap_token_size", _CHUNK_OVERLAP if overlap is None else overlap),
    )


def _settings(options: Options, arguments: Mapping[str, Any]) -> Settings:
    return Settings(
        chunking=chunk_settings(options, arguments.get("tokenizer")),
        extraction=_extraction(options),
        merging=MergeSettings(
            summarize_from=max(1, options.force_llm_summary_on_merge),
            summary_max_tokens=options.summary_max_tokens,
            summary_context_tokens=options.summary_context_size,
            summary_length=options.summary_length_recommended,
        ),
        calls=CallSettings(
            llm_timeout=options.default_llm_timeout,
            embed_timeout=options.default_embedding_timeout,
            rerank_timeout=options.default_rerank_timeout,
        ),
    )


def _extraction(options: Options) -> ExtractSettings:
    settings = ExtractSettings(
        format="json" if options.entity_extraction_use_json else "text",
        gleaning=options.entity_extract_max_gleaning,
        max_records=options.entity_extract_max_records,
        max_entities=options.entity_extract_max_entities,
    )
    addon = options.addon_params
    if "language" in addon:
        settings = replace(settings, language=text("addon_params['language']", addon["language"]))
    if addon.get("entity_types_guidance"):
        guidance = text("addon_params['entity_types_guidance']", addon["entity_types_guidance"])
        return replace(settings, entity_types=(guidance.strip(),))
    if addon.get("entity_types"):
        return replace(settings, entity_types=texts("addon_params['entity_types']", addon["entity_types"]))
    return settings


def _limits(options: Options) -> Limits:
    return Limits(
        llm=options.llm_model_max_async,
        embedder=options.embedding_func_max_async,
        reranker=options.rerank_model_max_async,
    )


def llms_by_role(options: Options, configs: Mapping[str, RoleLLMConfig]) -> dict[str, LLM]:
    """The LLMs for some kinds of work, by the names that these have here; `configs` are by LightRAG's names."""
    named = (("extract", "extract"), ("extract", "summarize"), ("keyword", "keywords"), ("query", "answer"))
    return {purpose: _llm(options, configs[role]) for role, purpose in named if role in configs}


def _llm(options: Options, config: RoleLLMConfig | None) -> LLM:
    own = None if config is None else config.func
    keywords = options.llm_model_kwargs if config is None or config.kwargs is None else config.kwargs
    given = options.llm_model_name != DEFAULT_MODEL and own is None
    return llm_of(
        own or options.llm_model_func,
        model=options.llm_model_name if given else None,
        keywords=keywords,
        timeout=None if config is None else config.timeout,
        configuration={
            "llm_model_name": options.llm_model_name,
            "llm_model_kwargs": dict(keywords),
            "llm_model_max_async": options.llm_model_max_async,
            "addon_params": dict(options.addon_params),
            "working_dir": str(options.working_dir),
        },
    )
