"""How often a law is tried."""

from __future__ import annotations

from hypothesis import settings

_FEWEST = 5
_USUAL = 100  # examples of hypothesis's default


def examples(number: int) -> settings:
    """A third of the number under the profile `ci`, but five at least; ten times the number under `thorough`."""
    assert settings.default is not None
    tried = settings.default.max_examples
    if tried <= _USUAL:
        return settings(max_examples=max(_FEWEST, number * tried // (3 * _USUAL)))
    return settings(max_examples=number * tried // _USUAL)
