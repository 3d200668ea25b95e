"""What all tests share: the profiles of hypothesis, and one encoding for each process.

Choose a profile with `pytest --hypothesis-profile thorough`.
"""

from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import HealthCheck, settings

from stateless_rag.providers import tokenizer

# Times vary on shared machines; what a test may take is bounded by pytest-timeout.
settings.register_profile("quick", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1000)
settings.load_profile("quick")


@pytest.fixture(scope="session", autouse=True)
def one_encoding() -> Iterator[None]:
    """Build the tokenizer's encoding once: each store has a tokenizer, and building takes 0.2 s of a processor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "_load", cache(tokenizer._load))
        patch.setattr(tokenizer, "_build", cache(tokenizer._build))
        yield
