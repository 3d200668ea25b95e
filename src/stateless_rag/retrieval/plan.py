"""The plan: what a question asks of a snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stateless_rag.retrieval.allowed import Folds
from stateless_rag.settings import CommunitySettings, WalkSettings
from stateless_rag.types import Keywords

if TYPE_CHECKING:
    from stateless_rag.protocols import Vectors
    from stateless_rag.retrieval.budget import Count
    from stateless_rag.retrieval.unrelated import Floor
    from stateless_rag.settings import QueryOptions

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What `search` is to do. Vectors have shape (dimension,), and are None where the mode needs none.

    `lexical`: no embedder answered; names and words lead to the seeds. `prompt` is the system prompt around
    an empty context, `count` counts tokens, `candidates` is how many passages to return at most, `folds` how
    values are folded under a metadata filter, `walk` what the modes walk and mix rank by,
    `communities` how mode themes finds them. `expect` is the document
    whose fate is to be told. Below the `floor` nothing is found.
    """

    question: str
    options: QueryOptions
    prompt: str
    count: Count
    keywords: Keywords = field(default_factory=Keywords)
    vector: Vectors | None = None
    low: Vectors | None = None
    high: Vectors | None = None
    lexical: bool = False
    candidates: int = 20
    folds: Folds = field(default_factory=Folds)
    walk: WalkSettings = field(default_factory=WalkSettings)
    communities: CommunitySettings = field(default_factory=CommunitySettings)
    expect: str | None = None
    floor: Floor | None = None
