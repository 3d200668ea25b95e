"""/api/v1/projects/{workspace}/graph/communities, and questions of mode themes."""

from __future__ import annotations

from pathlib import Path

from server.serving import GRAPH, graph_of, running

PROJECT = "/api/v1/projects/one"


async def test_communities_and_themes_over_http(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        assert (await client.post("/api/v1/projects", json={"name": "one"})).status_code == 201
        other = graph_of("Edsac")
        other["entities"][1]["entity_name"] = other["relationships"][0]["tgt_id"] = "Cambridge"
        for graph in (GRAPH, other):
            posted = await client.post(f"{PROJECT}/insert_custom_kg", json=graph)
            assert posted.status_code < 300, posted.text
        listed = await client.get(f"{PROJECT}/graph/communities")
        assert listed.status_code == 200
        members = sorted(sorted(one["members"]) for one in listed.json())
        assert members == [["Baby", "Manchester"], ["Cambridge", "Edsac"]]
        first = listed.json()[0]
        one = await client.get(f"{PROJECT}/graph/communities/{first['id']}")
        assert one.json() == first and first["level"] == 0 and first["chunks"] == 1
        assert len((await client.get(f"{PROJECT}/graph/communities?limit=1")).json()) == 1
        assert (await client.get(f"{PROJECT}/graph/communities/community-0")).status_code == 404
        for wrong in ("level=-1", "resolution=0", "resolution=nan", "limit=0"):
            assert (await client.get(f"{PROJECT}/graph/communities?{wrong}")).status_code == 422

        asked = {"question": "What are the main themes?", "options": {"mode": "themes", "max_communities": 1}}
        found = (await client.post(f"{PROJECT}/retrieve", json=asked)).json()
        assert [theme["size"] for theme in found["themes"]] == [2]
        answered = await client.post(f"{PROJECT}/query", json=asked)
        assert (answered.status_code, answered.json()["mode"]) == (200, "themes")
