"""The API keeps to its description: whatever is sent, no answer is an internal error or of another shape.

An example for each operation; `make fuzz-http` sends hundreds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase
from schemathesis import checks

from server.serving import served
from stateless_rag.server import ServerSettings, create_app

ENDLESS = frozenset({"watch_documents"})  # a stream that ends when who asks goes away
PATIENCE = 300  # seconds; by default it is 10, which a slow machine takes to start
INTERNAL = 500  # 502 to 504 are told of: a deadline of no time, say, is over


def no_internal_error(_: Any, response: Any, __: Any) -> None:
    """All that goes wrong has a name."""
    assert response.status_code != INTERNAL, response.text


CHECKS = [
    no_internal_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    """What is said of a file of lines is that it is a text."""
    return str(value).encode("utf-8", "replace")


EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "1"))
OPERATIONS = sorted(
    route.unique_id
    for route in create_app(ServerSettings()).routes
    if isinstance(route, APIRoute) and route.include_in_schema and route.unique_id not in ENDLESS
)


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    app = create_app(ServerSettings(root=str(tmp_path_factory.mktemp("fuzzed"))))
    with served(app) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json", timeout=PATIENCE)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_keeps_to_its_description(schema: Any, operation: str) -> None:
    asked = schema.find_operation_by_id(operation)

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=EXAMPLES == 1,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=asked.as_strategy())
    def send(case: Any) -> None:
        if "workspace" in case.path_parameters:
            case.path_parameters["workspace"] = "default"
        case.call_and_validate(checks=CHECKS, timeout=PATIENCE)

    send()
