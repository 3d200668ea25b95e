"""The audit of dependencies: silence of a source that was not reached is no clean bill."""

from __future__ import annotations

from typing import Any

import pytest
from scripts.audit import Found, found_in, licences, verdict

IDNA = {"name": "idna", "version": "3.6", "vulns": [{"id": "CVE-1", "fix_versions": ["3.7"]}]}
RICH = {"name": "rich", "version": "15.0", "vulns": []}
SKIPPED = {"name": "typer", "skip_reason": "Dependency not found on PyPI"}
OWN = {"name": "stateless-rag", "skip_reason": "editable"}
AWAY = Found(error="connection refused")


@pytest.mark.parametrize(
    ("reports", "code", "told"),
    [
        ([[RICH, OWN]], 0, "No vulnerabilities"),
        ([[RICH, IDNA]], 1, "idna 3.6: CVE-1, mended in 3.7"),
        ([[RICH, SKIPPED]], 2, "typer"),
        ([[SKIPPED], [SKIPPED]], 2, "nothing follows"),
        ([[SKIPPED], [RICH]], 0, "No vulnerabilities"),
        ([[SKIPPED, IDNA], [RICH]], 1, "CVE-1"),
        ([[]], 2, "nothing follows"),
    ],
)
def test_the_verdict(reports: list[Any], code: int, told: str) -> None:
    found = {str(place): found_in({"dependencies": each}) for place, each in enumerate(reports)}
    assert verdict(found)[0] == code
    assert told in "\n".join(verdict(found)[1])


def test_who_is_not_reached_has_said_nothing() -> None:
    assert verdict({"pypi": AWAY, "osv": AWAY})[0] == 2
    assert "connection refused" in verdict({"pypi": AWAY})[1][0]
    assert verdict({"pypi": AWAY, "osv": Found(audited=3)})[0] == 0


def test_licences_are_listed() -> None:
    from importlib.metadata import distribution

    listed = licences([distribution("pytest"), distribution("numpy")])
    assert any("pytest" in line and line.startswith("MIT") for line in listed)
    assert any("numpy" in line for line in listed)
