"""Build the encoding that ships with the package, from the ranks in the npm package js-tiktoken (MIT).

    npm pack js-tiktoken && tar xf js-tiktoken-*.tgz
    python scripts/build_encoding.py package/dist/ranks/o200k_base.js

The ranks file is rebuilt line by line and compared with the sha256 that tiktoken pins for it; nothing is
written unless it is the same file, byte for byte. What is written are its tokens and ranks in the order of
`stateless_rag.providers.ranks`, which must hold the sha256 that is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import zlib
from binascii import a2b_base64
from pathlib import Path

from stateless_rag.providers.ranks import Ranks, pack_ranks

SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
ENCODINGS = Path(__file__).resolve().parent.parent / "src" / "stateless_rag" / "providers" / "encodings"
NOTICE = """\
o200k_base.ranks.zz

The byte pair ranks of the encoding o200k_base, published by OpenAI with tiktoken
(https://github.com/openai/tiktoken), taken from the npm package js-tiktoken (MIT licence,
https://github.com/dqbd/tiktoken), sorted and compressed with zlib by scripts/build_encoding.py.

sha256 of the file o200k_base.tiktoken: {sha256}
sha256 of what is compressed here: {packed}

MIT License

Copyright (c) 2022 OpenAI, Shantanu Jain

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without
limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the
Software, and to permit persons to whom the Software is furnished to do so, subject to the following
conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions
of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED
TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL
THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER
DEALINGS IN THE SOFTWARE.
"""


def ranks_file(source: str) -> bytes:
    """The `.tiktoken` text (lines of `base64 rank`) from the text of js-tiktoken's `o200k_base.js`.

    There the ranks are lines of `! offset token token …`: base64 tokens, ranks counting up from the offset.
    """
    found = re.search(r'"bpe_ranks":"([^"]*)"', source)
    if found is None:
        raise SystemExit('no "bpe_ranks" in this file; it should be dist/ranks/o200k_base.js of js-tiktoken')
    lines = []
    for row in filter(None, found[1].split("\\n")):
        mark, offset, *tokens = row.split(" ")
        if mark != "!":
            raise SystemExit(f"a row of ranks begins with {mark!r} instead of '!'; the format has changed")
        lines += [f"{token} {rank}\n" for rank, token in enumerate(tokens, int(offset))]
    return "".join(lines).encode("ascii")


def main(arguments: list[str]) -> None:
    """Check and write the compressed encoding and its notice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "ranks", type=Path, metavar="o200k_base.js", help="dist/ranks/o200k_base.js of js-tiktoken"
    )
    source = parser.parse_args(arguments).ranks
    try:
        ranks = ranks_file(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{source} cannot be read: {error}") from error
    found = hashlib.sha256(ranks).hexdigest()
    if found != SHA256:
        raise SystemExit(f"the ranks have sha256 {found}, tiktoken pins {SHA256}; nothing was written")
    packed = pack_ranks({a2b_base64(line.split()[0]): rank for rank, line in enumerate(ranks.splitlines())})
    if Ranks(packed).tiktoken_file() != ranks:
        raise SystemExit("the packed ranks do not give the file that they were made of; nothing was written")
    ENCODINGS.mkdir(parents=True, exist_ok=True)
    compressed, told = zlib.compress(packed, 9), hashlib.sha256(packed).hexdigest()
    (ENCODINGS / "o200k_base.ranks.zz").write_bytes(compressed)
    (ENCODINGS / "NOTICE").write_text(NOTICE.format(sha256=SHA256, packed=told), encoding="utf-8")
    print(
        f"{len(ranks):,} bytes of ranks, sha256 as pinned; {len(compressed):,} compressed, packed sha256 {told}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
