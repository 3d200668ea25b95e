"""How the OpenAI SDK is used: a client for each event loop, no environment, our own errors."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx2
import openai

from stateless_rag.checks import optional, text
from stateless_rag.errors import (
    InvalidInput,
    InvalidReply,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from stateless_rag.providers.http import (
    PerLoop,
    checked_headers,
    code_of,
    connection_error,
    http_client,
    server_of,
    status_error,
    unsendable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["DEFAULT_BASE_URL", "LoopClients", "mapped_errors"]

DEFAULT_BASE_URL = "https://api.openai.com/v1"


class _Client(openai.AsyncOpenAI):
    """The SDK's client without what it takes from OPENAI_* variables."""

    def __init__(
        self, *, api_key: str, base_url: str, headers: Mapping[str, str], http_client: httpx2.AsyncClient
    ) -> None:
        super().__init__(
            api_key=api_key,
            admin_api_key="",
            organization="",
            project="",
            webhook_secret="",
            base_url=base_url,
            default_headers=headers,
            http_client=http_client,
            max_retries=0,
            timeout=None,
        )
        self.admin_api_key = self.organization = self.project = self.webhook_secret = None
        # OPENAI_CUSTOM_HEADERS was mixed in; there is no argument against it.
        self._custom_headers = dict(headers)
        self._ambient_authorizations = frozenset()


class LoopClients(PerLoop[openai.AsyncOpenAI]):
    """The clients of one provider, one for each event loop that calls it.

    The environment's proxies are not used: give a `http_client_factory` for that.
    """

    def __init__(
        self,
        *,
        api_key: str | None,
        base_url: str | None,
        headers: Mapping[str, str] | None,
        http_client_factory: Callable[[], httpx2.AsyncClient] | None,
    ) -> None:
        super().__init__()
        if api_key is not None and not isinstance(api_key, str):
            raise InvalidInput(f"api_key is a {type(api_key).__name__}; it must be a string")
        self._base_url = optional("base_url", base_url, text) or DEFAULT_BASE_URL
        self._server = server_of(self._base_url)
        if not api_key and self.is_default:
            raise InvalidInput(
                f"api_key is needed for {DEFAULT_BASE_URL}; it is not read from the environment"
            )
        # Servers without keys get a placeholder: the SDK insists on one.
        self._api_key = api_key or "none"
        self._headers = checked_headers(headers)
        self._factory = http_client_factory or http_client

    @property
    def is_default(self) -> bool:
        """Whether requests go to OpenAI itself."""
        return self._base_url.rstrip("/") == DEFAULT_BASE_URL

    @property
    def server(self) -> str:
        """Where requests are sent, for messages: without credentials and query."""
        return self._server

    def _open(self) -> openai.AsyncOpenAI:
        return _Client(
            api_key=self._api_key,
            base_url=self._base_url,
            headers=self._headers,
            http_client=self._factory(),
        )

    def _is_closed(self, client: openai.AsyncOpenAI) -> bool:
        return client.is_closed()

    async def _close(self, client: openai.AsyncOpenAI) -> None:
        await client.close()


@contextmanager
def mapped_errors(model: str, server: str) -> Iterator[None]:
    """Raise errors of the SDK as `ProviderError`s. Messages hold neither keys nor texts."""
    where = f"{model} at {server}"
    try:
        yield
    except openai.APITimeoutError as exc:
        raise ProviderTimeout(f"{where} did not answer in time") from exc
    except (openai.APIConnectionError, httpx2.HTTPError) as exc:
        raise connection_error(exc.__cause__ or exc, where) from exc
    except openai.APIStatusError as exc:
        raise _status_error(exc, where) from exc
    except openai.APIResponseValidationError as exc:
        raise InvalidReply(f"{where} answered with a body of another shape", status=exc.status_code) from exc
    except openai.APIError as exc:
        # What is left are errors that a server reports within a stream.
        code = code_of(exc.code, exc.type)
        kind = ProviderRateLimited if "rate_limit" in code or "429" in str(exc.code) else ProviderUnavailable
        raise kind(f"{where} broke off with an error{code}") from exc
    except openai.OpenAIError as exc:
        raise ProviderRejected(f"{where}: the request could not be made ({type(exc).__name__})") from exc
    except UnicodeEncodeError as exc:
        raise unsendable(exc, where) from exc
    except (UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise InvalidReply(f"{where} answered with something that is not JSON") from exc


def _status_error(exc: openai.APIStatusError, where: str) -> ProviderError:
    code = code_of(exc.code, exc.type)
    hint = "check the model's limits, extra_body and max_tokens"
    return status_error(exc.status_code, exc.response.headers, code, where, hint)
