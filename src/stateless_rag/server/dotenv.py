"""`.env` files: names and values, one to a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stateless_rag.errors import InvalidInput

__all__ = ["parse_dotenv"]

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(?P<value>.*)\Z")
_QUOTED = re.compile(r"""(?P<quote>["'])(?P<value>.*?)(?P=quote)\s*(?:#.*)?\Z""")
_COMMENT = re.compile(r"(?:\A|\s+)#.*\Z")


def parse_dotenv(text: str) -> dict[str, str]:
    r"""The names and values of a file; a later line wins. Nothing is filled in.

    >>> parse_dotenv("# ours\nHOST=0.0.0.0  # all\nexport NAME='a # b'\nEMPTY=\n")
    {'HOST': '0.0.0.0', 'NAME': 'a # b', 'EMPTY': ''}

    Raises InvalidInput for a line that is neither blank, nor a comment, nor NAME=VALUE.
    """
    return dict(_pairs(text))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        found = _LINE.match(stripped)
        if found is None:
            raise InvalidInput(f"line {number} of the .env file is not NAME=VALUE")  # which may hold a secret
        quoted = _QUOTED.match(found["value"])
        yield found["name"], quoted["value"] if quoted else _COMMENT.sub("", found["value"]).strip()
