"""The graph: changing it by hand. Changes hold whatever is ingested or deleted later, and can be undone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import flag, instance, shown, texts, weight
from stateless_rag.curating import checked_entity
from stateless_rag.errors import InvalidInput
from stateless_rag.interop.lightrag.graph import Graph
from stateless_rag.interop.lightrag.results import DeletionResult

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.protocols import Basis

__all__ = ["Editing"]

_ENTITY = ("entity_name", "entity_type", "description", "source_id", "file_path")
_RELATION = ("description", "keywords", "source_id", "file_path", "weight")
_UNTOLD = ("source_id", "file_path")


class Editing(Graph):
    """Changes by hand. What cannot be changed is an InvalidInput, which is a ValueError."""

    async def acreate_entity(self, entity_name: str, entity_data: Mapping[str, Any]) -> dict[str, Any]:
        """Make an entity. `entity_data` must have a description, and may have an entity_type."""
        data = _data("entity_data", entity_data, _ENTITY, strict=False)
        if not data.get("description"):
            raise InvalidInput("entity_data has no description; an entity made by hand needs one")
        engine = await self.engine()
        # Without a type it is unknown until documents tell it.
        await engine.create_entity(
            entity_name, type=data.get("entity_type") or None, description=data["description"]
        )
        return await self.get_entity_info(entity_name)

    async def aedit_entity(
        self,
        entity_name: str,
        updated_data: Mapping[str, Any],
        allow_rename: bool = True,
        allow_merge: bool = False,
    ) -> dict[str, Any]:
        """Give an entity another type, description or name (`entity_name`); with `allow_merge` that of another one.

        `operation_summary` of the result tells what was done.
        """
        data = _data("updated_data", updated_data, _ENTITY, strict=True)
        engine = await self.engine()
        found = await engine.entity(entity_name)
        if found is None:
            raise InvalidInput(f"entity_name is {shown(entity_name)}, which there is not; create the entity")
        values = _entity_values(data)
        # All is checked before the first of what may be two changes.
        new = checked_entity(
            engine.context, "updated_data['entity_name']", data.get("entity_name") or found.name, **values
        )
        renamed = new != found.name
        other = await engine.entity(new) if renamed else None
        merged = other is not None and other.key != found.key
        if renamed and not flag("allow_rename", allow_rename):
            raise InvalidInput("updated_data has another entity_name, and allow_rename is False")
        if merged and not flag("allow_merge", allow_merge):
            raise InvalidInput(
                f"there is an entity {shown(new)} already; merge the two, with allow_merge=True"
            )
        if merged:
            values = await _described(engine, [entity_name, new], values)
            await engine.merge_entities([entity_name], new, **values)
        else:
            if values:
                await engine.edit_entity(entity_name, **values)
            if renamed:
                await engine.rename_entity(entity_name, new)
        info = await self.get_entity_info(new if renamed else entity_name)
        return {**info, "operation_summary": _summary(entity_name, info["entity_name"], renamed, merged)}

    async def acreate_relation(
        self, source_entity: str, target_entity: str, relation_data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Relate two entities by hand."""
        data = _data("relation_data", relation_data, _RELATION, strict=False)
        engine = await self.engine()
        await engine.create_relation(source_entity, target_entity, **{"weight": 1, **_relation_values(data)})
        return await self.get_relation_info(source_entity, target_entity)

    async def aedit_relation(
        self, source_entity: str, target_entity: str, updated_data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Give a relation other keywords, another description or another weight."""
        data = _data("updated_data", updated_data, _RELATION, strict=True)
        engine = await self.engine()
        await engine.edit_relation(source_entity, target_entity, **_relation_values(data))
        return await self.get_relation_info(source_entity, target_entity)

    async def amerge_entities(
        self,
        source_entities: Sequence[str],
        target_entity: str,
        merge_strategy: Mapping[str, str] | None = None,
        target_entity_data: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Make several entities one, as if they had been called that all along; `target_entity_data` wins.

        Where one of them was described by hand, the one that they become is described by all of their descriptions.
        """
        if merge_strategy is not None:
            warnings.warn(
                "merge_strategy has no effect: what documents say is merged", DeprecationWarning, stacklevel=2
            )
        data = _data("target_entity_data", target_entity_data or {}, _ENTITY, strict=True)
        engine, values = await self.engine(), _entity_values(data)
        sources = texts("source_entities", source_entities)
        name = await _free_name(engine, data.get("entity_name") or None, [*sources, target_entity], values)
        values = await _described(engine, [*sources, target_entity], values)
        merged = (await engine.merge_entities(sources, target_entity, **values)).entity
        if name is not None and merged is not None and merged.name != name:
            await engine.rename_entity(merged.name, name)
        return await self.get_entity_info(target_entity)

    async def adelete_by_entity(self, entity_name: str) -> DeletionResult:
        """Delete an entity with its relations, whatever documents say of it."""
        engine = await self.engine()
        if await engine.entity(entity_name) is None:
            return DeletionResult("not_found", entity_name, f"there is no entity {shown(entity_name)}", 404)
        await engine.delete_entity(entity_name)
        return DeletionResult("success", entity_name, f"entity {shown(entity_name)} was deleted")

    async def adelete_by_relation(self, source_entity: str, target_entity: str) -> DeletionResult:
        """Delete a relation, whatever documents say of it; its entities stay."""
        engine = await self.engine()
        named = f"{source_entity} -> {target_entity}"
        if await engine.relation(source_entity, target_entity) is None:
            return DeletionResult("not_found", named, f"there is no relation {named}", 404)
        await engine.delete_relation(source_entity, target_entity)
        return DeletionResult("success", named, f"relation {named} was deleted")


async def _free_name(
    engine: Engine, name: str | None, merged: Sequence[str], values: Mapping[str, Any]
) -> str | None:
    """The name for what is merged, checked before anything is changed: no other entity may have it."""
    argument = "target_entity_data['entity_name']"
    new = checked_entity(engine.context, argument, merged[-1] if name is None else name, **values)
    if name is None:
        return None
    other = await engine.entity(new)
    known = [found.key for each in merged if (found := await engine.entity(each)) is not None]
    if other is not None and other.key not in known:
        raise InvalidInput(f"{argument} is {shown(new)}, but there is such an entity; merge it, too")
    return new


async def _described(engine: Engine, merged: Sequence[str], values: dict[str, Any]) -> dict[str, Any]:
    """The values, with all descriptions of what is merged where one by hand would hide the others."""
    if "description" in values:
        return values
    found = [entity for name in merged if (entity := await engine.entity(name)) is not None]

    def by_hand(basis: Basis) -> bool:
        log = basis.curations()
        said = [log.entity(entity.key) for entity in found]
        return any(one is not None and one.description is not None for one in said)

    if not await engine.workspace.read_basis(by_hand):
        return values
    lines = [line for entity in found for line in entity.description.split("\n") if line]
    return {**values, "description": "\n".join(dict.fromkeys(lines))}


def _summary(asked: str, final: str, renamed: bool, merged: bool) -> dict[str, Any]:
    return {
        "merged": merged,
        "merge_status": "success" if merged else "not_attempted",
        "merge_error": None,
        "operation_status": "success",
        "target_entity": final if merged else None,
        "final_entity": final,
        "renamed": renamed and asked != final,
    }


# ---- what is given -------------------------------------------------------------------------------------


def _data(name: str, given: Any, known: Sequence[str], *, strict: bool) -> dict[str, Any]:
    """The fields that there are. Others are refused if `strict`, else left out; evidence is what documents say."""
    data: Mapping[str, Any] = instance(name, given, kind=Mapping)  # type: ignore[type-abstract]
    if strict and (unknown := set(data) - set(known)):
        raise InvalidInput(f"{name} has {shown(sorted(map(str, unknown)))}; it may have {', '.join(known)}")
    if any(data.get(field) not in (None, "", "manual_creation") for field in _UNTOLD):
        warnings.warn(
            f"{' and '.join(_UNTOLD)} of {name} have no effect: they are those of the documents that tell of it",
            UserWarning,
            stacklevel=3,
        )
    return {field: data[field] for field in known if field in data and field not in _UNTOLD}


def _entity_values(data: Mapping[str, Any]) -> dict[str, Any]:
    names = (("entity_type", "type"), ("description", "description"))
    return {name: data[field] for field, name in names if data.get(field) is not None}


def _relation_values(data: Mapping[str, Any]) -> dict[str, Any]:
    values = {field: data[field] for field in ("keywords", "description") if data.get(field) is not None}
    if data.get("weight") is not None:
        values["weight"] = weight("weight", data["weight"])
    return values
