"""What all tests share: the profiles of hypothesis, and what is made once for each process.

Choose a profile with `pytest --hypothesis-profile thorough`.
"""

import gc
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import HealthCheck, settings

from stateless_rag.providers import tokenizer

# Times vary on shared machines; what a test may take is bounded by pytest-timeout.
settings.register_profile("quick", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1000)
settings.load_profile("quick")


def pytest_collection_finish() -> None:
    """Let collections of garbage pass over what is loaded: a full one would take 0.3 s of a processor, often."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let what is loaded be torn down: libraries tell of leaks otherwise."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def one_encoding() -> Iterator[None]:
    """Build the tokenizer's encoding once: each store has a tokenizer, and building takes 0.2 s of a processor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "_load", cache(tokenizer._load))
        patch.setattr(tokenizer, "_build", cache(tokenizer._build))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_set_of_certificates() -> Iterator[None]:
    """Read the certificates of the machine once: each HTTP client does, in 0.03 s, and nothing here asks for HTTPS."""
    import httpcore2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_command_line() -> Iterator[None]:
    """Read the signatures of all commands once: tests run hundreds of commands, and reading takes 0.04 s."""
    import typer

    from stateless_rag.cli import app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "build", cache(app.build))
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield
