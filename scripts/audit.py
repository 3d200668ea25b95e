"""Known vulnerabilities and licences of what is installed beside this project.

    python scripts/audit.py

Asks PyPI, then OSV, by pip-audit (`pip install --group audit`). Exits with 0 if all was looked at and nothing is known,
with 1 if something is, with 2 if not all could be looked at: silence of a source that was not reached says nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from typing import Any

SOURCES = ("pypi", "osv")
OWN = "stateless-rag"
# In licences' names: those that allow use in a program of any licence.
FREE = (
    "MIT",
    "BSD",
    "Apache",
    "ISC",
    "PSF",
    "Python Software Foundation",
    "MPL",
    "Mozilla",
    "Unlicense",
    "HPND",
    "0BSD",
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a source says: how many packages it knows, those it could not look at, and lines about vulnerabilities."""

    audited: int = 0
    unknown: tuple[str, ...] = ()
    vulnerable: tuple[str, ...] = ()
    error: str = ""

    @property
    def whole(self) -> bool:
        """Whether everything was looked at."""
        return not (self.error or self.unknown) and self.audited > 0


def found_in(report: Mapping[str, Any]) -> Found:
    """What a report of pip-audit tells.

    >>> found_in({"dependencies": [{"name": "idna", "skip_reason": "Dependency not found on PyPI"}]}).whole
    False
    """
    audited, unknown, vulnerable = 0, [], []
    for each in report["dependencies"]:
        if each["name"] == OWN:
            continue
        if "skip_reason" in each:
            unknown.append(each["name"])
            continue
        audited += 1
        for known in each.get("vulns", ()):
            fixed = ", ".join(known.get("fix_versions", ())) or "no version"
            vulnerable.append(f"{each['name']} {each['version']}: {known['id']}, mended in {fixed}")
    return Found(audited, tuple(unknown), tuple(vulnerable))


def audit(source: str) -> Found:
    """Ask one source."""
    command = [sys.executable, "-m", "pip_audit", "--skip-editable", "--format", "json"]
    command += ["--progress-spinner", "off", "--vulnerability-service", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return found_in(json.loads(done.stdout))
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or [f"pip-audit ended with {done.returncode}"]
        return Found(error=last[0][:300])


def verdict(found: Mapping[str, Found]) -> tuple[int, list[str]]:
    """The exit code, and what to tell, of what each source has said."""
    told = []
    for source, each in found.items():
        if each.error:
            told.append(f"{source} could not be asked: {each.error}")
        elif each.unknown:
            few = ", ".join(each.unknown[:5]) + (", …" if len(each.unknown) > 5 else "")
            told.append(f"{source} looked at {each.audited} packages, but not at {len(each.unknown)}: {few}")
        else:
            told.append(f"{source} looked at {each.audited} packages")
    vulnerable = sorted({line for each in found.values() for line in each.vulnerable})
    if vulnerable:
        return 1, [*told, *vulnerable]
    if not any(each.whole for each in found.values()):
        return 2, [
            *told,
            "Not everything could be looked at, so nothing follows. Try again where PyPI or OSV is reached.",
        ]
    return 0, [*told, "No vulnerabilities are known."]


def licence_of(package: Distribution) -> str:
    """The licence that a package names."""
    data = package.metadata
    for field in ("License-Expression", "License"):
        named = data[field].strip().partition("\n")[0] if field in data else ""
        if named and (field == "License-Expression" or len(named) < 60):
            return named
    listed = [line for line in data.get_all("Classifier") or () if "License ::" in line]
    return ", ".join(line.rpartition("::")[2].strip() for line in listed) or "none named"


def licences(packages: Sequence[Distribution]) -> list[str]:
    """The packages by licence, those first that are to be looked at."""
    by: dict[str, list[str]] = {}
    for package in packages:
        if package.metadata["Name"] != OWN:
            by.setdefault(licence_of(package), []).append(package.metadata["Name"])
    free = {name: any(word in name for word in FREE) for name in by}
    return [
        f"{'' if free[name] else 'LOOK AT '}{name[:60]}: {', '.join(sorted(set(by[name])))}"
        for name in sorted(by, key=lambda name: (free[name], name))
    ]


def main() -> int:
    """Ask the sources in turn until one has looked at everything; tell what was found, and the licences."""
    found: dict[str, Found] = {}
    for source in SOURCES:
        found[source] = audit(source)
        if found[source].whole:
            break
    code, told = verdict(found)
    print("\n".join(["Licences:", *licences(list(distributions())), "", "Vulnerabilities:", *told]))
    return code


if __name__ == "__main__":
    sys.exit(main())
