"""All routes, by what they are about. Each module has a function that makes its router."""

from __future__ import annotations

from stateless_rag.server.routes.api_page import api_page_routes
from stateless_rag.server.routes.batches import batch_routes
from stateless_rag.server.routes.budgets import budget_routes
from stateless_rag.server.routes.communities import community_routes
from stateless_rag.server.routes.custom_graph import custom_graph_routes
from stateless_rag.server.routes.documents import document_routes
from stateless_rag.server.routes.duplicates import duplicate_routes
from stateless_rag.server.routes.files import file_routes
from stateless_rag.server.routes.graph import graph_routes
from stateless_rag.server.routes.health import health_routes
from stateless_rag.server.routes.keeping import keeping_routes
from stateless_rag.server.routes.lightrag_changes import lightrag_change_routes
from stateless_rag.server.routes.lightrag_documents import lightrag_document_routes
from stateless_rag.server.routes.lightrag_graph import lightrag_graph_routes
from stateless_rag.server.routes.lightrag_queries import lightrag_query_routes
from stateless_rag.server.routes.lightrag_scans import lightrag_scan_routes
from stateless_rag.server.routes.login import login_routes
from stateless_rag.server.routes.maintaining import maintaining_routes
from stateless_rag.server.routes.ollama import ollama_routes
from stateless_rag.server.routes.openai_chat import openai_routes
from stateless_rag.server.routes.projects import project_routes
from stateless_rag.server.routes.queries import query_routes
from stateless_rag.server.routes.runs import run_routes
from stateless_rag.server.routes.uploads import upload_routes
from stateless_rag.server.routes.web_ui import web_ui_routes

__all__ = ["ALL"]

ALL = (
    project_routes,
    document_routes,
    upload_routes,
    query_routes,
    graph_routes,
    community_routes,
    custom_graph_routes,
    file_routes,
    run_routes,
    batch_routes,
    keeping_routes,
    maintaining_routes,
    budget_routes,
    duplicate_routes,
    health_routes,
    api_page_routes,
    login_routes,
    lightrag_document_routes,
    lightrag_change_routes,
    lightrag_scan_routes,
    lightrag_query_routes,
    lightrag_graph_routes,
    ollama_routes,
    openai_routes,
    web_ui_routes,
)
