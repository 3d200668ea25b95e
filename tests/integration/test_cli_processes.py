"""The command line and the demo in processes of their own: help, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from integration.command_line import PROJECT, Cli, only_json
from stateless_rag.testing import FakeOpenAIServer


def test_the_encoding_script_explains_itself(tmp_path: Path) -> None:
    script = str(PROJECT / "scripts" / "build_encoding.py")

    def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, script, *arguments], capture_output=True, text=True, timeout=60
        )

    told = run_script("--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert "npm pack js-tiktoken" in told.stdout
    missing = run_script(str(tmp_path / "gone.js"))
    assert missing.returncode == 1
    assert "gone.js cannot be read" in missing.stderr


def test_python_m_and_help() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stateless_rag", "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "Exit codes: 0 done; 1 error; 2 wrong usage" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "gone"),
    [
        (["--help"], "stdout"),
        (["--version"], "stdout"),
        (["workspaces", "--help"], "stdout"),
        (["workspaces", "list"], "stdout"),
        (["workspaces", "list", "--json"], "stdout"),
        (["frobnicate"], "stderr"),
        (["status", "--workspace", "none"], "stderr"),
    ],
)
def test_a_reader_that_went_away_is_no_error(
    cli: Cli, arguments: list[str], gone: str, tmp_path: Path
) -> None:
    assert cli("workspaces", "create", "a")[0] == 0
    reading, writing = os.pipe()
    os.close(reading)
    out, err = (writing if gone == name else subprocess.PIPE for name in ("stdout", "stderr"))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "stateless_rag", *arguments],
            cwd=tmp_path,
            timeout=280,
            stdout=out,
            stderr=err,
        )
    finally:
        os.close(writing)
    assert done.returncode == 141
    assert not done.stdout and not done.stderr


def test_ctrl_c_leaves_a_workspace_that_resumes(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    with FakeOpenAIServer(latency=30.0).in_thread() as slow:
        environ = {"PATH": os.environ["PATH"], "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": slow.base_url}
        child = subprocess.Popen(
            [sys.executable, "-m", "stateless_rag", "ingest", "corpus"],
            cwd=tmp_path,
            env=environ,
            # Where the tests run in the background, SIGINT may be ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until = time.monotonic() + 240
            while not slow.log and time.monotonic() < until:
                time.sleep(0.05)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=280)
        finally:
            child.kill()
            child.wait()
    assert child.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert "stateless-rag resume --root stateless-rag-data --workspace default" in err
    assert only_json(cli("status", "--json")[1])["workspace"]["documents"]["pending"] == 5
    with FakeOpenAIServer().in_thread() as quick:
        code, out, _ = cli("resume", "--json", OPENAI_API_KEY="k", OPENAI_BASE_URL=quick.base_url)
    assert code == 0
    assert only_json(out)["counts"] == {"processed": 5}


_INTERRUPTED_AT = """
import importlib.abc, os, signal, sys
from stateless_rag.cli import main

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == sys.argv.pop():
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupt())
sys.argv[1:] = ["status"]
main()
"""


@pytest.mark.parametrize("module", ["stateless_rag.cli.app", "numpy", "duckdb"])
def test_ctrl_c_while_modules_are_loaded_is_one_line(tmp_path: Path, module: str) -> None:
    child = _INTERRUPTED_AT.replace("sys.argv.pop()", repr(module))
    done = subprocess.run(
        [sys.executable, "-c", child], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nInterrupted.\n")


def test_the_demo_runs_twice(tmp_path: Path) -> None:
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(PROJECT / "examples" / "demo.py"), str(tmp_path / "demo")],
            capture_output=True,
            text=True,
            timeout=120,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "36 documents ready (0 unchanged" in said[0]
    assert "36 documents ready (36 unchanged" in said[1]
    assert said[1].count("Entities that led there:") == 3
    assert "characters 0–" in said[1]


def test_the_demo_streams_an_answer_with_a_server(tmp_path: Path, server: FakeOpenAIServer) -> None:
    done = subprocess.run(
        [sys.executable, str(PROJECT / "examples" / "demo.py"), str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": os.environ["PATH"], "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": server.base_url},
    )
    assert done.returncode == 0, done.stdout
    assert "36 documents ready" in done.stdout
    assert sum(record.stream for record in server.log) == 3
