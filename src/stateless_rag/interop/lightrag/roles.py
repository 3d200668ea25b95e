"""LLMs by role, and the queues in front of providers: what can be looked at, and changed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from stateless_rag.checks import choice, instance, optional, shown
from stateless_rag.errors import InvalidInput
from stateless_rag.interop.lightrag.core import Core
from stateless_rag.interop.lightrag.errors import NotSupported
from stateless_rag.interop.lightrag.mapping import llms_by_role
from stateless_rag.interop.lightrag.options import ROLES, RoleLLMConfig, checked_role
from stateless_rag.limits import Kind

__all__ = ["Roles"]


class Roles(Core):
    """Which LLM does what kind of work."""

    async def aupdate_llm_role_config(
        self,
        role: str,
        model_func: Callable[..., Any] | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        max_async: int | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Give a role another LLM, or other arguments, from now on; what is not given stays as it is.

        Calls that have begun end with the LLM they have. `func` and `kwargs` are taken for the first two, as in
        RoleLLMConfig. Raises InvalidInput for a bad value and NotSupported for the names of a model or a server,
        of which nothing is built here; then nothing was changed.
        """
        given = _given(
            more,
            func=model_func,
            kwargs=model_kwargs,
            max_async=max_async,
            timeout=timeout,
            metadata=metadata,
        )
        before = self.roles
        known = before.get(choice("role", role, among=ROLES), RoleLLMConfig())
        configs = {**before, role: checked_role(role, replace(known, **given))}
        llms_by_role(self, configs)
        if max_async is not None or role == "vlm":
            told = "role vlm has no effect" if role == "vlm" else "max_async of a role has no effect"
            warnings.warn(f"LightRAG: {told}", UserWarning, stacklevel=2)
        # At once: others may change other roles meanwhile.
        object.__setattr__(self, "role_llm_configs", configs)
        try:
            await self._session.change(lambda: {"roles": llms_by_role(self, self.roles)})
        except BaseException:
            left = {name: config for name, config in self.roles.items() if name != role}
            put_back = {role: before[role]} if role in before else {}
            object.__setattr__(self, "role_llm_configs", {**left, **put_back})
            raise

    def update_llm_role_config(
        self,
        role: str,
        model_func: Callable[..., Any] | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        max_async: int | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Give a role another LLM, or other arguments, from now on."""
        self._session.run(
            self.aupdate_llm_role_config(role, model_func, model_kwargs, max_async, timeout, metadata, **more)
        )

    def set_role_llm_metadata(
        self, role: str, metadata: Mapping[str, Any] | None = None, **more: Any
    ) -> None:
        """Note what `get_llm_role_config` is to tell of a role beside its arguments."""
        configs = self.roles
        known = configs.get(choice("role", role, among=ROLES), RoleLLMConfig())
        optional("metadata", metadata, instance, kind=Mapping)
        told = {**(metadata or {}), **more}
        object.__setattr__(self, "role_llm_configs", {**configs, role: replace(known, metadata=told)})

    def register_role_llm_builder(self, *_: Any, **__: Any) -> NoReturn:
        """Not supported."""
        raise NotSupported(
            "register_role_llm_builder: LLMs are not built from names here; make the function yourself, and give it "
            "by role_llm_configs or update_llm_role_config"
        )

    async def wait_for_retired_llm_queues(self) -> None:
        """There are none: nothing to wait for."""

    def get_llm_role_config(self, role: str | None = None) -> dict[str, Any]:
        """What each role, or one, was given."""
        configs = {
            name: {
                "model": self.llm_model_name,
                "max_async": None if config is None else config.max_async,
                "timeout": self.default_llm_timeout
                if config is None or config.timeout is None
                else config.timeout,
                "metadata": {} if config is None else dict(config.metadata or {}),
            }
            for name, config in ((name, self.roles.get(name)) for name in ROLES)
        }
        return configs if role is None else configs[choice("role", role, among=ROLES)]

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


def _given(more: Mapping[str, Any], **named: Any) -> dict[str, Any]:
    """The fields of a RoleLLMConfig that are given, by either name."""
    for name in ("func", "kwargs"):
        if more.get(name) is not None:
            if named[name] is not None:
                raise InvalidInput(f"{name} and model_{name} are the same; give one of them")
            named[name] = more[name]
    unknown = sorted(set(more) - {"func", "kwargs"})
    if unknown:
        raise NotSupported(
            f"update_llm_role_config: {shown(unknown)}: LLMs are not built from names here; give the function itself "
            "as model_func, with its arguments as model_kwargs"
        )
    return {name: value for name, value in named.items() if value is not None}
