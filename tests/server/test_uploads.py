"""Files that are uploaded and scanned: refused with a reason, or read in the background and kept until they are."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import httpx2
import pytest

from converting.files import FILES, cfb, docx, encrypted_pdf, html, pdf
from server.serving import listening, running, settled
from stateless_rag import Converter, ConvertLimits
from stateless_rag.server import ApiKey, Quota

UPLOADS = "/api/v1/projects/papers/uploads"
DOCUMENTS = "/api/v1/projects/papers/documents"


def parts(*files: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", file) for file in files]


async def documents(client: httpx2.AsyncClient, tracking_id: str, name: str = "papers") -> dict[str, Any]:
    """The documents of a tracking id by source, when all are settled."""
    rows = await settled(client, tracking_id, {"X-Workspace": name})
    return {row["file_path"]: row for row in rows}


async def test_files_of_each_kind_are_uploaded_together(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        answer = await client.post(UPLOADS, files=parts(*((name, make()) for name, make in FILES.items())))
        assert answer.status_code == 202, answer.text
        said = answer.json()
        assert [each["status"] for each in said["files"]] == ["accepted"] * len(FILES)
        rows = await documents(client, said["tracking_id"])
        assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(FILES, "processed")
        for each in said["files"]:
            found = (await client.get(f"{DOCUMENTS}/{each['id']}", params={"contents": True})).json()
            assert "Ada wrote notes." in found["text"]
            assert found["status"]["source"] == each["name"]
        page = (await client.get(DOCUMENTS, params={"where": '{"kind": "pdf"}'})).json()
        assert [each["metadata"]["pages"] for each in page["documents"]] == [[0]]
        question = {"question": "Who wrote notes?", "options": {"mode": "naive"}}
        found = (await client.post("/api/v1/projects/papers/query", json=question)).json()
        assert {reference["source"] for reference in found["references"]} & set(FILES)


async def test_each_file_has_its_outcome(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        sent = [
            ("a.exe", b"MZ"),
            ("../b.txt", b"text"),
            ("c.pdf", pdf()),
            ("d.docx", cfb()),
            ("c.pdf", pdf("again")),
            ("e.txt", b""),
            ("f.pdf", encrypted_pdf()),
        ]
        said = (await client.post(UPLOADS, files=parts(*sent))).json()
        outcomes = [(each["status"], each["reason"]) for each in said["files"]]
        assert outcomes == [
            ("refused", "invalid"),
            ("refused", "invalid"),
            ("accepted", None),
            ("refused", "encrypted"),
            ("refused", "invalid"),
            ("refused", "empty"),
            ("accepted", None),
        ]
        assert "twice" in said["files"][4]["error"]
        rows = await documents(client, said["tracking_id"])
        assert {name: row["status"] for name, row in rows.items()} == {
            "c.pdf": "processed",
            "f.pdf": "failed",
        }
        assert "f.pdf is encrypted" in rows["f.pdf"]["error_msg"]
        none = await client.post(UPLOADS, files=parts(("a.exe", b"MZ"), ("b.docx", b"PK\x03\x04")))
        assert none.status_code == 202
        none = await client.post(UPLOADS, files=parts(("a.exe", b"MZ"), ("d.docx", cfb())))
        assert none.status_code == 400
        assert "d.docx is encrypted" in none.json()["detail"]
        assert (await client.post(UPLOADS, files={"other": ("a.txt", b"x")})).status_code == 422
        kinds = (await client.get("/api/v1/projects/papers/uploads")).json()
        assert {".pdf", ".docx", ".txt"} <= set(kinds["suffixes"])


async def test_nothing_is_made_of_what_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, max_upload=2000) as client:
        for name, content, status in [
            ("a.exe", b"MZ", 400),
            ("a.docx", cfb(), 400),
            ("a.txt", pdf(), 400),
            ("a.pdf", docx(), 400),
            ("a.txt", b"x" * 2001, 413),
            ("a.txt", b"x" * 2**21, 413),
        ]:
            answer = await client.post("/documents/upload", files={"file": (name, content)})
            assert answer.status_code == status, (name, answer.text)
            answer = await client.post(UPLOADS, files=parts((name, content)))
            assert answer.status_code in (400, 413), (name, answer.text)
        assert (await client.get(DOCUMENTS)).status_code == 404  # not even a workspace
        assert (await client.get("/api/v1/projects/default/documents")).status_code == 404


async def test_a_failed_file_is_tried_again_and_deleted(tmp_path: Path) -> None:
    class Mended:
        """A converter that a repair has taught to read."""

        able = False

        def __init__(self) -> None:
            self.own = Converter(ConvertLimits(workers=1))

        async def convert(self, content: bytes, name: str) -> Any:
            return await self.own.convert(html() if self.able else content, "a.html" if self.able else name)

    mended = Mended()
    try:
        async with running(tmp_path, options=lambda *_: {"converter": mended}) as client:
            sent = await client.post("/documents/upload", files={"file": ("a.pdf", encrypted_pdf())})
            tracking_id = sent.json()["track_id"]
            rows = await documents(client, tracking_id, "default")
            assert rows["a.pdf"]["status"] == "failed"
            counts = (await client.get("/documents/status_counts")).json()["status_counts"]
            assert (counts["all"], counts["failed"]) == (1, 1)
            await client.post("/documents/reprocess_failed")
            await client.app.state.service.ingestion.idle("default")  # type: ignore[attr-defined]
            assert (await documents(client, tracking_id, "default"))["a.pdf"]["status"] == "failed"
            Mended.able = True
            await client.post("/documents/reprocess_failed")
            await client.app.state.service.ingestion.idle("default")  # type: ignore[attr-defined]
            assert (await documents(client, tracking_id, "default"))["a.pdf"]["status"] == "processed"
            Mended.able = False
            again = await client.post("/documents/upload", files={"file": ("a.pdf", encrypted_pdf())})
            rows = await documents(client, again.json()["track_id"], "default")
            assert "encrypted" in rows["a.pdf"]["error_msg"]
            found = (
                await client.get(f"/api/v1/projects/default/documents/{rows['a.pdf']['id']}?contents=1")
            ).json()
            assert found["text"].startswith("# The heading")  # the old one answers
            body = {"doc_ids": [rows["a.pdf"]["id"]]}
            await client.request("DELETE", "/documents/delete_document", json=body)
            assert (await client.get("/documents/status_counts")).json()["status_counts"]["all"] == 0
    finally:
        mended.own.stop()


async def test_what_was_accepted_survives_and_is_read_later(tmp_path: Path) -> None:
    class Never:
        """A converter that never comes to an end."""

        async def convert(self, content: bytes, name: str) -> Any:
            await asyncio.Event().wait()

    async with running(tmp_path, options=lambda *_: {"converter": Never()}, grace=0.0) as client:
        said = (await client.post(UPLOADS, files=parts(("a.pdf", pdf())))).json()
    async with running(tmp_path) as client:
        rows = await documents(client, said["tracking_id"])
        assert rows["a.pdf"]["status"] == "processed"


async def test_a_file_that_is_being_read_can_be_cancelled(tmp_path: Path) -> None:
    class Slow:
        """A converter that tells when it has begun."""

        begun = asyncio.Event()
        ended = asyncio.Event()

        async def convert(self, content: bytes, name: str) -> Any:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.set()

    slow = Slow()
    async with running(tmp_path, options=lambda *_: {"converter": slow}, grace=0.0) as client:
        said = (await client.post(UPLOADS, files=parts(("a.pdf", pdf()), ("b.txt", b"A text.")))).json()
        await slow.begun.wait()
        stopped = await client.post("/api/v1/projects/papers/cancel", json={"ids": [said["files"][0]["id"]]})
        assert stopped.json()["ids"] == [said["files"][0]["id"]]
        await slow.ended.wait()
        rows = await documents(client, said["tracking_id"])
        assert {name: row["status"] for name, row in rows.items()} == {
            "a.pdf": "failed",
            "b.txt": "processed",
        }
        assert "cancelled" in rows["a.pdf"]["error_msg"]


async def test_the_same_upload_again_does_nothing_again(tmp_path: Path) -> None:
    headers = {"Idempotency-Key": "one"}
    async with running(tmp_path) as client:
        first = await client.post(UPLOADS, files=parts(("a.pdf", pdf())), headers=headers)
        again = await client.post(UPLOADS, files=parts(("a.pdf", pdf())), headers=headers)
        assert again.json() == first.json()
        other = await client.post(UPLOADS, files=parts(("a.pdf", pdf("other"))), headers=headers)
        assert other.status_code == 422
        await documents(client, first.json()["tracking_id"])
    async with running(tmp_path) as client:
        once_more = await client.post(UPLOADS, files=parts(("a.pdf", pdf())), headers=headers)
        assert once_more.json() == first.json()
        assert not client.app.state.service.ingestion.busy("papers")  # type: ignore[attr-defined]


async def test_workspaces_do_not_see_each_others_files(tmp_path: Path) -> None:
    keys = (
        ApiKey(key="p", name="p", workspaces=("papers",), access="write"),
        ApiKey(key="o", name="o", workspaces=("other",), access="write"),
        ApiKey(key="r", name="r", workspaces=("papers",), access="read"),
    )
    async with running(tmp_path, keys=keys) as client:
        mine, other = {"X-API-Key": "p"}, {"X-API-Key": "o"}
        said = (await client.post(UPLOADS, files=parts(("a.pdf", pdf())), headers=mine)).json()
        theirs = "/api/v1/projects/other/uploads"
        their = (await client.post(theirs, files=parts(("a.pdf", pdf("secret"))), headers=other)).json()
        for answer, name, key in ((said, "papers", mine), (their, "other", other)):
            await settled(client, answer["tracking_id"], {"X-Workspace": name, **key})
        found = (await client.get(f"{DOCUMENTS}/{said['files'][0]['id']}?contents=1", headers=mine)).json()
        assert found["text"] == "Ada wrote notes."
        for wrong, path in (("o", UPLOADS), ("p", theirs), ("r", UPLOADS)):
            refused = await client.post(path, files=parts(("b.pdf", pdf())), headers={"X-API-Key": wrong})
            assert refused.status_code == 403
        assert (await client.post(UPLOADS, files=parts(("b.pdf", pdf())))).status_code == 401
        crossed = await client.get(
            f"/documents/track_status/{their['tracking_id']}", headers={"X-Workspace": "papers", **mine}
        )
        assert crossed.json()["documents"] == []


async def test_quotas_count_files(tmp_path: Path) -> None:
    async with running(tmp_path, quota=Quota(characters=len(pdf()) + 10)) as client:
        assert (await client.post(UPLOADS, files=parts(("a.pdf", pdf())))).status_code == 202
        both = await client.post(UPLOADS, files=parts(("b.pdf", pdf()), ("c.pdf", pdf())))
        assert both.status_code == 429


async def test_a_folder_of_files_is_scanned(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox" / "papers"
    inbox.mkdir(parents=True)
    contents = {"a.pdf": pdf(), "b.DOCX": docx(), "e.pdf": encrypted_pdf(), "f.txt": pdf(), "g.exe": b"MZ"}
    for name, content in contents.items():
        (inbox / name).write_bytes(content)
    outside = tmp_path / "outside.txt"
    outside.write_text("The secret.")
    (inbox / "link.txt").symlink_to(outside)
    os.mkfifo(inbox / "pipe.txt")
    async with running(tmp_path / "root", input_dir=str(tmp_path / "inbox")) as client:
        headers = {"X-Workspace": "papers"}
        started = (await client.post("/documents/scan", headers=headers)).json()
        job: dict[str, Any] = {"status": "running"}
        while job["status"] == "running":
            await asyncio.sleep(0.01)
            answer = await client.get(f"/documents/scan/status/{started['track_id']}", headers=headers)
            job = answer.json()
        assert job["status"] == "completed"
        assert job["counts"] == {"discovered": 5, "processed": 3, "errors": 2}
        rows = await documents(client, started["track_id"])
        statuses = {name: row["status"] for name, row in rows.items()}
        assert statuses == {"a.pdf": "processed", "b.DOCX": "processed", "e.pdf": "failed"}
        assert sorted(each.name for each in (inbox / "__parsed__").iterdir()) == ["a.pdf", "b.DOCX", "e.pdf"]
        assert "a PDF file by its contents" in json.dumps(job["samples"]["error"])


async def test_two_servers_in_one_process_read_side_by_side(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as one, running(tmp_path / "b", convert_workers=1) as two:
        said = await asyncio.gather(
            *(client.post(UPLOADS, files=parts(("a.docx", docx()))) for client in (one, two))
        )
        assert said[0].status_code == said[1].status_code == 202
    async with running(tmp_path / "a") as one:
        assert (await documents(one, said[0].json()["tracking_id"]))["a.docx"]["status"] == "processed"


async def test_damaged_files_never_stop_the_server_and_leave_nothing_half(tmp_path: Path) -> None:
    """Over a socket: each file is wholly there, or failed with a reason, and the rest of the server goes on."""
    from converting.test_hostile import damaged

    packed = [
        name for name in FILES if name.endswith((".pdf", ".docx", ".xlsx", ".pptx", ".epub", ".html", ".txt"))
    ]
    async with listening(tmp_path) as address, httpx2.AsyncClient(base_url=address, timeout=240) as client:
        sent = [(f"{seed}-{name}", damaged(FILES[name](), seed)) for seed in range(4) for name in packed]
        answer = await client.post(UPLOADS, files=parts(*sent))
        assert answer.status_code == 202, answer.text
        assert (await client.get("/health")).status_code == 200
        said = answer.json()
        rows = await documents(client, said["tracking_id"])
        accepted = {each["name"] for each in said["files"] if each["status"] == "accepted"}
        assert set(rows) == accepted
        for each in said["files"]:
            row = rows.get(each["name"])
            if row is None:
                assert each["error"] and each["reason"] in ("damaged", "mismatch", "empty")
            elif row["status"] == "failed":
                assert row["error_msg"].startswith(f"UnreadableFile: {each['name']}")
                assert not row["chunks_count"]
            else:
                assert row["chunks_count"]
        whole = await client.post(UPLOADS, files=parts(("whole.pdf", pdf())))
        assert (await documents(client, whole.json()["tracking_id"]))["whole.pdf"]["status"] == "processed"


@pytest.mark.parametrize("cut", [10, 400])
async def test_a_request_that_breaks_off_leaves_nothing(tmp_path: Path, cut: int) -> None:
    async with listening(tmp_path) as address, httpx2.AsyncClient(base_url=address, timeout=240) as client:
        request = client.build_request("POST", UPLOADS, files=parts(("a.pdf", pdf())))
        body = await request.aread()
        _, writer = await asyncio.open_connection(*address.removeprefix("http://").split(":"))
        head = f"POST {UPLOADS} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Content-Type: {request.headers['content-type']}\r\n\r\n".encode() + body[:cut])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await client.get("/health")).status_code == 200
        assert (await client.get(DOCUMENTS)).status_code == 404
