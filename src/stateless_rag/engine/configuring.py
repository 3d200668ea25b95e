"""The engine changes the settings that are kept with the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stateless_rag.engine.core import Core
from stateless_rag.workspace_settings import WorkspaceSettings, changed_record, recorded_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stateless_rag.prompts import Prompts
    from stateless_rag.settings import ChunkSettings, ExtractSettings, MergeSettings

__all__ = ["Configuring"]


class Configuring(Core):
    """Settings of the workspace."""

    async def settings(self) -> WorkspaceSettings:
        """What is kept with the workspace; `context` has what this engine makes of it."""
        self._check()
        return recorded_settings(self._workspace.record.info)

    async def configure(
        self, **changes: ChunkSettings | ExtractSettings | MergeSettings | Prompts | Mapping[str, Any] | None
    ) -> WorkspaceSettings:
        """Change what is kept with the workspace: chunking, extraction, merging, prompts, models; all or nothing.

            await engine.configure(extraction={"language": "German"}, models={"answer": "gpt-5"})

        A mapping names the fields that change, None stands for the default; a whole group replaces what is kept
        of it. It holds from the next call on, for all engines on the workspace that were not opened with
        something else; what is there is not extracted again. Returns all that is kept. Raises InvalidInput for
        what cannot be set, and for another key policy (`description_texts`, `relation_keywords`) where there are
        chunks or changes by hand already; then nothing was changed.
        """
        self._check()
        # Tried here first: what this engine could not work with is not kept.
        self._fit(changed_record(self._workspace.record.info, changes, fixed=False))
        info = await self._workspace.update_info(
            lambda info, has_keys: changed_record(info, changes, fixed=has_keys)
        )
        return recorded_settings(info)
