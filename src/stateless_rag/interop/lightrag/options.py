"""The arguments of the constructor, with LightRAG's names and defaults, and what becomes of each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import callback, choice, instance, number, optional, shown, text, whole
from stateless_rag.errors import InvalidInput
from stateless_rag.interop.lightrag.errors import NotSupported

if TYPE_CHECKING:
    from stateless_rag.limits import Limits
    from stateless_rag.stores.duckdb.store import Store

__all__ = ["DEFAULT_MODEL", "ROLES", "Options", "RoleLLMConfig", "checked_role"]

DEFAULT_MODEL = "gpt-4o-mini"
ROLES = ("extract", "keyword", "query", "vlm")

_FILE_STORES = (
    ("kv_storage", ("JsonKVStorage",)),
    ("vector_storage", ("NanoVectorDBStorage", "FaissVectorDBStorage")),
    ("graph_storage", ("NetworkXStorage",)),
    ("doc_status_storage", ("JsonDocStatusStorage",)),
)
_ADDONS = ("chunker", "entity_types", "entity_types_guidance", "language")
_O200K = ("gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "chatgpt-4o", "o1", "o3", "o4", "o200k_base")
_CALLER = 6  # stack levels from `_warn` to who made the instance


@dataclass(frozen=True)
class RoleLLMConfig:
    """Another LLM for one kind of work: extract (summaries too), keyword, or query.

    `kwargs` are given to it in place of `llm_model_kwargs`; a call may take `timeout` seconds.
    """

    func: Callable[..., Any] | None = None
    kwargs: Mapping[str, Any] | None = None
    max_async: int | None = None
    timeout: float | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Options:
    """What LightRAG's constructor takes, and two arguments more.

    `store` is an open Store, whose root then takes the place of `working_dir`: for several instances on one
    folder, or on one workspace. `limits` may be shared by instances: its bounds take the place of
    `llm_model_max_async` and the like. The environment is never read.
    """

    working_dir: str | Path = "./rag_storage"
    _: KW_ONLY
    store: Store | None = None
    limits: Limits | None = None
    kv_storage: str = "JsonKVStorage"
    vector_storage: str = "NanoVectorDBStorage"
    graph_storage: str = "NetworkXStorage"
    doc_status_storage: str = "JsonDocStatusStorage"
    workspace: str = ""
    namespace_prefix: str | None = None
    # ---- queries
    top_k: int = 40
    chunk_top_k: int = 20
    max_entity_tokens: int = 6000
    max_relation_tokens: int = 8000
    max_total_tokens: int = 30000
    cosine_better_than_threshold: float = 0.2
    related_chunk_number: int = 5
    kg_chunk_pick_method: str = "VECTOR"
    enable_content_headings: bool = True
    user_prompt_prefix: str | None = None
    # ---- extraction
    entity_extract_max_gleaning: int = 1
    entity_extract_max_records: int = 100
    entity_extract_max_entities: int = 40
    force_llm_summary_on_merge: int = 8
    entity_extraction_use_json: bool = False
    addon_params: Mapping[str, Any] = field(default_factory=dict)
    # ---- chunks
    chunk_token_size: int | None = None
    chunk_overlap_token_size: int | None = None
    tokenizer: Any = None
    tiktoken_model_name: str = DEFAULT_MODEL
    chunking_func: Callable[..., Any] | None = None
    # ---- embedding
    embedding_func: Any = None
    embedding_chunk_overlap_token_size: int = 100
    embedding_batch_num: int = 10
    embedding_func_max_async: int = 8
    embedding_cache_config: Mapping[str, Any] | None = None
    default_embedding_timeout: float = 30
    vector_db_storage_cls_kwargs: Mapping[str, Any] = field(default_factory=dict)
    # ---- LLM
    llm_model_func: Any = None
    role_llm_configs: Mapping[str, Any] | None = None
    llm_model_name: str = DEFAULT_MODEL
    summary_max_tokens: int = 1200
    summary_context_size: int = 12000
    summary_length_recommended: int = 600
    llm_model_max_async: int = 4
    llm_model_kwargs: Mapping[str, Any] = field(default_factory=dict)
    default_llm_timeout: float = 240
    enable_llm_cache: bool = True
    enable_llm_cache_for_entity_extract: bool = True
    # ---- rerank
    rerank_model_func: Any = None
    rerank_model_max_async: int = 4
    default_rerank_timeout: float = 30
    min_rerank_score: float = 0.0
    # ---- the pipeline
    vlm_process_enable: bool = False
    max_parallel_insert: int = 3
    max_parallel_parse_native: int = 5
    max_parallel_parse_mineru: int = 1
    max_parallel_parse_docling: int = 1
    max_parallel_analyze: int = 5
    queue_size_parse: int = 20
    queue_size_analyze: int = 100
    queue_size_insert: int = 4
    pipeline_scheduling_page_size: int = 500
    pipeline_require_strict_storage_reads: bool = False
    max_pending_documents: int = 0
    # ---- the graph
    max_graph_nodes: int = 1000
    max_source_ids_per_entity: int = 200
    max_source_ids_per_relation: int = 200
    source_ids_limit_method: str = "KEEP"
    max_file_paths: int = 75
    file_path_more_placeholder: str = "truncated"
    # ---- without effect
    auto_manage_storages_states: bool = False
    log_level: Any = None
    log_file_path: str | None = None
    ollama_server_infos: Any = None

    def __post_init__(self) -> None:
        _take_old_names(self)
        _require_providers(self)
        _refuse(self)
        _check(self)
        _tell(self)

    @property
    def least_similarity(self) -> float:
        """The least cosine: `cosine_better_than_threshold`, also where it is among the vector store's arguments."""
        found = self.vector_db_storage_cls_kwargs.get(
            "cosine_better_than_threshold", self.cosine_better_than_threshold
        )
        return number("cosine_better_than_threshold", found, least=-1.0, most=1.0)

    @property
    def roles(self) -> Mapping[str, RoleLLMConfig]:
        """The LLMs for some kinds of work, by LightRAG's names."""
        configs = self.role_llm_configs or {}
        return {role: _role_config(role, config) for role, config in configs.items()}

    @property
    def chunker(self) -> Mapping[str, Any]:
        """Sizes of chunks among the `addon_params`."""
        found: Mapping[str, Any] = self.addon_params.get("chunker") or {}
        return found


# ---- checks --------------------------------------------------------------------------------------------


def _take_old_names(options: Options) -> None:
    if options.namespace_prefix is None:
        return
    _warn("namespace_prefix is called workspace now", DeprecationWarning)
    if options.workspace not in ("", options.namespace_prefix):
        raise InvalidInput(
            f"namespace_prefix is {shown(options.namespace_prefix)} and workspace {shown(options.workspace)}; "
            "give workspace alone"
        )
    object.__setattr__(options, "workspace", options.namespace_prefix)


def _require_providers(options: Options) -> None:
    if options.llm_model_func is None:
        raise InvalidInput("llm_model_func is missing; give an async function, or an LLM of stateless_rag")
    if options.embedding_func is None:
        raise InvalidInput(
            "embedding_func is missing; give an EmbeddingFunc, or stateless_rag.HashingEmbedder(), which needs no model"
        )
    if not hasattr(options.embedding_func, "embed"):
        callback("embedding_func", options.embedding_func)


def _refuse(options: Options) -> None:
    """Raise NotSupported for what would not do what its caller expects."""
    for name, known in _FILE_STORES:
        if (given := getattr(options, name)) not in known:
            raise NotSupported(
                f"{name} is {shown(given)}; there is one store here, DuckDB and FAISS below working_dir, which takes "
                f"the place of {' and '.join(known)}: leave {name} out"
            )
    if options.vlm_process_enable:
        raise NotSupported("vlm_process_enable is True; there is no multimodal processing: insert text")
    if "entity_type_prompt_file" in options.addon_params:
        raise NotSupported(
            "addon_params has 'entity_type_prompt_file', which is not read; give its text as 'entity_types_guidance'"
        )


def _check(options: Options) -> None:
    for name in ("pipeline_scheduling_page_size", "max_pending_documents", "max_graph_nodes"):
        whole(name, getattr(options, name))
    for name in (
        "embedding_chunk_overlap_token_size",
        "max_source_ids_per_entity",
        "max_source_ids_per_relation",
    ):
        whole(name, getattr(options, name))
    for name in (
        "llm_model_max_async",
        "embedding_func_max_async",
        "rerank_model_max_async",
        "embedding_batch_num",
    ):
        whole(name, getattr(options, name), least=1)
    whole("max_file_paths", options.max_file_paths)
    choice("kg_chunk_pick_method", options.kg_chunk_pick_method, among=("VECTOR", "WEIGHT"))
    number("min_rerank_score", options.min_rerank_score)
    text("workspace", options.workspace)
    optional("user_prompt_prefix", options.user_prompt_prefix, text)
    for name in ("chunking_func", "rerank_model_func"):
        if not hasattr(value := getattr(options, name), "rerank"):
            optional(name, value, callback)
    for name in ("addon_params", "llm_model_kwargs", "vector_db_storage_cls_kwargs"):
        instance(name, getattr(options, name), kind=Mapping)  # type: ignore[type-abstract]
    _ = (options.least_similarity, options.roles)


def _role_config(role: str, config: Any) -> RoleLLMConfig:
    if role not in ROLES:
        raise InvalidInput(f"role_llm_configs has {shown(role)}; there are {', '.join(ROLES)}")
    if isinstance(config, Mapping):
        unknown = set(config) - set(RoleLLMConfig.__dataclass_fields__)
        if unknown:
            raise InvalidInput(f"role_llm_configs[{role!r}] has {shown(sorted(map(str, unknown)))}")
        return checked_role(role, RoleLLMConfig(**config))
    if isinstance(config, RoleLLMConfig):
        return checked_role(role, config)
    if callable(config):
        return RoleLLMConfig(func=config)
    raise InvalidInput(f"role_llm_configs[{role!r}] is {shown(config)}; it must be a RoleLLMConfig")


def checked_role(role: str, config: RoleLLMConfig) -> RoleLLMConfig:
    """The same. Raises InvalidInput for a value that cannot be used."""
    if not hasattr(config.func, "complete"):
        optional(f"the func of role {role}", config.func, callback)
    for name in ("kwargs", "metadata"):
        optional(f"the {name} of role {role}", getattr(config, name), instance, kind=Mapping)
    optional(f"the max_async of role {role}", config.max_async, whole, least=1)
    optional(f"the timeout of role {role}", config.timeout, number, above=0.0)
    return config


# ---- warnings ------------------------------------------------------------------------------------------


def _tell(options: Options) -> None:
    """Warn of what has no effect although its caller expects one, and of settings that do not fit together."""
    for name in ("log_level", "log_file_path"):
        if getattr(options, name) is not None:
            _warn(f"{name} has no effect; configure logging", DeprecationWarning)
    if options.auto_manage_storages_states:
        _warn("auto_manage_storages_states has no effect; storages open on first use", DeprecationWarning)
    for message, holds in _without_effect(options):
        if holds:
            _warn(message, UserWarning)


def _without_effect(options: Options) -> list[tuple[str, bool]]:
    """Messages, and whether they hold."""
    model = options.tiktoken_model_name
    ignored = sorted(set(options.addon_params) - set(_ADDONS))
    counted = (
        f"tiktoken_model_name is {model!r}: tokens are counted with o200k_base; give a tokenizer for another"
    )
    kept = "enable_llm_cache_for_entity_extract has no effect: what was paid for is always kept"
    bounded = "max_async in role_llm_configs has no effect; llm_model_max_async bounds all roles together"
    return [
        (counted, options.tokenizer is None and not model.startswith(_O200K)),
        (kept, not options.enable_llm_cache_for_entity_extract),
        ("kg_chunk_pick_method has no effect", options.kg_chunk_pick_method != "VECTOR"),
        (
            "embedding_cache_config has no effect",
            bool((options.embedding_cache_config or {}).get("enabled")),
        ),
        ("role_llm_configs['vlm'] has no effect", "vlm" in options.roles),
        (bounded, any(config.max_async is not None for config in options.roles.values())),
        (f"of addon_params {', '.join(ignored)} have no effect", bool(ignored)),
        ("force_llm_summary_on_merge is less than 3", options.force_llm_summary_on_merge < 3),
        (
            "summary_context_size is more than max_total_tokens",
            options.summary_context_size > options.max_total_tokens,
        ),
        (
            "summary_length_recommended is more than summary_max_tokens",
            options.summary_length_recommended > options.summary_max_tokens,
        ),
    ]


def _warn(message: str, kind: type[Warning]) -> None:
    warnings.warn(f"LightRAG: {message}", kind, stacklevel=_CALLER)
