"""LLMs by role, and the queues in front of providers: what can be looked at, and what cannot be changed."""

from __future__ import annotations

from typing import Any, NoReturn

from stateless_rag.checks import optional, text
from stateless_rag.errors import InvalidInput
from stateless_rag.interop.lightrag.core import Core
from stateless_rag.interop.lightrag.errors import NotSupported
from stateless_rag.interop.lightrag.options import ROLES
from stateless_rag.limits import Kind

__all__ = ["Roles"]


class Roles(Core):
    """An instance is opened with its LLMs; another LLM is another instance."""

    async def aupdate_llm_role_config(self, *_: Any, **__: Any) -> NoReturn:
        """Not supported."""
        self._refuse("aupdate_llm_role_config")

    def update_llm_role_config(self, *_: Any, **__: Any) -> NoReturn:
        """Not supported."""
        self._refuse("update_llm_role_config")

    def register_role_llm_builder(self, *_: Any, **__: Any) -> NoReturn:
        """Not supported."""
        self._refuse("register_role_llm_builder")

    def set_role_llm_metadata(self, *_: Any, **__: Any) -> NoReturn:
        """Not supported."""
        self._refuse("set_role_llm_metadata")

    async def wait_for_retired_llm_queues(self) -> None:
        """There are none: nothing to wait for."""

    def get_llm_role_config(self, role: str | None = None) -> dict[str, Any]:
        """What each role, or one, was given at construction."""
        configs = {
            name: {
                "model": self.llm_model_name,
                "max_async": None if config is None else config.max_async,
                "timeout": self.default_llm_timeout if config is None else config.timeout,
                "metadata": {} if config is None else dict(config.metadata or {}),
            }
            for name, config in ((name, self.roles.get(name)) for name in ROLES)
        }
        wanted = optional("role", role, text)
        if wanted is None:
            return configs
        if wanted not in configs:
            raise InvalidInput(f"role is {wanted!r}; there are {', '.join(ROLES)}")
        return configs[wanted]

    async def get_llm_queue_status(self) -> dict[str, int]:
        """How many calls run and wait, and how many may run; of all roles together."""
        return await self._queue("llm")

    async def get_embedding_queue_status(self) -> dict[str, int]:
        """How many calls of the embedder run and wait, and how many may run."""
        return await self._queue("embedder")

    async def get_rerank_queue_status(self) -> dict[str, int]:
        """How many calls of the reranker run and wait, and how many may run."""
        return await self._queue("reranker")

    async def _queue(self, kind: Kind) -> dict[str, int]:
        limits = (await self.engine()).context.limits
        return {
            "running": limits.in_use(kind),
            "queued": limits.waiting(kind),
            "max_async": limits.capacity(kind),
        }

    def _refuse(self, method: str) -> NoReturn:
        raise NotSupported(
            f"{method}: an instance keeps the LLMs it was made with; give role_llm_configs when you make one, or "
            "finalize this one and make another: a workspace may be opened with any LLM"
        )
