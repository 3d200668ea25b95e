"""How LLMs and the embedder are reached, by our names and by those that LightRAG's server has for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from stateless_rag.errors import InvalidInput
from stateless_rag.server.values import said
from stateless_rag.settings import Configuration, from_env

__all__ = ["Reached", "is_provider_name", "reached"]

_OPENAI = frozenset({"openai", "openai-ollama", "lollms"})
_OURS = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "STATELESS_RAG_LLM_MODEL",
    "STATELESS_RAG_EMBED_MODEL",
    "STATELESS_RAG_LLM_CALLS",
    "STATELESS_RAG_ROOT",
    "STATELESS_RAG_WORKSPACE",
)
# What LightRAG has an LLM of its own for, and the work that it is here.
_ROLES = MappingProxyType(
    {"EXTRACT": ("extract", "summarize"), "KEYWORD": ("keywords",), "QUERY": ("answer",)}
)
_PARTS = ("BINDING", "MODEL", "BINDING_HOST", "BINDING_API_KEY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How the LLM and the embedder are reached, and by role the LLMs for work that is not the first one's."""

    llm: Configuration
    embedding: Configuration
    roles: Mapping[str, Configuration]


def is_provider_name(name: str) -> bool:
    """Whether a variable says something of providers."""
    kinds = ("LLM", "EMBEDDING", *(f"{role}_LLM" for role in _ROLES))
    return name in _OURS or any(name == f"{kind}_{part}" for kind in kinds for part in _PARTS)


def reached(names: Mapping[str, str]) -> Reached:
    """What variables say of providers. Raises InvalidInput for a binding that there is not."""
    base = {name: names[name] for name in _OURS if said(names, name)}
    llm = _one(names, "LLM", "STATELESS_RAG_LLM_MODEL", base, base)
    embedding = _one(names, "EMBEDDING", "STATELESS_RAG_EMBED_MODEL", base, base)
    roles: dict[str, Configuration] = {}
    for theirs, ours in _ROLES.items():
        if any(said(names, f"{theirs}_LLM_{part}") for part in _PARTS):
            made = from_env(_one(names, f"{theirs}_LLM", "STATELESS_RAG_LLM_MODEL", llm, {}))
            roles |= dict.fromkeys(ours, made)
    return Reached(llm=from_env(llm), embedding=from_env(embedding), roles=MappingProxyType(roles))


def _one(
    names: Mapping[str, str], kind: str, model: str, base: Mapping[str, str], fixed: Mapping[str, str]
) -> dict[str, str]:
    """The variables of one provider: those of `base`, and what their names for it say besides `fixed`."""
    binding = said(names, f"{kind}_BINDING")
    if binding and binding not in _OPENAI | {"ollama"}:
        raise InvalidInput(
            f"{kind}_BINDING is {binding[:40]!r}; here it can be openai or ollama, or a server like one"
        )
    own = dict(base)
    if kind not in ("LLM", "EMBEDDING") and said(names, f"{kind}_BINDING_HOST"):
        own.pop("OPENAI_API_KEY", None)  # it is for another server
    pairs = (
        ("OPENAI_API_KEY", f"{kind}_BINDING_API_KEY"),
        ("OPENAI_BASE_URL", f"{kind}_BINDING_HOST"),
        (model, f"{kind}_MODEL"),
    )
    for ours, theirs in pairs:
        value = said(names, theirs)
        if value and ours not in fixed:
            own[ours] = _address(value, binding) if ours == "OPENAI_BASE_URL" else value
    if binding == "ollama" and "OPENAI_BASE_URL" in own:
        own.setdefault("OPENAI_API_KEY", "ollama")
    return own


def _address(value: str, binding: str) -> str:
    """Ollama speaks like OpenAI below /v1."""
    trimmed = value.rstrip("/")
    return f"{trimmed}/v1" if binding == "ollama" and not trimmed.endswith("/v1") else trimmed
