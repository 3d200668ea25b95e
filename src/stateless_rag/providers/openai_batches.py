"""Batch files behind the OpenAI HTTP API: requests go up as a file, replies come down as one, within a day."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any, Final, cast, get_args

import openai

from stateless_rag.errors import InvalidReply, ProviderError, ProviderRejected
from stateless_rag.protocols import BatchReply, BatchState
from stateless_rag.providers.http import code_of, parse_json
from stateless_rag.providers.openai_client import mapped_errors
from stateless_rag.types import BatchStatus

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from stateless_rag.protocols import LLMReply, LLMRequest
    from stateless_rag.providers.openai_client import LoopClients

__all__ = ["OpenAIBatches"]

_ENDPOINT: Final = "/v1/chat/completions"
_NAME = "stateless_rag"  # the key of the metadata under which a batch can be found again
_REQUESTS, _BYTES = 50_000, 200_000_000
_SLACK = 86_400.0  # seconds that the provider's clock may be behind ours
_PIECE = 1 << 16
_GONE = 404


class OpenAIBatches:
    """Implements `Batches` for the chat model of an `OpenAILLM`, with its connections.

    `arguments` makes the body of a request, `read` the reply of a body.
    """

    def __init__(
        self,
        model: str,
        clients: LoopClients,
        arguments: Callable[[LLMRequest], dict[str, Any]],
        read: Callable[[Mapping[str, Any]], LLMReply],
        *,
        max_requests: int = _REQUESTS,
        max_bytes: int = _BYTES,
    ) -> None:
        self._model = model
        self._clients = clients
        self._arguments = arguments
        self._read = read
        self.max_requests = max_requests
        self.max_bytes = max_bytes

    def line(self, key: str, request: LLMRequest) -> bytes:
        """One request as a line of the file."""
        arguments = self._arguments(request)
        body = arguments | arguments.pop("extra_body", {})
        told = {"custom_id": key, "method": "POST", "url": _ENDPOINT, "body": body}
        return json.dumps(told).encode("ascii") + b"\n"

    async def submit(self, name: str, lines: IO[bytes]) -> str:
        """Upload the file, and begin a batch of it whose metadata has the name."""
        client = self._clients.get()
        with self._errors():
            uploaded = await client.files.create(
                file=(f"{name}.jsonl", lines, "application/jsonl"), purpose="batch"
            )
            begun = await client.batches.create(
                input_file_id=_id(uploaded),
                endpoint=_ENDPOINT,
                completion_window="24h",
                metadata={_NAME: name},
                extra_headers={"Idempotency-Key": name},
            )
        return _id(begun)

    async def find(self, name: str, since: float) -> str | None:
        """Look through the batches, newest first."""
        with self._errors():
            async for batch in self._clients.get().batches.list(limit=100):
                if (getattr(batch, "metadata", None) or {}).get(_NAME) == name:
                    return _id(batch)
                if _is_older(batch, since):
                    break
        return None

    async def poll(self, id_: str) -> BatchState:
        """How far the batch is."""
        batch = await self._retrieve(id_)
        status = batch.get("status")
        if status not in get_args(BatchStatus):
            raise InvalidReply(f"{self._model} told of a batch of unknown status")
        done = _mapping(batch.get("request_counts")).get("completed")
        error = _first_error(batch) if status == "failed" else None
        return BatchState(
            status=cast("BatchStatus", status), done=done if isinstance(done, int) else 0, error=error
        )

    async def replies(self, id_: str) -> AsyncGenerator[BatchReply]:
        """The lines of the file of replies, then those of the file of errors."""
        batch = await self._retrieve(id_)
        for name in ("output_file_id", "error_file_id"):
            if file := batch.get(name):
                async for line in self._lines(str(file)):
                    if line.strip():
                        yield self._reply(line)

    async def cancel(self, id_: str) -> None:
        """Stop the batch."""
        with self._errors():
            await self._clients.get().batches.cancel(id_)

    async def remove(self, name: str, id_: str | None, since: float) -> None:
        """Delete what was uploaded under the name, be it once or more, and what came of it."""
        files = self._clients.get().files
        found: dict[str, None] = {}
        if id_ is not None:
            batch = await self._known(id_)
            ids = (batch.get(part) for part in ("input_file_id", "output_file_id", "error_file_id"))
            found.update(dict.fromkeys(str(file) for file in ids if file))
        with self._errors():
            async for file in files.list(purpose="batch", order="desc"):
                if file.filename == f"{name}.jsonl":
                    found[_id(file)] = None
                elif _is_older(file, since):
                    break
            for each in found:
                try:
                    await files.delete(each)
                except openai.NotFoundError:
                    continue

    def _errors(self) -> Any:
        return mapped_errors(self._model, self._clients.server)

    async def _retrieve(self, id_: str) -> Mapping[str, Any]:
        with self._errors():
            batch = await self._clients.get().batches.retrieve(id_)
        return _mapping(batch.to_dict(mode="python", warnings=False) if hasattr(batch, "to_dict") else None)

    async def _known(self, id_: str) -> Mapping[str, Any]:
        try:
            return await self._retrieve(id_)
        except ProviderRejected as error:
            if error.status != _GONE:
                raise
            return {}

    async def _lines(self, file: str) -> AsyncGenerator[bytes]:
        """The lines of a file; only a line feed ends one, whatever else Unicode takes for an end of line."""
        files = self._clients.get().files
        rest = b""
        with self._errors():
            async with files.with_streaming_response.content(file) as response:
                async for piece in response.iter_bytes(_PIECE):
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        yield line
        yield rest

    def _reply(self, line: bytes) -> BatchReply:
        try:
            told = _mapping(parse_json(line, self._model))
        except InvalidReply:
            return BatchReply(key="", error="a line cannot be read")
        key = told.get("custom_id")
        if not isinstance(key, str):
            return BatchReply(key="", error="a line names no request")
        answer = _mapping(told.get("response"))
        failed = _mapping(told.get("error"))
        status = answer.get("status_code")
        if failed or status != 200:
            within = _mapping(_mapping(answer.get("body")).get("error"))
            code = code_of(failed.get("code"), within.get("code"), within.get("type"))
            return BatchReply(key=key, error=f"answered {status}{code}" if answer else f"not answered{code}")
        try:
            return BatchReply(key=key, reply=self._read(_mapping(answer.get("body"))))
        except ProviderError as error:
            return BatchReply(key=key, error=f"{type(error).__name__}: {error}")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _id(told: Any) -> str:
    id_ = getattr(told, "id", None)
    if not isinstance(id_, str) or not id_:
        raise ProviderRejected("the server answered without an id; does it know batch files?")
    return id_


def _is_older(told: Any, since: float) -> bool:
    made = getattr(told, "created_at", None)
    return isinstance(made, int | float) and 0 < made < since - _SLACK


def _first_error(batch: Mapping[str, Any]) -> str:
    """Why a batch failed as a whole: the code alone, since messages may repeat what was sent."""
    errors = _mapping(batch.get("errors")).get("data")
    first = _mapping(errors[0]) if isinstance(errors, list) and errors else {}
    return f"the provider refused it{code_of(first.get('code'))}"
