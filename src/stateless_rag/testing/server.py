"""A fake server that speaks OpenAI's HTTP API and those of rerankers, on asyncio alone."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from stateless_rag.checks import identifier, instance, number, optional, path, whole
from stateless_rag.errors import ProviderError
from stateless_rag.providers import as_embedder, as_llm, as_reranker
from stateless_rag.testing import wire
from stateless_rag.testing.answers import Answer, send
from stateless_rag.testing.batches import BatchBehaviour, FakeBatches
from stateless_rag.testing.deterministic import (
    DeterministicEmbedder,
    DeterministicLLM,
    DeterministicReranker,
)
from stateless_rag.testing.faults import (
    Disconnect,
    Fault,
    Faults,
    Hang,
    Malformed,
    RateLimited,
    ServedRequest,
    ServerError,
)
from stateless_rag.text import digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from stateless_rag.protocols import LLM, Embedder, Reranker

__all__ = ["FakeOpenAIServer", "ServerRecord"]

_READ_LIMIT = 1 << 20
_FILED = ("/v1/files", "/v1/batches")
_RERANKED = ("/rerank", "/text-rerank")
_SERVED = ("/chat/completions", "/embeddings", *_RERANKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """One request that the server got, and what became of it.

    `digest` is that of the messages (or inputs) and the model: equal requests have equal digests. Times are
    seconds since 1970. `finished` and `status` are None while it is being answered; a connection that was
    broken, by a fault or by the client, has the status 0. `fault` names what was done wrong. `batch` is the id of the
    batch that a request to a chat model was part of.
    """

    number: int
    path: str
    model: str
    digest: str
    stream: bool
    started: float
    finished: float | None = None
    status: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    fault: str | None = None
    method: str = "POST"
    batch: str | None = None


class FakeOpenAIServer:
    """Serves `POST /v1/chat/completions` (streamed too), `POST /v1/embeddings` and `GET /v1/models`, and
    `POST /v1/rerank` (or any other path that ends so) as Cohere, Jina, Text Embeddings Inference and Alibaba Cloud
    do. Files of requests are taken at `/v1/files` and `/v1/batches`, as `batches` says.

    `async with FakeOpenAIServer() as server:` serves on the running loop; `with server.in_thread():` on one
    of its own in a thread, for synchronous code and child processes. Answers come from `llm`, `embedder` and
    `reranker`, `latency` seconds after the request, or go wrong as `faults` say. `log` records every request; with
    `log_path` each is also appended there as a line of JSON, at once, when it is received and when it has
    been answered.
    """

    def __init__(
        self,
        llm: LLM | None = None,
        embedder: Embedder | None = None,
        *,
        latency: float = 0.0,
        reranker: Reranker | None = None,
        faults: Faults | None = None,
        log_path: Path | str | None = None,
        batches: BatchBehaviour | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._llm = DeterministicLLM() if llm is None else as_llm(llm)
        self._embedder = DeterministicEmbedder() if embedder is None else as_embedder(embedder)
        self._reranker = DeterministicReranker() if reranker is None else as_reranker(reranker)
        self._latency = number("latency", latency, least=0.0)
        self._faults = Faults() if faults is None else instance("faults", faults, kind=Faults)
        behaviour = optional("batches", batches, instance, kind=BatchBehaviour) or BatchBehaviour()
        self.batches = FakeBatches(self._batched, behaviour)
        self._log_path = optional("log_path", log_path, path)
        self._host, self._port = identifier("host", host), whole("port", port, most=65_535)
        self._lock = threading.Lock()
        self._records: list[ServerRecord] = []
        self._file: IO[str] | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()

    @property
    def base_url(self) -> str:
        """What to give a client: `http://host:port/v1`. Known once the server runs."""
        return f"http://{self._host}:{self._port}/v1"

    @property
    def log(self) -> tuple[ServerRecord, ...]:
        """The requests so far, in order of arrival."""
        with self._lock:
            return tuple(self._records)

    async def __aenter__(self) -> Self:
        self._open_log()
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=_READ_LIMIT)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Serve in a thread of its own until the block ends."""
        running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def serve() -> None:
            async with self:
                stop = asyncio.Event()
                running.set_result((asyncio.get_running_loop(), stop))
                await stop.wait()

        def run() -> None:
            try:
                asyncio.run(serve())
            except OSError as exc:
                running.set_exception(exc)

        thread = threading.Thread(target=run, name="fake-openai-server", daemon=True)
        thread.start()
        loop, stop = running.result()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (a coroutine runs in a task)
        self._connections.add(task)
        try:
            # Cancelled only when the server ends; raised further, asyncio would print it as an error.
            with suppress(
                ConnectionError,
                asyncio.IncompleteReadError,
                asyncio.LimitOverrunError,
                ValueError,
                asyncio.CancelledError,
            ):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and answer it; whether the connection can be used again."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, headers = wire.parse_head(head)
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        try:
            body = json.loads(content) if content else {}
        except ValueError:
            body = None
        if path.startswith(_FILED):
            target = head.split(b" ", 2)[1].decode("latin-1")
            return await self._filed(writer, method, path, target, headers, content)
        if method == "GET" and path.endswith("/models"):
            names = (self._llm.model, self._embedder.model)
            models = [{"id": name, "object": "model", "created": 0, "owned_by": "fake"} for name in names]
            return await send(writer, Answer(200, json.dumps({"object": "list", "data": models}).encode()))
        if method != "POST" or not path.endswith(_SERVED):
            return await send(writer, Answer(404, wire.error_body(404, "not_found")))
        if not isinstance(body, dict):
            return await send(writer, Answer(400, wire.error_body(400, "invalid_json")))
        served = self._received(path, body)
        answer = Answer(0)
        try:
            answer = await self._answer(served, body)
        finally:
            # Before it is sent, so that a client that has its answer finds it in the log.
            self._answered(served.number, answer if answer.whole else replace(answer, status=0))
        try:
            return await send(writer, answer)
        except ConnectionError:
            self._note(served.number, status=0)
            raise

    async def _filed(
        self,
        writer: asyncio.StreamWriter,
        method: str,
        path: str,
        target: str,
        headers: Mapping[str, str],
        content: bytes,
    ) -> bool:
        """Answer a request about files and batches; what a fault breaks off has been done all the same."""
        served = self._received(path, {}, method=method)
        fault = self._faults.choose(served)
        if fault is not None:
            self._note(served.number, fault=type(fault).__name__)
        refused = self._refused(fault)
        if refused is None or isinstance(fault, Disconnect):
            done = await self.batches.answer(method, target, headers, content)
            status, body = done or (404, wire.error_body(404, "not_found"))
            refused = Answer(status, wire.GARBAGE if fault == Malformed("body") else body)
            if isinstance(fault, Disconnect):
                refused = replace(refused, whole=False, status=0 if fault.when == "before" else status)
        await asyncio.sleep(fault.seconds if isinstance(fault, Hang) else self._latency)
        self._answered(served.number, refused if refused.whole else replace(refused, status=0))
        return await send(writer, refused)

    async def _batched(self, body: Mapping[str, Any], batch: str) -> tuple[int, Any]:
        """Answer one request of a batch."""
        served = self._received("/v1/chat/completions", body, batch=batch)
        answer = await self._answer(served, body)
        self._answered(served.number, answer)
        return answer.status or 500, json.loads(answer.body) if answer.body else {}

    @staticmethod
    def _refused(fault: Fault | None) -> Answer | None:
        """The answer of a fault that keeps a request from being carried out."""
        match fault:
            case RateLimited(retry_after):
                wait = () if retry_after is None else (("Retry-After", f"{retry_after:g}"),)
                return Answer(429, wire.error_body(429, "rate_limit_exceeded"), headers=wait)
            case ServerError(status):
                return Answer(status, wire.error_body(status, "server_error" if status >= 500 else "refused"))
            case Disconnect("before"):
                return Answer(0, whole=False)
        return None

    async def _answer(self, served: ServedRequest, body: Mapping[str, Any]) -> Answer:
        fault = self._faults.choose(served)
        if fault is not None:
            self._note(served.number, fault=type(fault).__name__)
        await asyncio.sleep(self._latency)
        if isinstance(fault, Hang):
            await asyncio.sleep(fault.seconds)
        elif (refused := self._refused(fault)) is not None:
            return refused
        try:
            if served.path.endswith("/embeddings"):
                answer = await self._embeddings(body, fault)
            elif served.path.endswith(_RERANKED):
                answer = await self._rerank(body, fault)
            else:
                answer = await self._chat(body, fault)
        except ProviderError as exc:
            status = exc.status or 500
            return Answer(status, wire.error_body(status, type(exc).__name__))
        except (KeyError, IndexError, AttributeError, TypeError):
            return Answer(400, wire.error_body(400, "invalid_request"))
        return replace(answer, whole=not isinstance(fault, Disconnect))

    async def _chat(self, body: Mapping[str, Any], fault: Fault | None) -> Answer:
        reply = wire.spoiled_reply(await self._llm.complete(wire.chat_request(body)), fault)
        tokens = (reply.prompt_tokens or 0, reply.completion_tokens or 0)
        model = str(body.get("model", ""))
        if not body.get("stream"):
            content = json.dumps(wire.chat_body(model, reply)).encode()
            return Answer(200, wire.GARBAGE if fault == Malformed("body") else content, tokens=tokens)
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        events = [json.dumps(event).encode() for event in wire.stream_events(model, reply, usage=usage)]
        if fault == Malformed("body"):
            events.insert(len(events) // 2, wire.GARBAGE)
        return Answer(200, events=(*events, b"[DONE]"), tokens=tokens)

    async def _embeddings(self, body: Mapping[str, Any], fault: Fault | None) -> Answer:
        embeddings = await self._embedder.embed(wire.input_texts(body), role="document")
        encoding = str(body.get("encoding_format", "float"))
        content = wire.embeddings_body(str(body.get("model", "")), embeddings, encoding=encoding)
        content["data"] = wire.spoiled_rows(content["data"], fault)
        encoded = wire.GARBAGE if fault == Malformed("body") else json.dumps(content).encode()
        return Answer(200, encoded, tokens=(embeddings.tokens or 0, 0))

    async def _rerank(self, body: Mapping[str, Any], fault: Fault | None) -> Answer:
        question, texts = wire.rerank_texts(body)
        ranks = await self._reranker.rerank(question, texts, top_n=wire.rerank_top_n(body, len(texts)))
        content = wire.rerank_body(body, wire.spoiled_ranks(ranks, fault))
        return Answer(200, wire.GARBAGE if fault == Malformed("body") else json.dumps(content).encode())

    def _received(
        self, path: str, body: Mapping[str, Any], *, method: str = "POST", batch: str | None = None
    ) -> ServedRequest:
        texts = _texts(path, body)
        model = str(body.get("model", ""))
        with self._lock:
            record = ServerRecord(
                number=len(self._records) + 1,
                path=path,
                model=model,
                digest=digest(path, model, *texts),
                stream=bool(body.get("stream")),
                started=time.time(),
                method=method,
                batch=batch,
            )
            self._records.append(record)
            self._write("received", record)
        return ServedRequest(
            number=record.number,
            path=path,
            model=model,
            stream=record.stream,
            text="\n".join(texts),
            digest=record.digest,
            method=method,
            batch=batch,
        )

    def _answered(self, number: int, answer: Answer) -> None:
        prompt, completion = answer.tokens
        self._note(
            number,
            event="answered",
            finished=time.time(),
            status=answer.status,
            prompt_tokens=prompt,
            completion_tokens=completion,
        )

    def _note(self, number: int, *, event: str | None = None, **changes: Any) -> None:
        with self._lock:
            record = replace(self._records[number - 1], **changes)
            self._records[number - 1] = record
            if event is not None:
                self._write(event, record)

    def _open_log(self) -> None:
        if self._log_path is not None:
            self._file = self._log_path.open("a", encoding="utf-8")

    def _write(self, event: str, record: ServerRecord) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"event": event, **asdict(record)}) + "\n")
            self._file.flush()


def _texts(path: str, body: Mapping[str, Any]) -> list[str]:
    """What a request is about."""
    if path.endswith("/embeddings"):
        return wire.input_texts(body)
    if path.endswith(_RERANKED):
        listed = body.get("texts", body.get("documents"))
        return [str(body.get("query")), *(map(str, listed) if isinstance(listed, list) else ())]
    return wire.message_texts(body)
