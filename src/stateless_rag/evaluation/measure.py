"""An evaluation: ingest a dataset's corpus, ask its questions of every arm, and keep what each found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from stateless_rag.evaluation.ablation import ablated
from stateless_rag.evaluation.arms import Arm, Outcome, ask, engine_arms, query_texts
from stateless_rag.evaluation.corpus import Ingested, ingest, open_corpus
from stateless_rag.evaluation.embedding import MeasuredEmbedder
from stateless_rag.evaluation.fitting import (
    CrossValidation,
    Ranking,
    checked_folds,
    cross_validated,
    rankings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stateless_rag.evaluation.dataset import Dataset
    from stateless_rag.protocols import Embedder, Observer

__all__ = ["CROSS_VALIDATED", "Evaluation", "Tell", "evaluate"]

Tell = Callable[[str, int, int], None]
"""Is told of progress: the arm, how many questions it has answered, and of how many."""

CROSS_VALIDATED = "mix/cross-validated"
"""The arm that ranks by weights fitted without the question's fold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What each arm found: one outcome for each question, in the dataset's order.

    `tokens` has the size of each passage that an arm found. `ablation` has the same as `outcomes` for each mode and
    each part left out, `rankings` what mode mix ranked, `validation` the weights of each fold; they are empty where
    they were not asked for.
    """

    dataset: Dataset
    ingested: Ingested
    outcomes: Mapping[str, Sequence[Outcome]] = field(repr=False)
    tokens: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    ablation: Mapping[str, Mapping[str, Sequence[Outcome]]] = field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )
    rankings: Sequence[Ranking] = field(default=(), repr=False)
    validation: CrossValidation | None = field(default=None, repr=False)


async def evaluate(
    dataset: Dataset,
    root: str | Path,
    embedder: Embedder,
    modes: Sequence[str],
    *,
    recorded: Sequence[Arm] = (),
    ablate: bool = False,
    folds: int = 0,
    observer: Observer | None = None,
    tell: Tell = lambda _arm, _done, _total: None,
) -> Evaluation:
    """Ingest the corpus into a store in the folder `root` and ask all questions of all arms.

    The arms are the `modes`, the yardsticks and `recorded`; with `folds`, also mix with weights fitted to the other
    folds. `ablate` asks the walking modes again without each of their parts. The workspace is named after all that
    decides what is in it, so a folder can be used again, also for other datasets and embedders. Questions are
    embedded before they are asked. `observer` is told of the ingest. Raises StatelessRagError if a passage cannot be
    ingested, InvalidInput for a number of folds that the questions cannot be divided into.
    """
    checked_folds(folds, dataset)
    measured = MeasuredEmbedder(embedder)
    await measured.prepare(query_texts(dataset.questions))
    async with AsyncExitStack() as stack:
        corpus = await stack.enter_async_context(open_corpus(dataset, root, measured))
        engine = await stack.enter_async_context(corpus.engine(observer=observer))
        ingested = await ingest(engine, dataset)
        arms = await engine_arms(corpus, engine, measured, modes, stack)
        outcomes = {arm.name: await ask(arm, dataset, tell) for arm in arms}
        found = await rankings(engine, dataset) if folds else []
        validation = cross_validated(dataset, found, folds) if folds else None
        if validation is not None:
            outcomes[CROSS_VALIDATED] = list(validation.outcomes)
        for arm in recorded:
            outcomes[arm.name] = await ask(arm, dataset, tell)
        without = await ablated(corpus, measured, dataset, tell) if ablate else {}
    return Evaluation(
        dataset=dataset,
        ingested=ingested,
        outcomes=outcomes,
        tokens=_tokens(dataset, outcomes, corpus.context.tokenizer.count),
        ablation=without,
        rankings=found,
        validation=validation,
    )


def _tokens(
    dataset: Dataset, outcomes: Mapping[str, Sequence[Outcome]], count: Callable[[str], int]
) -> Mapping[str, int]:
    ids = {id_ for found in outcomes.values() for outcome in found for id_ in outcome.ranked}
    return MappingProxyType({id_: count(dataset.by_id[id_].passage) for id_ in sorted(ids)})
