"""What a workspace is made with and keeps, and what an engine makes of it.

Opened with another embedder, tokenizer or key policy, its vectors and keys would not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stateless_rag.errors import WorkspaceMismatch
from stateless_rag.providers import as_llm
from stateless_rag.stages.extract import LLMExtractor
from stateless_rag.workspace_settings import FIXED, layered, record_of, recorded_settings

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import LLM

__all__ = ["Fit", "made_with", "require_match"]

_ANEW = "ingest the documents into a new workspace"
_REEMBED = "embed it anew: `stateless-rag reembed {name} --embedder …`, or `Engine.reembed`"
_REMEDIES = MappingProxyType({"embedder": _REEMBED, "dimension": _REEMBED})


def made_with(context: Context) -> dict[str, Any]:
    """What is recorded with a workspace that is created in this context."""
    made = _identity(context)
    if chosen := record_of(context.settings, context.prompts):
        made["settings"] = chosen
    return made


def _identity(context: Context) -> dict[str, Any]:
    merging = context.settings.merging
    return {
        "embedder": context.embedder.model,
        "tokenizer": context.tokenizer.name,
        **{name: getattr(merging, name) for name in FIXED},
    }


def require_match(name: str, info: Mapping[str, Any], context: Context) -> None:
    """Raise WorkspaceMismatch if the record of a workspace differs from the context."""
    for what, value in {**_identity(context), "dimension": context.embedder.dimension}.items():
        recorded = info.get(what)
        if None not in (recorded, value) and recorded != value:
            raise WorkspaceMismatch(
                f"workspace {name!r} was made with {what} {recorded!r}, not {value!r}; open it with that one, "
                f"or {_REMEDIES.get(what, _ANEW).format(name=name)}"
            )


class Fit:
    """What an engine was opened with; called with the record of its workspace, it gives the context for that.

    Where the engine's context says nothing of its own, what is recorded holds. `models` makes the LLM of a name;
    `embedder` is the one to go on with.
    """

    def __init__(
        self, context: Context, models: Callable[[str], LLM | Callable[..., Any]] | None, *, extracts: bool
    ) -> None:
        """`extracts` tells that the context's extractor was given."""
        self.context = context
        self.embedder = context.embedder
        self._models = models
        self._extracts = extracts
        self._made: dict[str, LLM] = {}

    def __call__(self, info: Mapping[str, Any]) -> Context:
        """Raises InvalidInput if what the engine was opened with does not go with what is recorded, and
        WorkspaceMismatch as `require_match`.
        """
        kept, given = recorded_settings(info), self.context.settings
        llms = self._llms(kept.models)
        made = self.context.derive(
            embedder=self.embedder,
            settings=replace(
                given,
                chunking=layered(kept.chunking, given.chunking),
                extraction=layered(kept.extraction, given.extraction),
                merging=layered(kept.merging, given.merging),
            ),
            prompts=layered(kept.prompts, self.context.prompts),
            roles=MappingProxyType({**llms, **self.context.roles}),
        )
        if "extract" in llms and not self._extracts:
            made = made.derive(extractor=LLMExtractor())
        require_match(made.workspace, info, made)
        return made

    def _llms(self, named: Mapping[str, str]) -> dict[str, LLM]:
        """The LLMs of named models, by role; each is made once."""
        if self._models is None:
            return {}
        wanted = {role: name for role, name in named.items() if role not in self.context.roles}
        for name in wanted.values():
            if name not in self._made:
                self._made[name] = as_llm(self._models(name))
        return {role: self._made[name] for role, name in wanted.items()}
