"""The command line on a server: every command does and prints what it does and prints on a folder."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer

from server.serving import listening, served
from stateless_rag import Document, Engine, Event, Store
from stateless_rag.cli.app import build, run
from stateless_rag.client import RemoteEngine, Server
from stateless_rag.server import ServerSettings, create_app

Run = Callable[..., tuple[int, str, str]]

ADA = "Ada Lovelace wrote notes on the Analytical Engine. Ada Lovelace met Charles Babbage in London."
BABBAGE = "Charles Babbage designed the Analytical Engine. Charles Babbage lived in London."
CARDS = "Jacquard cards drove the loom. A card held one row. The Analytical Engine read cards."

# Each line is a command; W is the workspace of its scenario, and a leading ~ stands for an error that is expected.
# What is new comes alone: how many commits and calls it takes to bring two documents in is a matter of time.
SCENARIOS = {
    "documents": """
        ingest ada.txt
        ingest babbage.txt
        ingest ada.txt babbage.txt --json
        status
        status --json
        status --failed --json
        resume
        resume --truncated --json
        estimate cards.txt ada.txt
        estimate cards.txt --json --price *=1,2
        costs
        costs --json --by purpose --by model --since 2020-01-01 --price *=1
        budget
        budget --tokens 100000 --daily --json
        budget --money 2.5 --price *=1,2
        ingest cards.txt --budget 0
        status
        budget --none
        ~ budget --money 5
        ~ resume --price *=1
        budget
        budget --tokens 1000000 --daily
        status
        budget --json
        budget --none
        ~ budget --none --tokens 5
        disable babbage.txt nothing.txt
        status
        enable babbage.txt --json
        upgrade --all
        upgrade ada.txt --json
        delete ada.txt nowhere.txt
        delete babbage.txt --erase --json
        status
        ~ status --workspace missing
        ~ ingest nowhere.txt
        ~ costs --by nothing
        """,
    "questions": """
        ingest ada.txt
        ingest babbage.txt
        ingest cards.txt
        query "Who designed the engine?"
        query "Who designed the engine?" --mode naive --json
        query "Who designed the engine?" --mode local --json --trace
        query "Who designed the engine?" --stream
        query "Who designed the engine?" --stream --json --top-k 3 --chunk-top-k 2
        query "Who designed the engine?" --only-context
        query "Who?" --where {"year":{"gte":1990}} --json
        explain "Who designed the engine?" --expect ada.txt
        explain "Who designed the engine?" --json
        ~ query "Who?" --mode nothing
        ~ query "Who?" --where nothing
        """,
    "graph": """
        ingest ada.txt
        ingest babbage.txt
        ingest cards.txt
        graph show "Ada Lovelace"
        graph show * --json --limit 3
        graph show "Ada Lovelac"
        graph search Babage
        graph search Babage --json
        graph labels --limit 4
        graph labels --popular --json
        graph types
        graph types --json
        graph insert graph.json
        graph insert graph.json --json --document-id kg
        communities
        communities --json
        communities nothing
        resolve
        resolve --json --least 0.5
        resolve --reject "Charles Babbage" London
        resolve --apply --json
        """,
    "curation": """
        ingest ada.txt
        curate create "Note G" --type note --description "The first program."
        curate edit "Note G" --type text --json
        curate rename "Note G" "Note 7"
        curate relate "Note 7" "Ada Lovelace" --keywords "by, of" --weight 3
        curate edit-relation "Note 7" "Ada Lovelace" --description "Written by her." --json
        curate alias Ada "Ada Lovelace"
        curate alias Ada --json
        curate merge "Note 7" --into "Ada Lovelace"
        curate unrelate "Ada Lovelace" "Charles Babbage"
        curate delete "Charles Babbage"
        curate undo 2
        curate history
        curate history "Ada Lovelace" --limit 2 --json
        ~ curate undo 99
        ~ curate edit Nobody --type x
        """,
    "keeping": """
        ingest ada.txt
        settings show --json
        settings set extraction.language=German chunking.max_tokens=300
        settings unset extraction
        ~ settings set chunking.max_tokens=-1
        check
        check --deep --json
        repair --json
        clear-cache
        clear-cache --purpose answer --json
        export OUT.graphml --json
        export OUT.jsonl
        backup OUT.backup
        ~ backup OUT.backup
        restore OUT.backup --as W-restored
        ~ restore OUT.backup --as W-restored
        restore OUT.backup --as W-restored --overwrite --json
        import-jsonl OUT.jsonl
        import-jsonl OUT.jsonl --json
        copy W-copy
        compact
        workspaces create W-new
        ~ workspaces create W-new
        workspaces list --json
        workspaces describe W-copy
        reembed W-copy --embedder hashing
        reembed W-copy --embedder hashing --json
        workspaces drop W-copy --yes --json
        ~ workspaces drop W-copy --yes
        ~ workspaces describe W-copy
        """,
    "batches": """
        ~ batch submit ada.txt
        status
        ~ batch submit
        batch status
        batch status --json
        ~ batch collect
        ~ batch cancel nothing --forget
        """,
}
# These work on a folder alone, or serve one.
HERE = frozenset({"serve", "evaluate", "import"})


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server behind a socket, in a thread of its own."""
    with served(create_app(ServerSettings(root=str(tmp_path_factory.mktemp("served"))))) as found:
        yield found


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a folder with a few files: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    # A line now and then, which a slow machine shows and a fast one does not.
    monkeypatch.setattr("stateless_rag.cli.progress._SECONDS_BETWEEN_LINES", math.inf)
    for name, text in (("ada.txt", ADA), ("babbage.txt", BABBAGE), ("cards.txt", CARDS)):
        Path(name).write_text(text)
    chunk = {"content": "Colossus was built in Bletchley.", "source_id": "c", "file_path": "c.txt"}
    machine = {"entity_name": "Colossus", "entity_type": "machine", "description": "Big.", "source_id": "c"}
    graph = {"chunks": [chunk], "entities": [machine], "relationships": []}
    Path("graph.json").write_text(json.dumps(graph))

    def call(*arguments: str, **environ: str) -> tuple[int, str, str]:
        code = run(arguments, environ)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_command_says_the_same_on_a_server(cli: Run, address: str, scenario: str) -> None:
    for command in _commands(scenario):
        expected = command[0] == "~"
        words = command[expected:]
        here = cli(*_placed(words, scenario, "here"), "--root", "root")
        there = cli(*_placed(words, scenario, "there"), "--server", address)
        assert (here[0] in (1, 2)) == expected, (command, here)
        assert _masked(there, address) == _masked(here, address), command


def test_all_commands_are_tried() -> None:
    tried = {_name(words) for scenario in SCENARIOS for words in _commands(scenario)}
    assert tried | HERE == set(_names(typer.main.get_command(build())))
    assert not tried & HERE


def _commands(scenario: str) -> Iterator[list[str]]:
    """The words of each command; quotes hold those together that have spaces."""
    for line in SCENARIOS[scenario].strip().splitlines():
        yield [quoted or plain for quoted, plain in re.findall(r'(?:"([^"]+)"(?= |$))|(\S+)', line.strip())]


def _placed(words: Sequence[str], scenario: str, side: str) -> list[str]:
    made = [re.sub(r"^W(?=-)", scenario, word).replace("OUT", f"out-{side}") for word in words]
    named = any(word in ("workspaces", "--workspace", "reembed") for word in made)
    return made if named else [*made, "--workspace", scenario]


_GROUPS = ("batch", "graph", "curate", "settings", "workspaces")
_VARIES = frozenset(
    {
        "seconds",
        "tracking_id",
        "updated_at",
        "created_at",
        "at",
        "bytes",
        "timings",
        "id",
        "path",
        "trace_id",
        "before",
        "after",
    }
)


def _name(words: Sequence[str]) -> str:
    words = [word for word in words if word != "~"]
    return " ".join(words[:2]) if words[0] in _GROUPS else words[0]


def _names(command: Any, before: str = "") -> Iterator[str]:
    for name, each in getattr(command, "commands", {}).items():
        if hasattr(each, "commands"):
            yield from _names(each, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def _masked(said: tuple[int, str, str], address: str) -> tuple[int, Any, str]:
    """What was said, without times, sizes, names that are drawn, and where it was."""
    code, out, err = said
    try:
        told: Any = [_timeless(json.loads(line)) for line in out.splitlines()]
    except ValueError:
        told = _plain(out)
    return code, told, _plain(err.replace(f"--server {address}", "PLACE").replace("--root root", "PLACE"))


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in _VARIES or isinstance(v, list)}
    if isinstance(value, list):
        listed = [_timeless(each) for each in value]
        # Of the workspaces of a server, those of other scenarios too.
        return [each for each in listed if not (isinstance(each, dict) and "placement" in each)]
    return value


def _plain(text: str) -> str:
    text = re.sub(r"[\d.]+ (s|kB|MB|B)\b|\d{4}-\d\d-\d\d \S+", "VARIES", text)
    text = re.sub(r"out-(here|there)", "OUT", text)
    text = re.sub(r"(there is no workspace '[^']+') (in|on) [^;]+;", r"\1;", text)
    return re.sub(r"[ \t]+", " ", text)


# ---- the client ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("remote", "local"), [(RemoteEngine, Engine), (Server, Store)])
def test_the_client_has_the_librarys_names(remote: type, local: type) -> None:
    own = {"url", "workspace", "create", "insert", "open"}
    for name, method in {
        (n, m) for kind in remote.__mro__[:-1] for n, m in vars(kind).items() if callable(m)
    }:
        if name.startswith("_") or not inspect.isfunction(method) or name in own:
            continue
        known = inspect.signature(getattr(local, name)).parameters
        for parameter in list(inspect.signature(method).parameters.values())[1:]:
            same = known[parameter.name]
            assert (parameter.kind, parameter.default) == (same.kind, same.default), (name, parameter)


async def test_who_stops_waiting_leaves_documents_to_the_server(tmp_path: Path) -> None:
    async with listening(tmp_path) as url, Server.open(url) as server:
        engine = server.workspace("left")
        documents = [Document(f"{ADA} Part {n}.", id=f"d{n}") for n in range(20)]
        async with aclosing(engine.insert_events(documents)) as events:
            first = await anext(events)
        assert first.kind == "accepted"
        async with asyncio.timeout(240):
            while [row.status for row in await engine.documents()] != ["processed"] * 20:  # noqa: ASYNC110 -- over HTTP
                await asyncio.sleep(0.05)


async def test_what_is_sent_in_groups_is_reported_as_one(tmp_path: Path) -> None:
    documents = [Document(f"{ADA} Part {n}.", id=f"d{n:03}") for n in range(130)]
    seen: list[Event] = []
    async with listening(tmp_path, options=None) as url, Server.open(url) as server:
        report = await server.workspace("many", observer=seen.append).insert(documents)
        again = await server.workspace("many").insert(documents)
    assert [each.id for each in report.documents] == [each.id for each in documents]
    assert report.counts == {"processed": 130}
    assert sum(event.kind == "committed" for event in seen) == 130
    assert all(each.unchanged for each in again.documents)
    assert report.revision == again.revision


# ---- errors --------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_said_so(cli: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
        code, _, err = cli("status", "--server", nowhere)
    assert code == 1
    assert nowhere in err
    assert "stateless-rag serve" in err


@pytest.mark.parametrize("wrong", ["127.0.0.1:9621", "ftp://x", "http://", "http://x?y", ""])
def test_an_address_that_is_none_is_wrong_usage(cli: Run, wrong: str) -> None:
    assert cli("status", "--server", wrong)[0] == 2


def test_folder_and_server_do_not_go_together(cli: Run, address: str) -> None:
    assert cli("status", "--server", address, "--root", "x")[0] == 2
    assert cli("ingest", "ada.txt", "--server", address, "--offline")[0] == 2
    assert cli("import", ".", "--server", address, "--replace")[0] == 2
    assert cli("import", ".", "--server", address, "--root", "x")[0] == 2


def test_the_environment_names_the_server_and_a_folder_wins_over_it(cli: Run, address: str) -> None:
    assert cli("workspaces", "list", STATELESS_RAG_SERVER=address)[0] == 0
    code, _, err = cli("workspaces", "list", "--root", "none", STATELESS_RAG_SERVER=address)
    assert code == 1
    assert "'none'" in err


def test_a_root_that_is_served_names_the_way_to_the_server(cli: Run, tmp_path: Path) -> None:
    cli("ingest", "ada.txt", "--root", "held")
    with _held(tmp_path / "held"):
        code, _, err = cli("status", "--root", "held")
    assert code == 1
    assert "--server" in err


@contextmanager
def _held(root: Path) -> Iterator[None]:
    """A store on the root, in this process."""
    loop = asyncio.new_event_loop()
    store = loop.run_until_complete(_opened(root))
    try:
        yield
    finally:
        loop.run_until_complete(store.close())
        loop.close()


async def _opened(root: Path) -> Store:
    return await Store.open(root)


ANSWERS = {
    "no key": (401, "application/problem+json", {"detail": "API Key required"}, "STATELESS_RAG_KEY"),
    "a wrong key": (403, "application/problem+json", {"detail": "may only read"}, "may only read"),
    "nothing there": (404, "application/problem+json", {"detail": "Not Found"}, "Not Found"),
    "in the way": (409, "application/problem+json", {"detail": "is there"}, "is there"),
    "too large": (413, "application/problem+json", {"detail": "at most 5 bytes"}, "at most 5 bytes"),
    "too large for a proxy": (413, "text/html", "<html>", "proxy"),
    "too much": (429, "application/problem+json", {"detail": "spent"}, "in 7 s"),
    "a full queue": (503, "application/problem+json", {"detail": "full", "error": "Overloaded"}, "full"),
    "a budget": (
        402,
        "application/problem+json",
        {"detail": "used up", "error": "BudgetExhausted"},
        "used up",
    ),
    "a proxy without a server": (502, "text/html", "<html>", "later"),
    "another server": (404, "text/html", "<html>", "address"),
    "another server that is glad": (200, "text/html", "<html>", "address"),
    "another version": (200, "application/json", {"name": 1}, "version"),
    "a redirect": (302, "text/html", "", "address"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_a_server_refuses_is_an_error_that_says_so(cli: Run, answer: str) -> None:
    status, kind, body, told = ANSWERS[answer]
    said = body if isinstance(body, str) else json.dumps(body)
    with _answering(status, kind, said) as address:
        code, out, err = cli("workspaces", "describe", "papers", "--server", address, "--key", "secret")
    assert (code, out) == (1, "")
    assert told in err
    assert "secret" not in err


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_what_speaks_otherwise_is_said_so(cli: Run, scheme: str) -> None:
    with _answering(200, "text/plain", "x", garbled=True) as address:
        code, _, err = cli("status", "--server", address.replace("http", scheme))
    assert code == 1
    assert ("HTTPS" if scheme == "https" else "HTTP") in err


@contextmanager
def _answering(status: int, kind: str, body: str, *, garbled: bool = False) -> Iterator[str]:
    """A server that answers everything alike."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nRetry-After: 7\r\nLocation: http://elsewhere/\r\n"
    said = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"garbled\r\n\r\n" if garbled else said)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()
