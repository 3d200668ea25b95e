"""The engine tells what work would cost, and what it has cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, get_args, overload

from stateless_rag.budgets import budget_status, record_of_budget, recorded_budget, require_prices
from stateless_rag.checks import flag, identifiers, instance, optional, shown
from stateless_rag.engine.core import Core
from stateless_rag.errors import InvalidInput
from stateless_rag.pricing import checked_prices, price_of
from stateless_rag.types import Budget, CostRow, CostsBy, Usage

if TYPE_CHECKING:
    from stateless_rag.ingest import Documents
    from stateless_rag.types import BudgetStatus, Estimate, Prices

__all__ = ["Costing"]


class Costing(Core):
    """Estimates and the ledger."""

    async def estimate(
        self, documents: Documents, *, prices: Prices | None = None, batch: bool = False
    ) -> Estimate:
        """What `insert` of the documents would cost now: chunks, calls, tokens, texts to embed, and money.

        No provider is called and nothing changes. Documents, chunks and replies that are there already cost
        nothing, equal texts cost once. Prompts are counted as they would be sent. How much the LLM says follows
        from what was paid in this workspace before, if that was enough; else it is taken to say what the built-in
        extractor finds, at the same length. Documents that are committed in many small groups cost more summaries
        and embeddings than are told. With `batch` all of the extraction costs what it does in batch files
        (`submit_batch`, `Price.batch`). Raises InvalidInput for `prices` that leave out a model that would be called.
        """
        from stateless_rag.estimating import estimate_ingest

        self._check()
        return await estimate_ingest(
            self._context, self._workspace, documents, prices, batch=flag("batch", batch)
        )

    @overload
    async def costs(self) -> Mapping[str, Usage]: ...

    @overload
    async def costs(
        self,
        by: CostsBy | Collection[CostsBy],
        *,
        since: date | str | None = None,
        until: date | str | None = None,
        prices: Prices | None = None,
    ) -> list[CostRow]: ...

    async def costs(
        self,
        by: CostsBy | Collection[CostsBy] | None = None,
        *,
        since: date | str | None = None,
        until: date | str | None = None,
        prices: Prices | None = None,
    ) -> Mapping[str, Usage] | list[CostRow]:
        """What was paid so far in the workspace: usage by purpose, or rows by what is asked for.

        `by` is purpose, model, document, query, day (of UTC) or batch, or several of them; rows are in their order.
        `since` and `until` (not included) are dates, times or their ISO text; without a zone they are in UTC.
        Extraction is paid for a document; summaries and embeddings are shared by those committed together, and
        stand under the document None. The query is `Answer.trace.id`; what questions cost is there at most a
        quarter of a second later, and takes no revision. Raises InvalidInput for `prices` that leave out a model.
        """
        self._check()
        names = tuple(get_args(CostsBy))
        wanted = () if by is None else identifiers("by", by)
        if unknown := [name for name in wanted if name not in names]:
            raise InvalidInput(f"by has {unknown}; there are {', '.join(names)}")
        begin, end = _moment("since", since), _moment("until", until)
        table = None if prices is None else checked_prices(prices)
        if by is None and (begin is not None or end is not None or table is not None):
            raise InvalidInput("by is missing; since, until and prices are for rows, such as by='purpose'")
        if by is None:
            return await self._workspace.costs()
        found = await self._workspace.ledger.batched_costs(wanted, since=begin, until=end)
        return _rows(found, wanted, table)

    async def paid_today(self) -> Mapping[str, Usage]:
        """What providers were paid today (UTC) in the workspace, by model and by whatever engine.

        Calls that are under way are not in it; those that have come back are, at once.
        """
        self._check()
        spending = self._workspace.spending
        await spending.load()
        found: dict[str, Usage] = {}
        for (model, _), used in spending.spent(today=True).items():
            if used.calls:
                found[model] = found.get(model, Usage()) + used
        return found

    async def budget(self) -> BudgetStatus | None:
        """The budget that is kept with the workspace, and how much of it is spent; None if there is none.

        What was ever paid in the workspace counts (for a day: on that day, of UTC), by whatever engine.
        """
        self._check()
        spending = self._workspace.spending
        budget = recorded_budget(spending.recorded)
        if budget is None:
            return None
        await spending.load()
        return budget_status(spending, budget)

    async def set_budget(self, budget: Budget | None) -> BudgetStatus | None:
        """Keep a budget with the workspace, for all engines on it, or none; returns how it stands.

        It holds from the next call of a provider on, for what is under way, too. When it is used up, ingestion pauses
        (`InsertReport.paused`) and its documents stay pending until `resume`; questions, `reembed` and
        `propose_duplicates` raise BudgetExhausted. Whatever takes away or is done by hand (`delete`, `disable`,
        changes, `repair`) is counted, and never refused. Raises InvalidInput for what is no budget, or for one in money
        that has no price for a model which was paid or may be called; then nothing was changed.
        """
        chosen = optional("budget", budget, instance, kind=Budget)
        self._check()
        spending = self._workspace.spending
        await spending.load()
        if chosen is not None:
            budget_status(spending, chosen)
            require_prices(self._context, chosen, "the budget")
        recorded = None if chosen is None else record_of_budget(chosen)
        await self._workspace.update_info(lambda info, _: {**info, "budget": recorded})
        return await self.budget()


def _rows(found: Collection[tuple[Any, ...]], by: Collection[str], prices: Prices | None) -> list[CostRow]:
    """Rows of the ledger, which are apart by model, as they are asked for."""
    sums: dict[tuple[str | None, ...], tuple[Usage, int, float]] = {}
    for model, purpose, document, query, day, calls, asked, said, texts, batch in found:
        known = {"model": model, "purpose": purpose, "document": document, "query": query, "day": day}
        known["batch"] = batch
        key = tuple(known[name] for name in by)
        usage, embeddings, money = sums.get(key, (Usage(), 0, 0.0))
        paid = Usage(calls, asked, said)
        money += 0.0 if prices is None else price_of(prices, model).of(paid, batch=batch is not None)
        sums[key] = (usage + paid, embeddings + texts, money)
    ordered = sorted(sums, key=lambda key: tuple((part is None, part or "") for part in key))
    return [
        CostRow(
            **dict(zip(by, key, strict=True)),
            usage=sums[key][0],
            embeddings=sums[key][1],
            money=None if prices is None else sums[key][2],
        )
        for key in ordered
    ]


def _moment(name: str, value: Any) -> float | None:
    """Seconds since 1970 of a date or a time."""
    if value is None:
        return None
    try:
        given = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(given, date) and not isinstance(given, datetime):
            given = datetime.combine(given, time())
        if isinstance(given, datetime):
            return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{name} is {shown(value)}, which is no date: {error}") from error
    raise InvalidInput(f"{name} is {shown(value)}; it must be a date, a datetime, or one as ISO text")
