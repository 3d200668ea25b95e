"""The API's description: every route of LightRAG, every operation under a name of its own, every error told."""

from __future__ import annotations

from typing import Any

from stateless_rag.server import ServerSettings, create_app

LIGHTRAG = """
post /documents/scan, get /documents/scan/status/{track_id}, get /documents/source_conflicts,
post /documents/source_conflicts/repair, post /documents/upload, post /documents/text, post /documents/texts,
delete /documents, get /documents/pipeline_status, delete /documents/delete_document, post /documents/clear_cache,
get /documents/track_status/{track_id}, post /documents/paginated, get /documents/status_counts,
get /documents/supported_file_types, post /documents/reprocess_failed, post /documents/recovery/force_reset,
post /documents/cancel_pipeline, post /query, post /query/stream, post /query/data, get /graph/label/list,
get /graph/label/popular, get /graph/label/search, get /graphs, get /graph/entity/exists, post /graph/entity/edit,
post /graph/relation/edit, post /graph/entity/create, post /graph/relation/create, post /graph/entities/merge,
delete /graph/entity/delete, delete /graph/relation/delete, get /ui/customization, get /api/version, get /api/tags,
get /api/ps, post /api/generate, post /api/chat, get /, get /auth/verify, get /auth-status, post /login, get /health,
post /insert_custom_kg, post /documents/insert_custom_kg, post /v1/chat/completions, get /v1/models
"""


def described() -> dict[str, Any]:
    return create_app(ServerSettings()).openapi()


def test_the_routes_are_described() -> None:
    schema = described()
    wanted = [each.split() for each in LIGHTRAG.replace("\n", " ").strip().split(", ")]
    assert [path for method, path in wanted if method not in schema["paths"].get(path, {})] == []
    operations = [each for path in schema["paths"].values() for each in path.values()]
    names = [each["operationId"] for each in operations]
    assert len(set(names)) == len(names)
    assert [
        each["operationId"] for each in operations if not each.get("summary") or not each.get("description")
    ] == []
    twice = [name for name in schema["components"]["schemas"] if "__" in name]
    assert twice == []


def test_our_own_routes_tell_their_errors_as_problems() -> None:
    schema = described()
    for path, methods in schema["paths"].items():
        for each in methods.values() if path.startswith("/api/v1/projects/{workspace}") else ():
            for status in ("400", "401", "403", "404", "422", "429"):
                assert set(each["responses"][status]["content"]) == {"application/problem+json"}, (
                    path,
                    status,
                )
            assert ("workspace", "path") in [(said["name"], said["in"]) for said in each["parameters"]]


def test_the_headers_are_described_where_they_choose() -> None:
    schema = described()
    for path in ("/query", "/documents/text", "/insert_custom_kg", "/api/chat"):
        named = {each["name"]: each["required"] for each in schema["paths"][path]["post"]["parameters"]}
        assert named.items() >= {"LIGHTRAG-WORKSPACE": False, "X-Workspace": False}.items()
