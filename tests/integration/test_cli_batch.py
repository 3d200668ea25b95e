"""The commands `batch submit`, `status`, `collect` and `cancel`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.command_line import Cli, only_json
from stateless_rag.testing import BatchBehaviour, FakeOpenAIServer


def environ(server: FakeOpenAIServer) -> dict[str, str]:
    return {"OPENAI_API_KEY": "key", "OPENAI_BASE_URL": server.base_url}


@pytest.fixture
def failing() -> Iterator[FakeOpenAIServer]:
    fake = FakeOpenAIServer(batches=BatchBehaviour(polls=1, failing="Jacquard"))
    with fake.in_thread():
        yield fake


def test_from_files_to_answers(cli: Cli, corpus: Path, server: FakeOpenAIServer) -> None:
    at = environ(server)
    code, out, err = cli("batch", "submit", str(corpus), **at)
    assert (code, "5 requests handed over" in out) == (0, True), err
    assert [d["status"] for d in only_json(cli("status", "--json", **at)[1])["documents"]] == ["pending"] * 5
    (batch,) = only_json(cli("batch", "status", "--json")[1])
    assert (batch["requests"], batch["documents"], batch["collected"]) == (5, 5, False)
    code, out, _ = cli("batch", "status")
    assert code == 0 and batch["id"] in out.replace("\n", "") and "REQUESTS" in out
    code, out, err = cli("batch", "collect", "--wait", "--poll", "0.01", **at)
    assert code == 0 and "5 replies kept" in out and f"{batch['id']}: completed, 5 of 5" in err
    report = only_json(cli("batch", "submit", "--json", **at)[1])
    assert [dict(each["purposes"]) for each in report] == [{"glean": 5}]
    assert only_json(cli("batch", "collect", "--json", **at)[1])["replies"] == 5
    code, out, _ = cli("batch", "submit", **at)
    assert code == 0 and "nothing to ask" in out
    assert cli("resume", **at)[0] == 0
    single = [r for r in server.log if r.path.endswith("/completions") and r.batch is None]
    purposes = only_json(cli("costs", "--json", **at)[1])
    assert len(single) == sum(p["usage"]["calls"] for p in purposes if p["purpose"] == "summarize")
    assert only_json(cli("query", "Who was Ada Lovelace?", "--json", **at)[1])["text"]
    assert server.batches.files == {}


def test_what_failed_and_what_is_cancelled(cli: Cli, corpus: Path, failing: FakeOpenAIServer) -> None:
    at = environ(failing)
    assert cli("batch", "submit", str(corpus), **at)[0] == 0
    code, out, _ = cli("batch", "collect", **at)
    assert code == 0 and "not ready yet: 1" in out
    code, out, _ = cli("batch", "collect", "--wait", "--poll", "0.01", **at)
    assert code == 3 and "to be asked again" in out and "server_error" in out.replace("\n", "")
    (again,) = only_json(cli("batch", "submit", "--json", **at)[1])
    code, out, _ = cli("batch", "cancel", again["id"], **at)
    assert code == 0 and "cancelling" in out
    assert cli("batch", "collect", **at)[0] == 3
    code, _, err = cli("batch", "cancel", again["id"], **at)
    assert code == 2 and "is not with the provider" in err


def test_prices_and_wrong_usage(cli: Cli, corpus: Path, server: FakeOpenAIServer) -> None:
    at = environ(server)

    def money(*more: str) -> float:
        price = ("--price", "*=0", "--price", "gpt-5-mini=1,1" + "".join(more[:1]))
        told = only_json(cli("estimate", str(corpus), "--batch", "--json", *price, *more[1:], **at)[1])
        return float(told["money"])

    assert money(",0") < money(",0.25") < money() < money(",1")
    assert cli("estimate", str(corpus), "--price", "m=1,2,3,4", **at)[0] == 2
    code, _, err = cli("batch", "submit", str(corpus), "--workspace", "without")
    assert code == 2 and "not extracted by an LLM" in err
    assert cli("batch", "submit", str(corpus), "--server", "http://127.0.0.1:9", **at)[0] == 1
    assert cli("batch", "collect", "--poll", "0", **at)[0] == 2
    code, out, _ = cli("batch", "status")
    assert code == 0 and "There are no batches." in out
