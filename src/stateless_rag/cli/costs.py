"""The commands `estimate` and `costs`: what ingesting would cost, and what was paid."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from stateless_rag.cli.files import find_files, read_documents
from stateless_rag.cli.options import Exit
from stateless_rag.cli.output import counted, table
from stateless_rag.cli.running import Place, placed
from stateless_rag.errors import InvalidInput
from stateless_rag.types import CostsBy, Price

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.types import CostRow, Estimate, Prices

__all__ = ["PriceOption", "costs", "estimate", "prices_given"]

PriceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="MODEL=IN[,OUT[,BATCH]]",
        help="Price of a million tokens read and written, and the share of it in batch files (0.5); * stands for other "
        "models. May be repeated.",
    ),
]


@placed()
def estimate(
    place: Place,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, and folders of them.")],
    price: PriceOption = None,
    batch: Annotated[
        bool, typer.Option("--batch", help="Money as if the extraction went in batch files.")
    ] = False,
) -> None:
    """Tell what `ingest` of these files would cost now. Nothing is paid, no document is taken in."""
    prices = prices_given(price)
    skipped: list[Path] = []

    def skip(file: Path, why: str) -> None:
        skipped.append(file)
        place.output.note(f"skipped {file}: {why}")

    async def work(engine: Engine) -> Estimate:
        files = find_files(paths, lambda _: None)
        documents = read_documents(files, skip)
        async with aclosing(documents):
            return await engine.estimate(documents, prices=prices, batch=batch)

    def show(told: Estimate) -> None:
        output = place.output
        output.text(
            f"{counted(told.documents, 'document')} ({told.unchanged} unchanged), {counted(told.chunks, 'chunk')}, "
            f"{told.new_chunks:,} to be read by the LLM, {counted(told.embeddings, 'text')} to embed"
        )
        rows = [
            (p, f"{u.calls:,}", f"{u.prompt_tokens:,}", f"{u.completion_tokens:,}", f"{u.cached:,}")
            for p, u in told.usage.items()
        ]
        output.out.print(table("PURPOSE", ">CALLS", ">READ", ">WRITTEN", ">KNOWN", rows=rows))
        if told.money is not None:
            output.text(f"money: {told.money:,.4f}")
        source = (
            "what was paid here before" if told.basis == "ledger" else "what the built-in extractor finds"
        )
        output.note(f"note: how much the LLM writes follows from {source}")
        for each in told.notes:
            output.note(f"note: {each}")

    place.run_on_engine(work, show, create=True, verdict=lambda _: Exit.SOME_FAILED if skipped else Exit.OK)


@placed()
def costs(
    place: Place,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by", help="purpose (the default), model, document, query, day or batch; may be repeated."
        ),
    ] = None,
    since: Annotated[str | None, typer.Option("--since", help="From this date on (UTC).")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Before this date (UTC).")] = None,
    price: PriceOption = None,
) -> None:
    """Tell what was paid so far in the workspace."""
    names, prices = _names(by), prices_given(price)

    async def work(engine: Engine) -> list[CostRow]:
        return await engine.costs(names, since=since, until=until, prices=prices)

    def show(rows: list[CostRow]) -> None:
        heads = [*(name.upper() for name in names), ">CALLS", ">READ", ">WRITTEN", ">EMBEDDED"]
        heads += [] if prices is None else [">MONEY"]
        shown = [
            (
                *(getattr(row, name) or "–" for name in names),
                f"{row.usage.calls:,}",
                f"{row.usage.prompt_tokens:,}",
                f"{row.usage.completion_tokens:,}",
                f"{row.embeddings:,}",
                *([] if row.money is None else [f"{row.money:,.4f}"]),
            )
            for row in rows
        ]
        place.output.out.print(table(*heads, rows=shown))

    place.run_on_engine(work, show)


def _names(by: Sequence[str] | None) -> list[CostsBy]:
    known: tuple[CostsBy, ...] = get_args(CostsBy)
    wanted = by or ["purpose"]
    if unknown := [name for name in wanted if name not in known]:
        raise InvalidInput(f"--by {unknown[0]!r} is not known; there are {', '.join(known)}")
    return [name for name in known if name in wanted]


def prices_given(given: Sequence[str] | None) -> Prices | None:
    """The table of prices that `--price` says; None if it is not given. Raises InvalidInput."""
    if not given:
        return None
    prices: dict[str, Price] = {}
    for each in given:
        model, _, amounts = each.rpartition("=")
        read, written, share = (*amounts.split(",", 2), "", "")[:3]
        try:
            prices[model] = Price(input=float(read), output=float(written or 0.0), batch=float(share or 0.5))
        except ValueError as error:
            raise InvalidInput(f"--price {each!r} is not MODEL=IN[,OUT[,BATCH]]: {error}") from error
        if not model:
            raise InvalidInput(f"--price {each!r} names no model; * stands for all")
    return prices
