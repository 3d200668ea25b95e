"""What a server is run with: one frozen value. `stateless_rag.server.configuration` reads it from the environment."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from stateless_rag.checks import (
    choice,
    each_field,
    flag,
    instance,
    instances,
    number,
    optional,
    text,
    texts,
    whole,
)
from stateless_rag.errors import InvalidInput
from stateless_rag.stores.duckdb.names import check_name

__all__ = ["Access", "Account", "ApiKey", "Quota", "ServerSettings"]

Access = Literal["read", "write", "admin"]
"""Each may do what the one before may: ask and look, change documents and the graph, make and drop workspaces."""

_ACCESS = ("read", "write", "admin")
_MIB = 2**20
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_ALGORITHMS = ("HS256", "HS384", "HS512")


def _allowed(name: str, value: object) -> tuple[str, ...]:
    names = texts(name, value)
    for each in names:
        if each != "*":
            check_name(each)
    if not names:
        raise InvalidInput(f"{name} is empty; name workspaces, or say * for all")
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key and what it opens: workspaces by name, "*" for all. `name` is how logs call it."""

    key: str = field(repr=False)
    name: str = "key"
    workspaces: tuple[str, ...] = ("*",)
    access: Access = "admin"

    def __post_init__(self) -> None:
        each_field(self, text, "key", "name")
        each_field(self, _allowed, "workspaces")
        each_field(self, choice, "access", among=_ACCESS)
        if not self.key.strip() or not self.key.isascii() or not self.key.isprintable():
            raise InvalidInput(
                f"the API key {self.name!r} is blank or not ASCII; HTTP headers cannot carry it"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who may log in. `password` is kept as it is, or, as "{bcrypt}$2b$…", as a hash of it."""

    name: str
    password: str = field(repr=False)
    workspaces: tuple[str, ...] = ("*",)
    access: Access = "admin"

    def __post_init__(self) -> None:
        each_field(self, text, "name", most=256)
        each_field(self, text, "password")
        each_field(self, _allowed, "workspaces")
        each_field(self, choice, "access", among=_ACCESS)
        if not self.name.strip() or not self.password:
            raise InvalidInput("an account needs a name and a password")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one workspace may take; None is without bound. More is answered with 429.

    `documents` and `characters` count what it holds, `tokens_per_day` what providers were paid since midnight (UTC),
    as the workspace's ledger has it, `requests_per_minute` all requests.
    """

    documents: int | None = None
    characters: int | None = None
    tokens_per_day: int | None = None
    requests_per_minute: int | None = None

    def __post_init__(self) -> None:
        names = ("documents", "characters", "tokens_per_day", "requests_per_minute")
        each_field(self, optional, *names, check=whole, least=1, most=2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How a server behaves. Sizes are bytes, times seconds unless their names say otherwise.

    Requests without a workspace get `default_workspace`. `create_on_write`: writing to a workspace that there is
    not makes it, `placement` is where (as in `StoreSettings`). Without `keys` and `accounts` everybody may do
    everything: bind to 127.0.0.1 then. `accounts` need a `token_secret`. `open_paths` need no key: exact paths, or
    "/x/*" for all below; paths under /api/v1 and /v1 must be named as such. `allowed_hosts` are the names that
    requests may call the server by; none: any. At most `max_open` workspaces are open; those not used for
    `max_idle` seconds are closed, and who asks for one more waits `max_wait` seconds for room before the answer is
    503. `working` of them, and never more than half of `max_open`, take documents in. `grace` is how long a
    shutdown waits for documents that are under way. `input_dir` is the folder that a scan reads: files for the
    default workspace in it, for others in folders of their names. Files are read by `convert_workers` processes,
    each file in `convert_seconds` and `convert_memory` bytes. `webui_dir` holds a web UI that was built for
    LightRAG's API, which is then served at /webui/.
    """

    root: str = "stateless-rag-data"
    default_workspace: str = "default"
    create_on_write: bool = True
    placement: Literal["root", "own"] = "root"
    # ---- who may do what
    keys: tuple[ApiKey, ...] = ()
    accounts: tuple[Account, ...] = ()
    open_paths: tuple[str, ...] = ("/health",)
    token_secret: str | None = field(default=None, repr=False)
    token_algorithm: str = "HS256"  # noqa: S105 -- no secret
    token_hours: float = 48.0
    guest_token_hours: float = 24.0
    token_renew: bool = True
    token_renew_threshold: float = 0.5
    login_attempts: int = 5
    login_window: float = 300.0
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    # ---- bounds
    max_body: int = _MIB
    max_text_body: int = 50 * _MIB
    max_graph_body: int = 200 * _MIB
    max_upload: int = 100 * _MIB
    convert_seconds: float = 120.0
    convert_memory: int = 1024 * _MIB
    convert_workers: int = 2
    max_texts: int = 0
    max_pending: int = 0
    max_graph_nodes: int = 1000
    max_open: int = 256
    max_memory: int | None = None
    max_idle: float | None = 900.0
    max_wait: float = 10.0
    working: int = 32
    quota: Quota = field(default_factory=Quota)
    llm_calls: int = 16
    embedder_calls: int = 8
    reranker_calls: int = 4
    grace: float = 20.0
    # ---- how it shows itself
    api_prefix: str = ""
    docs: bool = True
    title: str = "stateless-rag"
    description: str = "Documents in, answers with references out"
    ollama_model: str = "lightrag:latest"
    user_prompt_prefix: str = ""
    input_dir: str | None = None
    webui_dir: str | None = None

    def __post_init__(self) -> None:
        each_field(
            self, text, "root", "token_algorithm", "api_prefix", "title", "description", "ollama_model"
        )
        each_field(self, text, "user_prompt_prefix")
        each_field(self, lambda _, value: check_name(value), "default_workspace")
        each_field(self, flag, "create_on_write", "token_renew", "docs")
        each_field(self, lambda name, value: tuple(instances(name, value, kind=ApiKey)), "keys")
        each_field(self, lambda name, value: tuple(instances(name, value, kind=Account)), "accounts")
        each_field(self, texts, "open_paths", "cors_origins", "allowed_hosts")
        each_field(self, instance, "quota", kind=Quota)
        each_field(self, optional, "token_secret", "input_dir", "webui_dir", check=text)
        each_field(self, choice, "token_algorithm", among=_ALGORITHMS)
        each_field(self, choice, "placement", among=("root", "own"))
        self._check_numbers()
        if self.accounts and not self.token_secret:
            raise InvalidInput("accounts need a token_secret of your own, which signs the tokens they get")
        names = [account.name for account in self.accounts]
        if len(set(names)) < len(names):
            raise InvalidInput("two accounts have the same name; each needs one of its own")
        if not _PREFIX.fullmatch(self.api_prefix):
            raise InvalidInput(
                f"api_prefix is {self.api_prefix!r}; it must be empty or like /rag, without a last slash"
            )

    def _check_numbers(self) -> None:
        each_field(self, number, "token_hours", "guest_token_hours", "login_window", above=0.0)
        each_field(self, number, "token_renew_threshold", least=0.0, most=1.0)
        each_field(self, number, "grace", least=0.0)
        each_field(self, number, "convert_seconds", above=0.0)
        each_field(self, whole, "convert_memory", least=128 * _MIB, most=2**50)
        each_field(self, whole, "max_body", "max_text_body", "max_graph_body", "max_upload", most=2**40)
        each_field(self, whole, "max_texts", "max_pending", "login_attempts")
        each_field(self, whole, "max_open", "working", "max_graph_nodes", "convert_workers", least=1)
        each_field(self, whole, "llm_calls", "embedder_calls", "reranker_calls", least=1)
        each_field(self, optional, "max_memory", check=whole, least=1, most=2**63)
        each_field(self, optional, "max_idle", check=number, above=0.0)
        each_field(self, number, "max_wait", above=0.0)

    @property
    def protected(self) -> bool:
        """Whether anybody has to show a key or to log in."""
        return bool(self.keys or self.accounts)
