"""How often a law is tried."""

from __future__ import annotations

from hypothesis import settings


def examples(number: int) -> settings:
    """So many examples under the profile `ci`, ten times as many under `thorough`."""
    assert settings.default is not None
    return settings(max_examples=max(1, number * settings.default.max_examples // 100))
