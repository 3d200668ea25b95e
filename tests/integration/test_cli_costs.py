"""The commands `estimate` and `costs`."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.command_line import Cli, only_json
from stateless_rag.testing import FakeOpenAIServer

PRICE = ("--price", "*=2,8")


def test_what_is_told_before_and_after(cli: Cli, corpus: Path, server: FakeOpenAIServer) -> None:
    environ = {"OPENAI_API_KEY": "key", "OPENAI_BASE_URL": server.base_url}
    code, out, _ = cli("estimate", str(corpus), *PRICE, "--json", **environ)
    told = only_json(out)
    assert (code, told["documents"], told["unchanged"], server.log) == (0, 5, 0, ())
    assert told["money"] > 0 and told["usage"]["extract"]["calls"] == told["new_chunks"] == 5
    code, out, err = cli("estimate", str(corpus), **environ)
    assert code == 0 and "5 documents (0 unchanged)" in out and "glean" in out and "built-in" in err
    assert cli("ingest", str(corpus), **environ)[0] == 0
    assert only_json(cli("estimate", str(corpus), "--json", **environ)[1])["unchanged"] == 5

    assert cli("query", "Who was Ada Lovelace?", **environ)[0] == 0
    rows = only_json(cli("costs", "--by", "purpose", "--by", "document", *PRICE, "--json", **environ)[1])
    counted = [record for record in server.log if record.status == 200]
    assert sum(row["usage"]["calls"] for row in rows) == len(counted)
    assert sum(row["usage"]["prompt_tokens"] for row in rows) == sum(r.prompt_tokens for r in counted)
    assert {row["purpose"] for row in rows} >= {"extract", "glean", "embed", "answer", "embed_query"}
    assert len({row["document"] for row in rows}) == 6 and all(row["money"] >= 0 for row in rows)
    code, out, _ = cli("costs", "--by", "day", *PRICE, **environ)
    assert code == 0 and "DAY" in out and "MONEY" in out
    code, out, _ = cli("costs", "--since", "2999-01-01", "--json", **environ)
    assert (code, only_json(out)) == (0, [])


@pytest.mark.parametrize(
    "arguments",
    [
        ("costs", "--by", "year"),
        ("costs", "--since", "soon"),
        ("costs", "--price", "model"),
        ("costs", "--price", "=1"),
        ("costs", "--price", "m=-1"),
        ("estimate", "notes.txt", "--price", "m=x"),
    ],
)
def test_wrong_usage_says_what_is_wrong(cli: Cli, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "notes.txt").write_text("Ada Lovelace met Charles Babbage.", encoding="utf-8")
    assert cli("ingest", "notes.txt")[0] == 0
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "") and err.startswith("error: ")
