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
from stateless_rag.providers.http import server_of
from stateless_rag.server.engine_settings import ENGINE_NAMES, engine_settings
from stateless_rag.server.provider_settings import is_provider_name, reached
from stateless_rag.server.reranking import RERANK_NAMES, Reranking, reranking_of
from stateless_rag.server.settings import Account, ApiKey, Quota, ServerSettings
from stateless_rag.server.values import flag_of, number_of, said
from stateless_rag.settings import Configuration, Settings

__all__ = ["ServerConfiguration", "changed_settings", "masked", "read_configuration"]

_OURS = "STATELESS_RAG_SERVER_"
_TLS = ("SSL", "SSL_CERTFILE", "SSL_KEYFILE")
_NO_VALUE = frozenset({"", "none", "null"})
_SECRET = ("key", "password", "secret")
_RUN = frozenset({"HOST", "PORT", "LOG_LEVEL", *_TLS})
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfiguration:
    """All that a server is run with. `ignored` are names of the `.env` file that mean nothing here.

    `llm` says how the LLM is reached, `roles` how others are for some of its work, `embedding` how the embedder is,
    `reranking` how a reranker, if there is one. `tls` are the files of a certificate and its key, for HTTPS.
    """

    server: ServerSettings
    engine: Settings
    llm: Configuration
    embedding: Configuration
    roles: Mapping[str, Configuration] = field(default_factory=lambda: MappingProxyType({}))
    reranking: Reranking | None = None
    tls: tuple[str, str] | None = None
    log_level: str = "INFO"
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
        place["port"] = number_of("PORT", names["PORT"], int)
    if names.get("HOST", "").strip() and "host" not in changes:
        place["host"] = names["HOST"].strip()
    if not isinstance(place.get("port", 0), int) or not 0 <= place.get("port", 0) < 65_536:
        raise InvalidInput(f"port is {place['port']!r}; it must be a number below 65536")
    found = reached(names)
    return ServerConfiguration(
        server=ServerSettings(**given),
        engine=engine_settings(names),
        llm=found.llm,
        embedding=found.embedding,
        roles=found.roles,
        reranking=reranking_of(names),
        tls=_tls(names),
        log_level=said(names, "LOG_LEVEL").upper() or "INFO",
        ignored=tuple(sorted(name for name in dotenv if not _is_known(name))),
        **place,
    )


def _tls(names: Mapping[str, str]) -> tuple[str, str] | None:
    certificate, key = said(names, "SSL_CERTFILE"), said(names, "SSL_KEYFILE")
    wanted = said(names, "SSL")
    if not wanted or not flag_of("SSL", wanted):
        return None
    if not (certificate and key):
        raise InvalidInput(
            "SSL is set, so SSL_CERTFILE and SSL_KEYFILE must name the files of the certificate"
        )
    return certificate, key


def masked(value: Any, name: str = "") -> Any:
    """A setting as it may be shown: secrets as stars."""
    if any(part in name for part in _SECRET) and isinstance(value, str):
        return "***"
    if name == "base_url" and isinstance(value, str):
        return server_of(value)
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
        most = number_of("MAX_REQUEST_BODY_BYTES", size, int)
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
        return flag_of(name, value)
    if isinstance(default, int) or field_ == "max_memory":
        return number_of(name, value, int)
    if isinstance(default, float) or field_ == "max_idle":
        return number_of(name, value, float)
    if isinstance(default, tuple):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value or (None if default is None else value)


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


def _is_known(name: str) -> bool:
    if name.startswith(_OURS):
        return name.removeprefix(_OURS).lower() in {each.name for each in fields(ServerSettings)}
    groups = (_THEIRS, _SPECIAL, RERANK_NAMES, ENGINE_NAMES, _RUN)
    return is_provider_name(name) or any(name in group for group in groups)
