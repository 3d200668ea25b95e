"""The engine as a service: one process serves any number of workspaces, chosen per request.

    app = create_app(ServerSettings(root="knowledge"))

Needs the extra `server`. The application is an ASGI application; `stateless-rag serve` runs it.
"""

from __future__ import annotations

from stateless_rag.server.app import create_app
from stateless_rag.server.settings import Account, ApiKey, Quota, ServerSettings

__all__ = ["Account", "ApiKey", "Quota", "ServerSettings", "create_app"]
