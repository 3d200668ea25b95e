"""Ablation: the walking modes with one part left out at a time, by their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateless_rag.evaluation.arms import EngineArm, ask
from stateless_rag.settings import WALK_PARTS, WalkSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stateless_rag.evaluation.arms import Outcome
    from stateless_rag.evaluation.corpus import Corpus
    from stateless_rag.evaluation.dataset import Dataset
    from stateless_rag.evaluation.embedding import MeasuredEmbedder

__all__ = ["ablated", "ablations"]

_BRIDGES = ("title", "leads", "shared", "completes")


def ablations() -> dict[str, dict[str, WalkSettings]]:
    """By mode, what is left out, and the settings that leave it out; first what leaves out nothing."""
    in_both = {
        "nothing": WalkSettings(),
        "names of the question": WalkSettings(names=False),
        "facts": WalkSettings(facts=0),
        "passages of facts": WalkSettings(fact_passages=0.0),
        "nearest passages": WalkSettings(passages=0.0),
        "edges to titles": WalkSettings(titles=0.0),
        "hub damping": WalkSettings(hub_damping=False),
    }
    ranked = {
        "search by words": WalkSettings(words=False, parts={"words": 0.0}),
        **{f"`{part}` in the sum": WalkSettings(parts={part: 0.0}) for part in WALK_PARTS},
        "title and bridges in the sum": WalkSettings(parts=dict.fromkeys(_BRIDGES, 0.0)),
    }
    return {"mix": {**in_both, **ranked}, "walk": in_both}


async def ablated(
    corpus: Corpus, embedder: MeasuredEmbedder, dataset: Dataset, tell: Callable[[str, int, int], None]
) -> dict[str, dict[str, Sequence[Outcome]]]:
    """What each mode finds without each of its parts: one outcome for each question."""
    found: dict[str, dict[str, Sequence[Outcome]]] = {}
    for mode, left_out in ablations().items():
        found[mode] = {}
        for part, settings in left_out.items():
            async with corpus.engine(walk=settings) as engine:
                arm = EngineArm(engine, embedder, f"{mode} without {part}", {"mode": mode})
                found[mode][part] = await ask(arm, dataset, tell)
    return found
