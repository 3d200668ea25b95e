"""Profiles of hypothesis: choose one with `pytest --hypothesis-profile thorough`."""

from hypothesis import HealthCheck, settings

# Times vary on shared machines; what a test may take is bounded by pytest-timeout.
settings.register_profile("quick", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1000)
settings.load_profile("quick")
