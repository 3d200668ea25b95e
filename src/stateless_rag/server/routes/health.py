"""/health, /metrics, / and what the web UI asks for: how the server is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from starlette.responses import PlainTextResponse, RedirectResponse

from stateless_rag import __version__
from stateless_rag.server.asked import service_of
from stateless_rag.server.problems import Refused
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import service_router
from stateless_rag.server.workspace_of import HEADERS, named_in_path, one_workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stateless_rag.limits import Kind
    from stateless_rag.server.service import Service
    from stateless_rag.server.settings import ServerSettings

__all__ = ["API_VERSION", "health_routes", "shown"]

API_VERSION = "0344"
"""The version of LightRAG's API that is served beside our own."""

_KINDS: tuple[Kind, ...] = ("llm", "embedder", "reranker")


async def health(request: Request) -> Response:
    """Whether the server is alive; for who shows a key, also what it is doing."""
    service = service_of(request)
    said = [value for header in HEADERS for value in request.headers.getlist(header)]
    default = service.settings.default_workspace
    workspace = one_workspace([*named_in_path(request.scope), *said], default)
    try:
        principal = service.auth.principal(request, open_paths=False)
        known = principal.may_use(workspace)
    except Refused:
        known = False
    working = service.ingestion.busy(workspace) if known else False
    body = {
        "status": "healthy",
        "auth_mode": "enabled" if service.settings.accounts else "disabled",
        **shown(service.settings),
        "webui_available": service.settings.webui_dir is not None,
        "workspace_available": service.settings.webui_dir is not None,
        "api_docs_available": service.settings.docs,
        "pipeline_busy": working,
        "pipeline_active": working,
    }
    return told(body | _known(service, workspace) if known else body)


def shown(settings: ServerSettings) -> dict[str, Any]:
    """How a server shows itself."""
    return {
        "core_version": __version__,
        "api_version": API_VERSION,
        "webui_title": settings.title,
        "webui_description": settings.description,
        "ai_content_notice_enabled": False,
    }


def _known(service: Service, workspace: str) -> dict[str, Any]:
    """What only those see who may use the workspace."""
    settings = service.settings
    usage = service.leases.pool.usage()
    queues = {kind: _queue(service, kind) for kind in _KINDS}
    return {
        "workspace": workspace,
        "working_directory": settings.root,
        "input_directory": settings.input_dir or "",
        "server_mode": "uvicorn",
        "workers": 1,
        "workspaces": {
            "open": len(usage),
            "leased": sum(each.leases > 0 for each in usage),
            "memory": sum(each.memory for each in usage),
            "working": service.ingestion.count,
            "max_open": service.leases.pool.max_open,
        },
        "pipeline_scanning": False,
        "pipeline_destructive_busy": False,
        "pipeline_pending_enqueues": 0,
        "scheduling": {"manual_phase": "idle"},
        "capabilities": {},
        "scheduling_metrics": {"counters": {}, "durations": {}},
        "keyed_locks": {
            "process_id": 0,
            "cleanup_performed": {"mp_cleaned": 0, "async_cleaned": 0},
            "current_status": {
                "total_mp_locks": 0,
                "pending_mp_cleanup": 0,
                "total_async_locks": 0,
                "pending_async_cleanup": 0,
            },
        },
        "llm_queue_status": dict.fromkeys(("extract", "keyword", "query"), queues["llm"]),
        "embedding_queue_status": queues["embedder"],
        "rerank_queue_status": queues["reranker"],
        "configuration": {**_configuration(settings), **service.about},
    }


def _queue(service: Service, kind: Kind) -> dict[str, Any]:
    limits = service.limits
    return {
        "queue_name": kind,
        "max_async": limits.capacity(kind),
        "queued": limits.waiting(kind),
        "running": limits.in_use(kind),
        "in_flight": limits.in_use(kind),
        "submitted_total": 0,
        "available": True,
    }


def _configuration(settings: ServerSettings) -> Mapping[str, Any]:
    """What the web UI shows of the settings; no secrets."""
    store = "DuckDB"
    return {
        "workspace": settings.default_workspace,
        "storage_workspaces": dict.fromkeys(
            ("kv_storage", "doc_status_storage", "graph_storage", "vector_storage")
        ),
        "kv_storage": store,
        "doc_status_storage": store,
        "graph_storage": store,
        "vector_storage": "FAISS",
        "max_graph_nodes": settings.max_graph_nodes,
        "max_async": settings.llm_calls,
        "embedding_func_max_async": settings.embedder_calls,
        "rerank_max_async": settings.reranker_calls,
        "max_parallel_insert": settings.working,
        "enable_rerank": False,
        "rerank_binding": "null",
        "enable_llm_cache": True,
        "enable_llm_cache_for_extract": True,
        "vlm_process_enable": False,
        "force_llm_summary_on_merge": 8,
        "summary_language": "English",
        "role_llm_config": {},
        "parser_routing": "",
    }


async def metrics(request: Request) -> Response:
    """Counts and gauges for Prometheus."""
    service = service_of(request)
    service.auth.principal(request)
    usage = service.leases.pool.usage()
    gauges = {
        "workspaces_open": float(len(usage)),
        "workspaces_leased": float(sum(each.leases > 0 for each in usage)),
        "workspaces_working": float(service.ingestion.count),
        "workspaces_memory_bytes": float(sum(each.memory for each in usage)),
    }
    for kind in _KINDS:
        gauges[f'calls_running{{provider="{kind}"}}'] = float(service.limits.in_use(kind))
    for kind in _KINDS:
        gauges[f'calls_waiting{{provider="{kind}"}}'] = float(service.limits.waiting(kind))
    lines = "\n".join(service.metrics.lines(gauges))
    return PlainTextResponse(f"{lines}\n", media_type="text/plain; version=0.0.4")


async def index(request: Request) -> Response:
    """What this is, and where to look next."""
    service = service_of(request)
    root = request.scope.get("root_path", "")
    if service.settings.webui_dir is not None:
        return RedirectResponse(f"{root}/webui/", 307)
    return told(
        {
            "status": "healthy",
            "service": service.settings.title,
            "api_version": API_VERSION,
            "message": service.settings.description,
            "health_url": f"{root}/health",
        }
    )


async def customization(request: Request) -> Response:
    """How the web UI is to look: as it is."""
    settings = service_of(request).settings
    brand = {"title": settings.title, "description": settings.description}
    return told({"customized": False, "brand": brand}, headers={"Cache-Control": "no-store"})


def health_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """How the server is."""
    router = service_router()
    add: Any = router.add_api_route
    add("/", index, methods=["GET"], response_model=dict[str, str])
    add("/health", health, methods=["GET"], response_model=dict[str, Any])
    text = {200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}}
    add("/metrics", metrics, methods=["GET"], response_class=Response, responses=text)
    add("/ui/customization", customization, methods=["GET"], response_model=dict[str, Any])
    return router
