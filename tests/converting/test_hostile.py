"""Files that mean harm, and processes that are lost, harm nothing but themselves."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from converting.files import FILES, docx, epub, html, pdf, pptx, xlsx, zipped
from stateless_rag import Converter, ConvertLimits, UnreadableFile

SPACES = b" " * 40_000_000
ENTITIES = '<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    made = Converter(ConvertLimits(workers=1))
    yield made
    made.stop()


async def refused(converter: Converter, content: bytes, name: str) -> UnreadableFile:
    with pytest.raises(UnreadableFile) as error:
        await converter.convert(content, name)
    return error.value


def with_entities(entities: str) -> str:
    return f'<?xml version="1.0"?>{entities}<x>&a;</x>'


def understated(archive: bytes, part: str) -> bytes:
    """An archive whose directory says of a part that it unpacks to ten bytes."""
    content = bytearray(archive)
    place = content.rindex(b"PK\x01\x02", 0, content.rindex(part.encode()))
    content[place + 24 : place + 28] = (10).to_bytes(4, "little")
    return bytes(content)


HOSTILE: dict[str, tuple[str, Callable[[], bytes], set[str]]] = {
    "a ZIP bomb": ("a.docx", lambda: docx(more={"word/x.xml": SPACES}), {"bomb"}),
    "a ZIP bomb in a book": ("a.epub", lambda: epub(more={"x.xhtml": SPACES}), {"bomb"}),
    "many files": ("a.xlsx", lambda: xlsx(more={f"{n}": "" for n in range(20_001)}), {"bomb"}),
    "entities": ("a.docx", lambda: docx(more={"word/styles.xml": with_entities(ENTITIES)}), {"bomb"}),
    "entities in slides": (
        "a.pptx",
        lambda: pptx(more={"ppt/presentation.xml": with_entities(ENTITIES)}),
        {"bomb"},
    ),
    "entities in a table": (
        "a.xlsx",
        lambda: xlsx(more={"xl/workbook.xml": with_entities(ENTITIES)}),
        {"bomb"},
    ),
    "entities in UTF-16": (
        "a.docx",
        lambda: docx(more={"word/styles.xml": with_entities(ENTITIES).encode("utf-16")}),
        {"bomb"},
    ),
    "an entity outside": (
        "a.epub",
        lambda: epub(more={"OEBPS/book.opf": with_entities(OUTSIDE)}),
        {"bomb"},
    ),
    "a path that leads out": ("a.docx", lambda: docx(more={"../../evil.xml": "x"}), {"unsafe"}),
    "an absolute path": ("a.pptx", lambda: pptx(more={"/etc/evil": "x"}), {"unsafe"}),
    "deep XML": (
        "a.pptx",
        lambda: pptx(more={"ppt/slides/slide1.xml": "<a>" * 5000 + "</a>" * 5000}),
        {"bomb"},
    ),
    "a sheet of very many cells": (
        "a.xlsx",
        lambda: xlsx(more={"xl/worksheets/sheet1.xml": huge_sheet()}),
        {"too_large", "bomb", "crashed", "damaged"},
    ),
    "another container": (
        "a.epub",
        lambda: epub(more={"META-INF/container.xml": '<c><rootfile full-path="../../etc/passwd"/></c>'}),
        {"damaged"},
    ),
    "no archive": ("a.docx", lambda: b"PK\x03\x04" + b"x" * 500, {"damaged"}),
}


def huge_sheet() -> str:
    return (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'
        "</sheetData></worksheet>"
    )


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_hostile_file_is_refused(converter: Converter, what: str) -> None:
    name, make, reasons = HOSTILE[what]
    assert (await refused(converter, make(), name)).reason in reasons
    assert (await converter.convert(html(), "a.html")).text


@pytest.mark.parametrize(
    ("name", "part", "make"),
    [
        ("a.docx", "word/document.xml", docx),
        ("a.xlsx", "xl/worksheets/sheet1.xml", xlsx),
        ("a.pptx", "ppt/slides/slide1.xml", pptx),
        ("a.epub", "OEBPS/one.xhtml", epub),
    ],
)
async def test_an_archive_that_lies_about_its_sizes_is_refused(
    converter: Converter, name: str, part: str, make: Callable[..., bytes]
) -> None:
    content = understated(make(more={part: b"<a>" + SPACES}), part)
    assert (await refused(converter, content, name)).reason in ("damaged", "bomb", "crashed")


async def test_what_an_archive_unpacks_to_is_bounded() -> None:
    async with Converter(ConvertLimits(unpacked=1000, workers=1)) as converter:
        error = await refused(converter, docx(), "a.docx")
    assert error.reason == "bomb"


async def test_archives_in_archives_are_not_opened(converter: Converter) -> None:
    inner = zipped({"bomb": SPACES})
    found = await converter.convert(docx(more={"word/embeddings/x.zip": inner}), "a.docx")
    assert "Ada wrote notes." in found.text


async def test_nothing_outside_a_file_is_read(converter: Converter, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    address = secret.as_uri()
    page = (
        f'<body>text<iframe src="{address}"></iframe><img src="{address}"><object data="{address}"></object>'
    )
    assert (await converter.convert(page.encode(), "a.html")).text == "text"
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="rId1" TargetMode="External" Target="{address}" Type="x/image"/></Relationships>'
    )
    drawing = (
        '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
        'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
        'xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture" '
        'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><w:body><w:p><w:r><w:t>text</w:t>'
        '<w:drawing><wp:inline><a:graphic><a:graphicData><pic:pic><pic:blipFill><a:blip r:link="rId1"/></pic:blipFill>'
        "</pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p></w:body></w:document>"
    )
    content = docx(more={"word/_rels/document.xml.rels": relations, "word/document.xml": drawing})
    assert (await converter.convert(content, "a.docx")).text == "text"


# ---- the processes -------------------------------------------------------------------------------------


async def test_a_file_that_takes_too_long_is_given_up() -> None:
    async with Converter(ConvertLimits(seconds=0.001)) as converter:  # less than a process needs to begin
        error = await refused(converter, html(), "a.html")
    assert error.reason == "too_long"


async def test_a_file_that_takes_too_much_memory_is_given_up() -> None:
    async with Converter(ConvertLimits(memory=300 * 2**20, workers=1)) as converter:
        error = await refused(converter, b"<p>" * 3_000_000, "a.html")
        assert error.reason in ("bomb", "crashed", "damaged")  # as the parser takes it
        assert (await converter.convert(html(), "a.html")).text


def workers_of(converter: Converter) -> list[int]:
    return [worker._process.pid for worker in [*converter._busy, *converter._idle]]


async def busy_worker(converter: Converter) -> int:
    while not workers_of(converter):  # noqa: ASYNC110 -- nobody tells
        await asyncio.sleep(0.001)
    return workers_of(converter)[0]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
async def test_a_crash_fails_that_file_alone(number: signal.Signals) -> None:
    async with Converter(ConvertLimits(workers=1)) as converter:
        first = asyncio.create_task(converter.convert(html(), "a.html"))
        second = asyncio.create_task(converter.convert(html(), "b.html"))
        os.kill(await busy_worker(converter), number)
        with pytest.raises(UnreadableFile, match=r"crashed what reads it \(signal") as error:
            await first
        assert error.value.reason == "crashed"
        assert (await second).metadata["title"] == "A title"


async def test_a_process_that_died_idle_is_replaced() -> None:
    async with Converter(ConvertLimits(workers=1)) as converter:
        await converter.convert(html(), "a.html")
        [pid] = workers_of(converter)
        os.kill(pid, signal.SIGKILL)
        await gone(pid)
        assert (await converter.convert(html(), "a.html")).text
        assert workers_of(converter) != [pid]


def known_to(pid: int) -> list[bytes]:
    return [Path(f"/proc/{pid}/{each}").read_bytes() for each in ("environ", "cmdline")]


def opened_by(pid: int) -> list[str]:
    return [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]


def is_gone(pid: int) -> bool:
    """Whether a process has ended (or is a zombie that nobody has asked for yet)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def gone(pid: int) -> None:
    while not is_gone(pid):  # noqa: ASYNC110 -- nobody tells
        await asyncio.sleep(0.01)


async def test_cancelling_ends_the_process() -> None:
    async with Converter(ConvertLimits(workers=1)) as converter:
        task = asyncio.create_task(converter.convert(html(), "a.html"))
        pid = await busy_worker(converter)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await converter.convert(html(), "a.html")).text
        assert pid not in workers_of(converter)
        await gone(pid)


async def test_closing_ends_all_processes_and_what_they_read() -> None:
    converter = Converter(ConvertLimits(workers=2))
    tasks = [asyncio.create_task(converter.convert(html(), f"{n}.html")) for n in range(4)]
    pid = await busy_worker(converter)
    await converter.close()
    await gone(pid)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, BaseException) for each in outcomes)


async def test_processes_are_used_again_and_replaced_and_ended_when_idle() -> None:
    async with Converter(ConvertLimits(workers=1, files=2, idle=0.05)) as converter:
        pids = []
        for _ in range(3):
            await converter.convert(html(), "a.html")
            pids += [pid for pid in workers_of(converter) if pid not in pids]
        assert len(pids) <= 2 or pids[-1] != pids[0]
        while workers_of(converter):  # noqa: ASYNC110 -- nobody tells
            await asyncio.sleep(0.01)


async def test_a_process_gets_nothing_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        async with Converter(ConvertLimits(workers=1)) as converter:
            await converter.convert(html(), "a.html")
            [pid] = workers_of(converter)
            assert not any(b"secret" in each for each in known_to(pid))
            assert str(tmp_path / "open") not in opened_by(pid)


def test_a_process_ends_with_its_parent() -> None:
    script = (
        "import asyncio, os, signal\n"
        "from stateless_rag import Converter\n"
        "async def main():\n"
        "    converter = Converter()\n"
        "    await converter.convert(b'<p>text', 'a.html')\n"
        "    print(converter._idle[0]._process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    pid = int(ended.stdout)
    while not is_gone(pid):
        time.sleep(0.01)


@pytest.mark.parametrize(
    "act",
    [
        "open('/etc/passwd')",
        "open('/tmp/made', 'w')",
        "os.open('/etc/passwd', os.O_RDONLY)",
        "socket.socket()",
        "socket.getaddrinfo('localhost', 80)",
        "subprocess.run(['true'])",
        "os.system('true')",
        "os.fork()",
        "os.remove('/tmp/gone')",
        "urllib.request.urlopen('http://localhost/')",
    ],
)
def test_a_process_may_touch_nothing(act: str) -> None:
    script = (
        "import os, socket, subprocess, urllib.request\n"
        "from stateless_rag.converting.limits import ConvertLimits\n"
        "from stateless_rag.converting.worker import _confine\n"
        "_confine(ConvertLimits())\n"
        f"try:\n    {act}\nexcept PermissionError as error:\n    print('refused' in str(error))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.stdout == "True\n", ended.stderr


# ---- fuzz ----------------------------------------------------------------------------------------------


def damaged(content: bytes, seed: int) -> bytes:
    """A file cut off, or with some bytes changed."""
    chance = random.Random(seed)
    if seed % 3 == 0:
        return content[: chance.randrange(len(content))]
    made = bytearray(content)
    for _ in range(chance.choice([1, 3, 30])):
        made[chance.randrange(len(made))] = chance.randrange(256)
    if seed % 3 == 2:
        start = chance.randrange(len(made))
        made[start:start] = made[chance.randrange(len(made)) :][:200]
    return bytes(made)


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith((".md", ".py", ".csv"))])
async def test_damaged_files_become_a_text_or_an_error(converter: Converter, name: str) -> None:
    for seed in range(40):
        try:
            found = await converter.convert(damaged(FILES[name](), seed), name)
        except UnreadableFile as error:
            assert error.reason in (
                "damaged",
                "mismatch",
                "empty",
                "bomb",
                "unsafe",
                "encrypted",
                "crashed",
            ), seed
        else:
            assert found.text.strip(), seed
    assert (await converter.convert(FILES[name](), name)).text


async def test_no_process_is_left_behind() -> None:
    converter = Converter(ConvertLimits(workers=2))
    await asyncio.gather(*(converter.convert(pdf(), f"{n}.pdf") for n in range(4)))
    pids = workers_of(converter)
    assert 1 <= len(pids) <= 2
    await converter.close()
    assert workers_of(converter) == []
    for pid in pids:
        await gone(pid)
