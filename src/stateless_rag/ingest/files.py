"""Files among what is taken in: made into texts side by side, and then let in like any other document."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stateless_rag.errors import InvalidDocument, UnreadableFile
from stateless_rag.types import Document

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import Basis, Claim, FileReader, Workspace

__all__ = ["Files"]

_AT_ONCE = 2  # of one run; the converter bounds them for all
_LOOK = 0.2  # seconds between two looks whether the document was cancelled


class Files:
    """The files of one run. `let_in` takes texts; `fail` is told the reason, and whether an older version is there."""

    def __init__(
        self,
        context: Context,
        workspace: Workspace,
        let_in: Callable[[Sequence[Claim]], Awaitable[None]],
        fail: Callable[[Claim, str | None, bool], Awaitable[None]],
    ) -> None:
        self._converter = context.converter
        self._workspace = workspace
        self._let_in = let_in
        self._fail = fail
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, claims: Sequence[Claim]) -> None:
        """Begin with the files among the claims, and let the others in."""
        await self._let_in([claim for claim in claims if claim.file is None])
        for claim in claims:
            if claim.file is not None:
                await self._slots.acquire()
                self._raise_failed()
                task = asyncio.create_task(self._file(claim))
                self._tasks.add(task)
                task.add_done_callback(lambda _: self._slots.release())

    async def finish(self) -> None:
        """Wait until all files are settled, or let in."""
        while running := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
            self._raise_failed()
        self._raise_failed()

    async def aclose(self) -> None:
        """Stop what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _raise_failed(self) -> None:
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()

    async def _file(self, claim: Claim) -> None:
        converting = asyncio.create_task(self._converted(claim))
        try:
            while not converting.done():
                await asyncio.wait([converting], timeout=_LOOK)
                if self._workspace.is_cancelled(claim.sequence) and not converting.done():
                    await self._fail(claim, None, await self._is_there(claim))
                    return
            await self._let_in([converting.result()])
        except InvalidDocument as error:
            await self._fail(claim, f"{type(error).__name__}: {error}", await self._is_there(claim))
        finally:
            converting.cancel()
            await asyncio.gather(converting, return_exceptions=True)

    async def _converted(self, claim: Claim) -> Claim:
        """The claim with the text of its file. What a file says of itself is metadata where the caller says nothing."""
        file = claim.file
        converter: FileReader | None = self._converter
        if file is None or converter is None:
            raise UnreadableFile("the engine was opened without a converter; open it with one", "unavailable")
        content = file.content
        if content is None:
            content = await self._workspace.file_content(claim.sequence)
        if content is None:
            raise UnreadableFile(f"the contents of {file.name} are gone; send it again", "damaged")
        found = await converter.convert(content, file.name)

        def made() -> Document:
            metadata = {**found.metadata, **claim.metadata}
            return Document(found.text, id=claim.document_id, source=claim.source, metadata=metadata)

        document = await asyncio.to_thread(made)
        return replace(claim, text=document.text, metadata=document.metadata, file=None)

    async def _is_there(self, claim: Claim) -> bool:
        def look(basis: Basis) -> bool:
            return bool(basis.document_rows([claim.document_id]))

        return await self._workspace.read_basis(look)
