"""The twins without `await`, on a loop of their own: they work inside a running loop, in notebooks, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from stateless_rag.interop.lightrag.asking import Asking
from stateless_rag.interop.lightrag.documents import Documents
from stateless_rag.interop.lightrag.editing import Editing
from stateless_rag.interop.lightrag.exports import Exports

if TYPE_CHECKING:
    from stateless_rag.interop.lightrag.parameters import QueryParam
    from stateless_rag.interop.lightrag.results import DeletionResult

__all__ = ["Synchronous"]

Result = TypeVar("Result")


class Synchronous(Documents, Asking, Editing, Exports):
    """Each does what the one of the same name with an `a` before it does."""

    def insert(
        self,
        input: str | Sequence[str],  # noqa: A002 -- LightRAG's name
        split_by_character: str | None = None,
        split_by_character_only: bool = False,
        ids: str | Sequence[str] | None = None,
        file_paths: str | Sequence[str] | None = None,
        track_id: str | None = None,
    ) -> str:
        """Take texts in; returns the tracking id."""
        return self._run(
            self.ainsert(input, split_by_character, split_by_character_only, ids, file_paths, track_id)
        )

    def insert_custom_chunks(
        self, full_text: str, text_chunks: Sequence[str], doc_id: str | None = None
    ) -> None:
        """Take in a document that the caller has cut."""
        self._run(self.ainsert_custom_chunks(full_text, text_chunks, doc_id))

    def insert_custom_kg(self, custom_kg: Mapping[str, Any], full_doc_id: str | None = None) -> None:
        """Take in a graph."""
        self._run(self.ainsert_custom_kg(custom_kg, full_doc_id))

    def query(
        self, query: str, param: QueryParam | None = None, system_prompt: str | None = None
    ) -> str | AsyncIterator[str]:
        """Answer a question; what is streamed is an async generator, which any loop may read."""
        answer = self._run(self.aquery(query, param, system_prompt))
        if isinstance(answer, str):
            return answer
        return _relayed(self._session.iterate(cast("AsyncGenerator[str]", answer)))

    def query_data(self, query: str, param: QueryParam | None = None) -> dict[str, Any]:
        """What would be found for a question."""
        return self._run(self.aquery_data(query, param))

    def query_llm(
        self, query: str, param: QueryParam | None = None, system_prompt: str | None = None
    ) -> dict[str, Any]:
        """The data of a question, and its answer."""
        found = self._run(self.aquery_llm(query, param, system_prompt))
        response = found["llm_response"]
        if (streamed := response["response_iterator"]) is not None:
            response["response_iterator"] = _relayed(self._session.iterate(streamed))
        return found

    def clear_cache(self) -> None:
        """Drop the LLM's replies that are kept."""
        self._run(self.aclear_cache())

    def create_entity(self, entity_name: str, entity_data: Mapping[str, Any]) -> dict[str, Any]:
        """Make an entity."""
        return self._run(self.acreate_entity(entity_name, entity_data))

    def edit_entity(
        self,
        entity_name: str,
        updated_data: Mapping[str, Any],
        allow_rename: bool = True,
        allow_merge: bool = False,
    ) -> dict[str, Any]:
        """Give an entity another type, description or name."""
        return self._run(self.aedit_entity(entity_name, updated_data, allow_rename, allow_merge))

    def create_relation(
        self, source_entity: str, target_entity: str, relation_data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Relate two entities by hand."""
        return self._run(self.acreate_relation(source_entity, target_entity, relation_data))

    def edit_relation(
        self, source_entity: str, target_entity: str, updated_data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Give a relation other keywords, another description or another weight."""
        return self._run(self.aedit_relation(source_entity, target_entity, updated_data))

    def merge_entities(
        self,
        source_entities: Sequence[str],
        target_entity: str,
        merge_strategy: Mapping[str, str] | None = None,
        target_entity_data: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Make several entities one."""
        return self._run(
            self.amerge_entities(source_entities, target_entity, merge_strategy, target_entity_data)
        )

    def delete_by_entity(self, entity_name: str) -> DeletionResult:
        """Delete an entity with its relations."""
        return self._run(self.adelete_by_entity(entity_name))

    def delete_by_relation(self, source_entity: str, target_entity: str) -> DeletionResult:
        """Delete a relation."""
        return self._run(self.adelete_by_relation(source_entity, target_entity))

    def export_data(
        self, output_path: str | Path, file_format: str = "csv", include_vector_data: bool = False
    ) -> None:
        """Write the graph into a file."""
        self._run(self.aexport_data(output_path, file_format, include_vector_data))

    def _run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return self._session.run(coroutine)


async def _relayed(pieces: Generator[str, None, None]) -> AsyncGenerator[str]:
    """What another loop's generator yields. Each piece is waited for in a thread, and not left behind there."""
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, pieces, None))
            try:
                piece = await asyncio.shield(step)
            finally:
                await asyncio.wait([step])
            if piece is None:
                return
            yield piece
    finally:
        await asyncio.to_thread(pieces.close)
