"""The engine proposes which entities are one, and is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateless_rag.checks import flag, instance, number, whole
from stateless_rag.engine.core import Core
from stateless_rag.protocols import Charge
from stateless_rag.types import Usage

if TYPE_CHECKING:
    from stateless_rag.types import Curated, Duplicate

__all__ = ["Trusting"]


class Trusting(Core):
    """Entities that may be one."""

    async def propose_duplicates(
        self, *, least: float = 0.75, limit: int = 1000, ask_llm: bool = False
    ) -> list[Duplicate]:
        """Pairs of entities that look like one, surest first, with reasons and scores from 0 to 1. Nothing is changed.

        Names are compared: spelling, order, titles, plurals, acronyms, initials, sound; numbers and generations that
        differ speak against it. With `ask_llm` the LLM (`llm`, not a role) judges what is not sure, also entities that
        only their vectors bring together; its replies are not kept. At most `limit`, of a score of at least `least`.
        What was rejected is not proposed again. Raises InvalidInput, BudgetExhausted, ProviderError if the LLM fails.
        """
        from stateless_rag.resolving.propose import propose_duplicates

        least, limit = number("least", least, least=0.0, most=1.0), whole("limit", limit, least=1)
        flag("ask_llm", ask_llm)
        self._check()
        context = await self._allowed()
        try:
            return await propose_duplicates(
                context, self._workspace, least=least, limit=limit, ask_llm=ask_llm
            )
        finally:
            used = context.meter.totals().get("resolve", Usage())
            if used.calls:
                charge = Charge(purpose="resolve", model=context.model_for("resolve"), usage=used)
                self._workspace.ledger.charge([charge])

    async def apply_duplicate(self, duplicate: Duplicate) -> Curated:
        """Make the two entities of a proposal one, as `merge_entities` does; `undo` takes it back exactly.

        Raises InvalidInput if one of them is not there any more, or if they are one already.
        """
        from stateless_rag import curating
        from stateless_rag.types import Duplicate

        one = instance("duplicate", duplicate, kind=Duplicate)
        self._check()
        return await curating.merge_duplicates(self._context, self._workspace, one.source, one.target)

    async def reject_duplicate(self, duplicate: Duplicate) -> Curated:
        """Say that the two entities of a proposal are different, so that it is not made again until this is undone.

        An entry of the log like other changes by hand. Raises InvalidInput as `apply_duplicate` does.
        """
        from stateless_rag import curating
        from stateless_rag.types import Duplicate

        one = instance("duplicate", duplicate, kind=Duplicate)
        self._check()
        return await curating.keep_apart(self._context, self._workspace, one.source, one.target)
