"""One table for each workload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bench.report.cases import Case, cases
from bench.runs import Machine, Outcome
from bench.workloads.retrieval import MODES

__all__ = ["machine_lines", "table", "tables"]

_INGEST = MappingProxyType(
    {
        "seconds": "wall",
        "ms/passage": "ms_per_passage",
        "CPU s": "cpu",
        "peak MiB": "peak_mib",
        "disk MiB": "disk_mib",
        "LLM calls": "llm_calls",
        "tokens in": "tokens_in",
        "tokens out": "tokens_out",
        "embedding calls": "embed_calls",
        "texts": "embed_texts",
        "entities": "entities",
        "relations": "relations",
    }
)
_COLUMNS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "ingest": _INGEST,
        "slots": {"seconds": "wall", "slots busy": "busy", "CPU s": "cpu", "LLM calls": "llm_calls"},
        "together": {
            "seconds": "wall",
            "slots busy": "busy",
            "first done s": "first_s",
            "last done s": "last_s",
            "fairness": "fairness",
        },
        "retrieval": {
            **{f"{mode} p50 ms": f"{mode}_p50" for mode in MODES},
            **{f"{mode} p95 ms": f"{mode}_p95" for mode in MODES},
            "memory MiB": "memory_mib",
        },
        "retrieval beside an ingest": {
            "p50 ms": "p50",
            "p95 ms": "p95",
            "longest ms": "longest",
            "loop lag ms": "loop_lag",
            "passages/s": "passages_per_s",
        },
        "cold_open": {
            "imports ms": "imports",
            "store ms": "store",
            "workspace ms": "workspace",
            "first question ms": "question",
            "memory MiB": "memory_mib",
        },
        "many_workspaces": {
            "store ms": "store",
            "disk MiB": "disk_mib",
            "memory MiB": "memory_mib",
            "first question ms": "first_question_p50",
            "insert ms": "insert_p50",
            "longest insert ms": "longest_insert",
        },
        "deletion": {
            "seconds": "wall",
            "CPU s": "cpu",
            "LLM calls": "llm_calls",
            "texts embedded": "embed_texts",
        },
        "hub": {
            "seconds": "wall",
            "batch 2 s": "batch_02",
            "batch 10 s": "batch_10",
            "batch 20 s": "batch_20",
            "growth": "growth",
            "LLM calls": "llm_calls",
        },
        "calls": {
            "LLM calls/passage": "llm_calls_per_passage",
            "tokens in/passage": "tokens_in_per_passage",
            "tokens out/passage": "tokens_out_per_passage",
            "texts/passage": "embed_texts_per_passage",
            "seconds": "wall",
        },
        "codes": {
            "MiB of vectors": "vectors_mib",
            "recall@10 of the codes": "codes_recall",
            "recall@10 of a search": "recall",
            "search p50 ms": "p50",
        },
        "serving": {
            "quiet p50 ms": "quiet_p50",
            "quiet p95 ms": "quiet_p95",
            "p50 ms": "query_p50",
            "p95 ms": "query_p95",
            "longest ms": "query_longest",
            "/health p50 ms": "health_p50",
            "/health p95 ms": "health_p95",
            "/health longest ms": "health_longest",
            "passages/s": "passages_per_s",
            "memory MiB": "memory_mib",
            "peak MiB": "server_peak_mib",
        },
        "resident": {
            "started MiB": "started",
            "all used MiB": "touched",
            "all used, 256 may be open MiB": "usual",
            "closed again MiB": "closed",
        },
    }
)
_TITLES = MappingProxyType(
    {
        "ingest": "(a) Ingest, an LLM that answers at once",
        "slots": "(b) Ingest, 200 ms per LLM call, 16 at once",
        "together": "(c) Engines at once in one process, 200 ms per LLM call, one limit of 16",
        "retrieval": "(d) Retrieval, one question at a time, embedding not counted",
        "retrieval beside an ingest": "(d) Retrieval beside an ingest at full rate, embedding counted",
        "cold_open": "(e) Cold open",
        "many_workspaces": "(f) Many workspaces of one document in one root",
        "deletion": "(g) Delete documents",
        "hub": "(h) One entity in every chunk, in 20 batches",
        "calls": "(i) All settings at their defaults",
        "codes": "(j) Codes of vectors in the base segment (`StoreSettings.base_type`)",
        "serving": "(k) One server, 20 workspaces: 64 ask while as many documents come again",
        "resident": "(l) Memory of one server by its workspaces",
    }
)


def machine_lines(machine: Machine) -> str:
    """The machine and the versions."""
    versions = ", ".join(f"{name} {found}" for name, found in machine.versions.items())
    return (
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gib:g} GiB; {machine.system}; "
        f"Python {machine.python}; commit {machine.commit}; {machine.started}.\n{versions}."
    )


def tables(outcomes: Sequence[Outcome]) -> str:
    """A table for each workload that has outcomes: median, and lowest to highest where they differ."""
    grouped: dict[str, list[Case]] = {}
    for case in cases(outcomes):
        beside = case.run.variant == "ingesting"
        grouped.setdefault(
            f"{case.run.workload} beside an ingest" if beside else case.run.workload, []
        ).append(case)
    return "\n\n".join(
        f"### {_TITLES[name]}\n\n{table(grouped[name], columns)}"
        for name, columns in _COLUMNS.items()
        if name in grouped
    )


def table(rows: Sequence[Case], columns: Mapping[str, str]) -> str:
    """Rows of cases, columns of values; what failed says so across its row."""
    lines = [["arm", "documents", *columns], ["---", *["---:"] * (1 + len(columns))]]
    for case in rows:
        values = [case.measured(name) for name in columns.values()]
        cells = ["–" if value is None else str(value) for value in values]
        if case.trouble:
            cells[0] = f"{cells[0]} {_short(case.trouble)}"
        lines.append([_arm(case), _documents(case), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _arm(case: Case) -> str:
    run = case.run
    extras = [
        "HTTP" if run.transport == "http" else "",
        run.variant if run.variant == "filtered" or run.workload == "codes" else "",
        f"{run.count} asking" if run.variant == "ingesting" or run.workload == "serving" else "",
        f"{run.count} engine{'s' * (run.count > 1)}" if run.workload == "together" else "",
        f"placement {run.placement}" if run.workload == "many_workspaces" else "",
        f"{run.count} document{'s' * (run.count > 1)} in each workspace"
        if run.workload == "resident"
        else "",
    ]
    return ", ".join([run.arm, *filter(None, extras)])


def _documents(case: Case) -> str:
    run = case.run
    of = f"{run.count} of " if run.workload == "deletion" else ""
    if run.workload == "serving":
        return f"20 × {run.size:,}"
    if run.workload == "resident":
        return f"{run.size:,} workspaces"
    corpus = f" ({run.corpus})" if run.corpus != "2wiki" else ""
    return f"{of}{run.size:,}{corpus}"


def _short(trouble: str) -> str:
    one_line = " ".join(trouble.replace("|", "/").split())
    return one_line if len(one_line) <= 160 else f"{one_line[:159]}…"
