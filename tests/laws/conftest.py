"""Profiles: `ci` by default; `pytest tests/laws --hypothesis-profile=thorough` (make soak) thirty times as often."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("ci", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=1000)
settings.load_profile("ci")
