"""Embeddings from a server on a real socket."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np
import pytest

from integration.openai_servers import (
    Raw,
    embed,
    embedder_at,
    json_answer,
)
from stateless_rag.errors import (
    InvalidInput,
    InvalidReply,
)
from stateless_rag.protocols import Embedder
from stateless_rag.providers import OpenAIEmbedder
from stateless_rag.testing import (
    DeterministicEmbedder,
    FakeOpenAIServer,
    Faults,
)


async def test_embeddings_in_both_encodings_and_any_order() -> None:
    async with FakeOpenAIServer(embedder=DeterministicEmbedder(8)) as server:
        embedder = embedder_at(server)
        dimensions = [embedder.dimension]
        embeddings = await embedder.embed(["Ada wrote", "", "Zuse"], role="document")
        await embedder.close()
        dimensions.append(embedder.dimension)
    assert dimensions == [None, 8]
    assert embeddings.tokens is not None
    expected = (await DeterministicEmbedder(8).embed(["Ada wrote", "", "Zuse"], role="document")).vectors
    assert np.array_equal(embeddings.vectors, expected)
    assert embeddings.vectors.dtype == np.float32
    assert embeddings.vectors.flags.writeable
    rows = [
        {"index": 1, "embedding": [3.0, 4.0]},
        {"index": 0, "embedding": base64.b64encode(struct.pack("<2f", 1.0, 2.0)).decode()},
    ]
    async with Raw(json_answer({"data": rows})) as server:
        assert (await embed(server)).tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "rows",
    [
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}],
        [{"index": [], "embedding": [1.0]}, {"index": 1, "embedding": [1.0]}],
        [{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}],
        [{"embedding": []}, {"embedding": []}],
        [{"embedding": None}, {"embedding": [1.0]}],
        [{"embedding": [10**400]}, {"embedding": [1.0]}],
        [{"embedding": "äö"}, {"embedding": [1.0]}],
        [{"embedding": [1.0, [2.0]]}, {"embedding": [1.0]}],
        [{"embedding": {"0": 1.0}}, {"embedding": [1.0]}],
        [{"embedding": "!"}, {"embedding": "!"}],
        [{"embedding": [[1.0]]}, {"embedding": [[1.0]]}],
        [{"embedding": "AAA="}, {"embedding": "AAA="}],
        [1, 2],
        None,
    ],
)
async def test_rows_that_are_no_vectors(rows: Any) -> None:
    async with Raw(json_answer({"data": rows})) as server:
        with pytest.raises(InvalidReply):
            await embed(server)


async def test_prefixes_dimensions_and_names() -> None:
    asked: list[str] = []
    faults = Faults(lambda request: asked.append(request.text))
    async with FakeOpenAIServer(embedder=DeterministicEmbedder(4), faults=faults) as server:
        embedder = embedder_at(server, query_prefix="query: ", document_prefix="passage: ")
        await embedder.embed(["Ada"], role="query")
        await embedder.embed(["Ada", "Zuse"], role="document")
        await embedder.close()
    assert asked == ["query: Ada", "passage: Ada\npassage: Zuse"]
    with pytest.raises(InvalidInput, match="send_dimensions"):
        OpenAIEmbedder("e", send_dimensions=True, api_key="k")
    assert OpenAIEmbedder("e", api_key="k").model == "e"
    assert OpenAIEmbedder("e", api_key="k", dimension=4).model == "e"
    assert OpenAIEmbedder("e", api_key="k", dimension=4, send_dimensions=True).model == "e;dimensions=4"
    assert embedder.model.startswith("embed-x;prefixes=")
    assert isinstance(embedder, Embedder)
