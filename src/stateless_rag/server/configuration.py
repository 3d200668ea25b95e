"""What a server is run with, read from the environment, a `.env` file and a config file.

Our names are STATELESS_RAG_SERVER_ and the name of a field of ServerSettings, in capitals; STATELESS_RAG_SERVER_KEYS
and …_ACCOUNTS are JSON. Names that LightRAG's server knows are read too, where there is something for them here; ours
win. A config file is TOML: the fields by name, `[quota]`, `[[keys]]` and `[[accounts]]`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any

from stateless_rag.errors import InvalidInput
from stateless_rag.server.reranking import RERANK_NAMES, Reranking, reranking_of
from stateless_rag.server.settings import Account, ApiKey, Quota, ServerSettings
from stateless_rag.settings import (
    ChunkSettings,
    Configuration,
    ExtractSettings,
    QueryOptions,
    Settings,
    from_env,
)

__all__ = ["ServerConfiguration", "changed_settings", "masked", "read_configuration"]

_OURS = "STATELESS_RAG_SERVER_"
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})
_NO_VALUE = frozenset({"", "none", "null"})
_SECRET = ("key", "password", "secret")
_RUN = frozenset({"HOST", "PORT"})
_OPENAI = frozenset({"openai", "openai-ollama", "lollms"})
_CLI = frozenset(
    {
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "STATELESS_RAG_LLM_MODEL",
        "STATELESS_RAG_EMBED_MODEL",
        "STATELESS_RAG_LLM_CALLS",
        "STATELESS_RAG_ROOT",
        "STATELESS_RAG_WORKSPACE",
    }
)
# What LightRAG's server calls the fields of ServerSettings.
_THEIRS = MappingProxyType(
    {
        "WORKING_DIR": "root",
        "INPUT_DIR": "input_dir",
        "WORKSPACE": "default_workspace",
        "WHITELIST_PATHS": "open_paths",
        "TOKEN_SECRET": "token_secret",
        "JWT_ALGORITHM": "token_algorithm",
        "TOKEN_EXPIRE_HOURS": "token_hours",
        "GUEST_TOKEN_EXPIRE_HOURS": "guest_token_hours",
        "TOKEN_AUTO_RENEW": "token_renew",
        "TOKEN_RENEW_THRESHOLD": "token_renew_threshold",
        "LOGIN_MAX_FAILED_ATTEMPTS": "login_attempts",
        "LOGIN_LOCKOUT_WINDOW_SECONDS": "login_window",
        "CORS_ORIGINS": "cors_origins",
        "LIGHTRAG_API_PREFIX": "api_prefix",
        "ENABLE_API_DOCS": "docs",
        "WEBUI_TITLE": "title",
        "WEBUI_DESCRIPTION": "description",
        "MAX_UPLOAD_SIZE": "max_upload",
        "MAX_TEXTS_PER_REQUEST": "max_texts",
        "MAX_PENDING_DOCUMENTS": "max_pending",
        "MAX_GRAPH_NODES": "max_graph_nodes",
        "MAX_ASYNC": "llm_calls",
        "MAX_ASYNC_LLM": "llm_calls",
        "EMBEDDING_FUNC_MAX_ASYNC": "embedder_calls",
        "MAX_ASYNC_RERANK": "reranker_calls",
        "USER_PROMPT_PREFIX": "user_prompt_prefix",
    }
)
_SPECIAL = frozenset(
    {
        "AUTH_ACCOUNTS",
        "LIGHTRAG_API_KEY",
        "MAX_REQUEST_BODY_BYTES",
        "OLLAMA_EMULATING_MODEL_NAME",
        "OLLAMA_EMULATING_MODEL_TAG",
    }
)
_PROVIDERS = frozenset(
    {
        "LLM_BINDING",
        "LLM_MODEL",
        "LLM_BINDING_HOST",
        "LLM_BINDING_API_KEY",
        "EMBEDDING_BINDING",
        "EMBEDDING_MODEL",
        "EMBEDDING_BINDING_HOST",
        "EMBEDDING_BINDING_API_KEY",
    }
)
_QUERY = MappingProxyType(
    {
        "TOP_K": "top_k",
        "CHUNK_TOP_K": "chunk_top_k",
        "MAX_ENTITY_TOKENS": "max_entity_tokens",
        "MAX_RELATION_TOKENS": "max_relation_tokens",
        "MAX_TOTAL_TOKENS": "max_total_tokens",
        "RELATED_CHUNK_NUMBER": "related_chunks",
        "COSINE_THRESHOLD": "min_similarity",
    }
)
_RERANKED = frozenset({"RERANK_BY_DEFAULT", "MIN_RERANK_SCORE"})
_CHUNKS = MappingProxyType({"CHUNK_SIZE": "max_tokens", "CHUNK_OVERLAP_SIZE": "overlap_tokens"})
_EXTRACTION = frozenset({"SUMMARY_LANGUAGE", "MAX_GLEANING"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfiguration:
    """All that a server is run with. `ignored` are names of the `.env` file that mean nothing here.

    `llm` says how the LLM is reached, `embedding` how the embedder is, `reranking` how a reranker, if there is one.
    """

    server: ServerSettings
    engine: Settings
    llm: Configuration
    embedding: Configuration
    reranking: Reranking | None = None
    host: str = "127.0.0.1"
    port: int = 9621
    ignored: tuple[str, ...] = field(default=())


def read_configuration(
    environ: Mapping[str, str],
    *,
    dotenv: Mapping[str, str] = MappingProxyType({}),
    config: str = "",
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> ServerConfiguration:
    """The configuration: `changes` (fields of ServerSettings, host and port) win over the environment, that over the
    `.env` file, that over the config file.

    Raises InvalidInput for a value that cannot be used, and for names in the config file that there are not.
    """
    names = {**dotenv, **environ}
    given: dict[str, Any] = {**_config(config), **_server(names), **changes}
    place: dict[str, Any] = {name: given.pop(name) for name in ("host", "port") if name in given}
    if "PORT" in names and "port" not in changes:
        place["port"] = _parsed("PORT", names["PORT"], int)
    if names.get("HOST", "").strip() and "host" not in changes:
        place["host"] = names["HOST"].strip()
    if not isinstance(place.get("port", 0), int) or not 0 <= place.get("port", 0) < 65_536:
        raise InvalidInput(f"port is {place['port']!r}; it must be a number below 65536")
    llm, embedding = _providers(names)
    server = ServerSettings(**given)
    return ServerConfiguration(
        server=server,
        engine=_engine(names),
        llm=llm,
        embedding=embedding,
        reranking=reranking_of(names),
        ignored=tuple(sorted(name for name in dotenv if not _is_known(name))),
        **place,
    )


def masked(value: Any, name: str = "") -> Any:
    """A setting as it may be shown: secrets as stars."""
    if any(part in name for part in _SECRET) and isinstance(value, str):
        return "***"
    if isinstance(value, tuple | list):
        return [masked(item, name if not hasattr(item, "__dataclass_fields__") else "") for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {each.name: masked(getattr(value, each.name), each.name) for each in fields(value)}
    return value


def changed_settings(settings: Settings) -> dict[str, Any]:
    """The groups of an engine's settings that are not as by default, with the fields that are not."""
    usual, changed = Settings(), {}
    for group in fields(Settings):
        was, now = getattr(usual, group.name), getattr(settings, group.name)
        if now != was:
            names = (each.name for each in fields(now))
            changed[group.name] = {n: getattr(now, n) for n in names if getattr(now, n) != getattr(was, n)}
    return changed


# ---- the server ----------------------------------------------------------------------------------------


def _server(names: Mapping[str, str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if "STATELESS_RAG_ROOT" in names:
        given["root"] = names["STATELESS_RAG_ROOT"]
    if "STATELESS_RAG_WORKSPACE" in names:
        given["default_workspace"] = names["STATELESS_RAG_WORKSPACE"]
    for theirs, ours in _THEIRS.items():
        value = names.get(theirs, "").strip()
        if value or (ours in ("open_paths", "cors_origins", "max_upload") and theirs in names):
            given[ours] = _value(theirs, ours, value)
    if given.get("api_prefix"):
        given["api_prefix"] = "/" + given["api_prefix"].strip("/")
        if given["api_prefix"] == "/":
            given["api_prefix"] = ""
    _special(names, given)
    for each in fields(ServerSettings):
        name = _OURS + each.name.upper()
        if name in names and each.name not in ("keys", "accounts", "quota"):
            given[each.name] = _value(name, each.name, names[name].strip())
    for part, kind in (("keys", ApiKey), ("accounts", Account)):
        if names.get(name := _OURS + part.upper(), "").strip():
            given[part] = _listed(name, _json(name, names[name]), kind)
    if names.get(name := f"{_OURS}QUOTA", "").strip():
        given["quota"] = _made(name, _json(name, names[name]), Quota)
    return given


def _special(names: Mapping[str, str], given: dict[str, Any]) -> None:
    """Names of LightRAG's whose values are not those of one field."""
    if key := names.get("LIGHTRAG_API_KEY", "").strip():
        given["keys"] = (ApiKey(key=key, name="LIGHTRAG_API_KEY"),)
    if accounts := names.get("AUTH_ACCOUNTS", "").strip():
        given["accounts"] = tuple(_account(each) for each in accounts.split(","))
    if size := names.get("MAX_REQUEST_BODY_BYTES", "").strip():
        most = _parsed("MAX_REQUEST_BODY_BYTES", size, int)
        given |= {"max_body": most, "max_text_body": most}
        if not most:
            given |= {"max_graph_body": 0, "max_upload": 0}
    model = names.get("OLLAMA_EMULATING_MODEL_NAME", "").strip()
    tag = names.get("OLLAMA_EMULATING_MODEL_TAG", "").strip()
    if model or tag:
        given["ollama_model"] = f"{model or 'lightrag'}:{tag or 'latest'}"


def _account(said: str) -> Account:
    name, colon, password = said.strip().partition(":")
    if not (name and colon and password):
        raise InvalidInput("AUTH_ACCOUNTS has an entry that is not name:password")
    return Account(name=name, password=password)


def _value(name: str, field_: str, value: str) -> Any:
    """A value as the field has it, by the field's default."""
    default = next(each.default for each in fields(ServerSettings) if each.name == field_)
    if field_ in ("max_memory", "max_idle", "max_upload") and value.lower() in _NO_VALUE:
        return 0 if field_ == "max_upload" else None
    if isinstance(default, bool):
        return _flag(name, value)
    if isinstance(default, int) or field_ == "max_memory":
        return _parsed(name, value, int)
    if isinstance(default, float) or field_ == "max_idle":
        return _parsed(name, value, float)
    if isinstance(default, tuple):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value or (None if default is None else value)


def _flag(name: str, value: str) -> bool:
    if value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise InvalidInput(f"{name} must be true or false, not {value[:40]!r}")


def _parsed(name: str, value: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(value.strip())
    except ValueError:
        raise InvalidInput(f"{name} must be a number, not {value[:40]!r}") from None


def _json(name: str, value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{name} is not JSON") from None  # which may hold secrets


def _listed(name: str, value: Any, kind: Callable[..., Any]) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise InvalidInput(f"{name} must be a list")
    return tuple(_made(name, each, kind) for each in value)


def _made(name: str, value: Any, kind: Callable[..., Any]) -> Any:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{name} must be made of objects")
    known = fields(kind)  # type: ignore[arg-type]  # a dataclass
    unknown = sorted(set(value) - {each.name for each in known})
    missing = [each.name for each in known if each.default is MISSING and each.name not in value]
    if unknown or missing:
        told = f"unknown: {', '.join(unknown)}" if unknown else f"missing: {', '.join(missing)}"
        raise InvalidInput(f"{name} cannot be used; {told}")
    return kind(**value)


def _config(text: str) -> dict[str, Any]:
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"the config file is not TOML: {error}") from None
    known = {each.name for each in fields(ServerSettings)} | {"host", "port"}
    if unknown := sorted(set(given) - known):
        raise InvalidInput(
            f"the config file has {', '.join(unknown)}, which means nothing; there are {sorted(known)}"
        )
    for part, kind in (("keys", ApiKey), ("accounts", Account)):
        if part in given:
            given[part] = _listed(part, given[part], kind)
    if "quota" in given:
        given["quota"] = _made("quota", given["quota"], Quota)
    return given


# ---- engines -------------------------------------------------------------------------------------------


def _engine(names: Mapping[str, str]) -> Settings:
    query: dict[str, Any] = {}
    for theirs, ours in _QUERY.items():
        if value := names.get(theirs, "").strip():
            query[ours] = _parsed(theirs, value, float if ours == "min_similarity" else int)
    chunks: dict[str, Any] = {
        ours: _parsed(theirs, value, int)
        for theirs, ours in _CHUNKS.items()
        if (value := names.get(theirs, "").strip())
    }
    if value := names.get("RERANK_BY_DEFAULT", "").strip():
        query["rerank"] = _flag("RERANK_BY_DEFAULT", value)
    if value := names.get("MIN_RERANK_SCORE", "").strip():
        query["min_rerank_score"] = _parsed("MIN_RERANK_SCORE", value, float) or None  # 0 drops nothing
    extraction: dict[str, Any] = {}
    if value := names.get("SUMMARY_LANGUAGE", "").strip():
        extraction["language"] = value
    if value := names.get("MAX_GLEANING", "").strip():
        extraction["gleaning"] = _parsed("MAX_GLEANING", value, int)
    return Settings(
        query=QueryOptions(**query),
        chunking=ChunkSettings(**chunks),
        extraction=ExtractSettings(**extraction),
    )


def _providers(names: Mapping[str, str]) -> tuple[Configuration, Configuration]:
    """How the LLM and the embedder are reached: by our names, else by LightRAG's."""
    base = dict(_from_env_values(names))
    made = []
    for kind, model in (("LLM", "STATELESS_RAG_LLM_MODEL"), ("EMBEDDING", "STATELESS_RAG_EMBED_MODEL")):
        binding = names.get(f"{kind}_BINDING", "").strip()
        if binding and binding not in _OPENAI | {"ollama"}:
            raise InvalidInput(
                f"{kind}_BINDING is {binding!r}; here it can be openai or ollama, or a server like one"
            )
        own = dict(base)
        pairs = (
            ("OPENAI_API_KEY", f"{kind}_BINDING_API_KEY"),
            ("OPENAI_BASE_URL", f"{kind}_BINDING_HOST"),
            (model, f"{kind}_MODEL"),
        )
        for ours, theirs in pairs:
            value = names.get(theirs, "").strip()
            if value and ours not in base:
                own[ours] = _address(value, binding) if ours == "OPENAI_BASE_URL" else value
        if binding == "ollama" and "OPENAI_BASE_URL" in own:
            own.setdefault("OPENAI_API_KEY", "ollama")
        made.append(from_env(own))
    return made[0], made[1]


def _from_env_values(names: Mapping[str, str]) -> Mapping[str, str]:
    """What the command line reads, where it is set."""
    return {name: names[name] for name in _CLI if names.get(name, "").strip()}


def _address(value: str, binding: str) -> str:
    """Ollama speaks like OpenAI below /v1."""
    trimmed = value.rstrip("/")
    return f"{trimmed}/v1" if binding == "ollama" and not trimmed.endswith("/v1") else trimmed


def _is_known(name: str) -> bool:
    if name.startswith(_OURS):
        return name.removeprefix(_OURS).lower() in {each.name for each in fields(ServerSettings)}
    groups = (
        *(_THEIRS, _SPECIAL, _PROVIDERS, RERANK_NAMES, _QUERY, _RERANKED, _CHUNKS, _EXTRACTION, _CLI, _RUN),
    )
    return any(name in group for group in groups)
