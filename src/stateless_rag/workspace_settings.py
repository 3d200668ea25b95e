"""What is kept with a workspace of how to work on it: settings, prompts, models by role.

Kept is what was chosen; the rest is the library's default. In the record of a workspace it is JSON,

    {"extraction": {"language": "German"}, "prompts": {"summarize": "…"}, "models": {"answer": "gpt-5"}}

and beside it stands what every key and fold depends on, which stays as it is once there is something to fold:

    "key_policy": "exact", "description_texts": 24, "relation_keywords": 64
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, TypeVar

from stateless_rag.checks import choice, each_field, identifier, instance, shown
from stateless_rag.errors import InvalidInput
from stateless_rag.prompts import Prompts
from stateless_rag.settings import ChunkSettings, ExtractSettings, MergeSettings, Settings

__all__ = [
    "FIXED",
    "ROLES",
    "WorkspaceSettings",
    "changed_record",
    "chosen_values",
    "layered",
    "record_of",
    "recorded_settings",
]

ROLES = ("extract", "summarize", "keywords", "answer")
"""The kinds of work that an LLM does."""
FIXED = ("key_policy", "description_texts", "relation_keywords")
"""The fields of MergeSettings that hold for good once a workspace has something to fold."""

Group = TypeVar("Group", ChunkSettings, ExtractSettings, MergeSettings, Prompts)
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceSettings:
    """How a workspace is worked on by all engines that do not say otherwise.

    `models` names the models that do some of the work, by role: extract, summarize, keywords, answer. A chunk
    function is no value that could be kept: an engine is given it when it opens.
    """

    chunking: ChunkSettings = field(default_factory=ChunkSettings)
    extraction: ExtractSettings = field(default_factory=ExtractSettings)
    merging: MergeSettings = field(default_factory=MergeSettings)
    prompts: Prompts = field(default_factory=Prompts)
    models: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for name, kind in _groups().items():
            each_field(self, instance, name, kind=kind)
        each_field(self, _models, "models")
        if self.chunking.function is not None:
            raise InvalidInput(
                f"chunking.function is {shown(self.chunking.function)}; a function cannot be kept with a "
                "workspace: give it to Engine.open in settings"
            )


def _groups() -> dict[str, type[Any]]:
    return {
        "chunking": ChunkSettings,
        "extraction": ExtractSettings,
        "merging": MergeSettings,
        "prompts": Prompts,
    }


def _models(name: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{name} is {shown(value)}; it must be a mapping of roles to names of models")
    return MappingProxyType(
        {
            choice(f"a role in {name}", role, among=ROLES): identifier(f"{name}.{role}", model)
            for role, model in value.items()
        }
    )


# ---- what is recorded ----------------------------------------------------------------------------------


def recorded_settings(info: Record) -> WorkspaceSettings:
    """What the record of a workspace says. What a newer version of the library knows in addition is left out."""
    kept: Record = info.get("settings", {})
    groups = {name: kind(**_known(kept.get(name, {}), kind)) for name, kind in _groups().items()}
    groups["merging"] = replace(groups["merging"], **{name: info[name] for name in FIXED if name in info})
    models = {role: model for role, model in kept.get("models", {}).items() if role in ROLES}
    return WorkspaceSettings(**groups, models=models)


def record_of(settings: Settings, prompts: Prompts) -> dict[str, Any]:
    """What is recorded with a workspace that is made with these: all that is not the default, but functions."""
    chosen = {
        "chunking": chosen_values(settings.chunking),
        "extraction": chosen_values(settings.extraction),
        "merging": chosen_values(settings.merging),
        "prompts": chosen_values(prompts),
    }
    chosen["chunking"].pop("function", None)
    for name in FIXED:
        chosen["merging"].pop(name, None)
    kept: dict[str, Any] = _json({name: values for name, values in chosen.items() if values})
    return kept


def chosen_values(group: Group) -> dict[str, Any]:
    """The fields of a group that differ from the default."""
    default = type(group)()
    return {
        each.name: value
        for each in fields(group)
        if (value := getattr(group, each.name)) != getattr(default, each.name)
    }


def layered(kept: Group, given: Group) -> Group:
    """What is kept, but for what is given otherwise than by default. Raises InvalidInput if it does not fit."""
    return replace(kept, **chosen_values(given))


def _known(values: Record, kind: type[Any]) -> dict[str, Any]:
    return {each.name: values[each.name] for each in fields(kind) if each.name in values}


def _json(value: Any) -> Any:
    """A deep copy, as JSON keeps it."""
    return json.loads(json.dumps(value, ensure_ascii=False, allow_nan=False))


# ---- changes -------------------------------------------------------------------------------------------


def changed_record(info: Record, changes: Record, *, fixed: bool) -> dict[str, Any]:
    """The record of a workspace after a change of its settings; `info` stays as it is.

    `changes` names groups of WorkspaceSettings. The value of one is a mapping of the fields that change (None
    stands for the default), the group as a whole, or None for its defaults. Raises InvalidInput for what is no
    such change, for values that cannot be, and, where the workspace is `fixed`, for changes of FIXED fields.
    """
    kinds: dict[str, type[Any]] = {**_groups(), "models": Mapping}
    if unknown := sorted(map(str, changes.keys() - kinds.keys())):
        raise InvalidInput(f"unknown settings {unknown}; there are {', '.join(sorted(kinds))}")
    kept = _json(info.get("settings", {}))
    made_with = {name: info[name] for name in FIXED if name in info}
    kept["merging"] = kept.get("merging", {}) | made_with
    for name, change in changes.items():
        kept[name] = _changed_group(name, kinds[name], kept.get(name, {}), change)
    if fixed:  # going back to the defaults does not mean these
        kept["merging"] = made_with | kept["merging"]
    before, after = recorded_settings(info), _checked(kept)
    merging = {name: getattr(after.merging, name) for name in FIXED}
    for name, value in merging.items():
        if fixed and value != getattr(before.merging, name):
            raise InvalidInput(
                f"merging.{name} is {shown(value)}, but what the workspace holds was made with "
                f"{getattr(before.merging, name)!r}, and this cannot change; use a new workspace"
            )
        kept["merging"].pop(name, None)
    return {**info, **merging, "settings": _json({name: values for name, values in kept.items() if values})}


def _changed_group(name: str, kind: type[Any], kept: dict[str, Any], change: Any) -> dict[str, Any]:
    if change is None:
        return {}
    if kind is not Mapping and isinstance(change, kind):
        values = chosen_values(change)
        if values.get("function") is not None:
            WorkspaceSettings(chunking=change)  # says why not
        return values
    if not isinstance(change, Mapping):
        raise InvalidInput(
            f"{name} is {shown(change)}; it must be a mapping of what changes in it, or None for the default"
        )
    known = ROLES if kind is Mapping else tuple(each.name for each in fields(kind))
    if unknown := sorted(map(str, change.keys() - set(known))):
        raise InvalidInput(f"{name} has no {unknown}; there are {', '.join(sorted(known))}")
    values = {**kept, **change}
    return {each: value for each, value in values.items() if value is not None}


def _checked(kept: dict[str, Any]) -> WorkspaceSettings:
    """What is kept as settings, with every value checked; `kept` gets the values as they were checked."""
    made: dict[str, Any] = {"models": kept.get("models", {})}
    for name, kind in _groups().items():
        values = kept.get(name, {})
        try:
            group = made[name] = kind(**_known(values, kind))
        except InvalidInput as error:
            raise InvalidInput(f"{name}.{error}") from error
        kept[name] = values | {each: getattr(group, each) for each in _known(values, kind)}
    settings = WorkspaceSettings(**made)
    kept["models"] = dict(settings.models)
    return settings
