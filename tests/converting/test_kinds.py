"""Files of each kind become text."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from converting.files import FILES, cfb, docx, encrypted_pdf, epub, html, odt, pdf, pptx, xlsx, zipped
from stateless_rag import (
    Converter,
    ConvertLimits,
    Document,
    FileDocument,
    InvalidInput,
    StoreClosed,
    UnreadableFile,
)
from stateless_rag.converting import SUFFIXES, convert, kind_of, page_at
from stateless_rag.converting.read import read


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    made = Converter(ConvertLimits(workers=1))
    yield made
    made.stop()


TEXTS = {
    "a.docx": "# The heading\n\nAda wrote notes.\n\nleft | right",
    "a.epub": "# One\n\nAda wrote notes.\n\n# Two\n\nIt ended well.",
    "a.html": "# The heading\n\nAda wrote notes.\n\n- one\n- two",
    "a.ods": "## Budget\nAda wrote notes.",
    "a.odt": "## The heading\n\nAda wrote notes.\n\n- one\nleft | right",
    "a.pdf": "Ada wrote notes.",
    "a.pptx": "## Slide 1\nFirst\n\n## Slide 2\nLast\nAda wrote notes.\nNotes:\nSay hello",
    "a.xlsx": "## Budget\nAda wrote notes. |  | 42\n1.5",
    "a.txt": "Ada wrote notes. Zur Straße.",
    "a.md": "# Notes\n\nAda wrote notes.",
    "a.csv": "name,what\nAda wrote notes.,1\n",
    "a.json": '{"a": "Ada wrote notes."}',
    "a.py": 'print("Ada wrote notes.")\n',
}
FACTS = {"title": "A title", "author": "Ada"}
METADATA: dict[str, Any] = {
    "a.docx": {"kind": "docx", **FACTS},
    "a.epub": {"kind": "epub", **FACTS},
    "a.html": {"kind": "html", "title": "A title"},
    "a.ods": {"kind": "ods", "sheets": ["Budget"]},
    "a.odt": {"kind": "odt"},
    "a.pdf": {"kind": "pdf", "pages": [0], **FACTS},
    "a.pptx": {"kind": "pptx", "slides": 2, **FACTS},
    "a.xlsx": {"kind": "xlsx", "sheets": ["Budget"], **FACTS},
}


@pytest.mark.parametrize("name", FILES)
async def test_a_file_becomes_its_text(converter: Converter, name: str) -> None:
    found = await converter.convert(FILES[name](), name)
    assert found.text == TEXTS[name]
    assert found.metadata == METADATA.get(name, {})
    assert (await converter.convert(FILES[name](), name.upper())).text == TEXTS[name]


async def test_pages_are_known(converter: Converter) -> None:
    found = await converter.convert(pdf("first", "second page", "third"), "a.pdf")
    assert found.text == "first\n\nsecond page\n\nthird"
    assert [page_at(found.metadata, found.text.index(word)) for word in ("first", "page", "third")] == [
        1,
        2,
        3,
    ]
    assert page_at({}, 5) is None
    assert page_at({"pages": "many"}, 5) is None


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.exe", lambda: b"MZ", "unsupported"),
        ("a", lambda: b"text", "unsupported"),
        ("a.pdf.zip", pdf, "unsupported"),
        ("a.txt", lambda: b"", "empty"),
        ("a.txt", lambda: b" \n\t", "empty"),
        ("a.html", lambda: b"<script>only()</script>", "empty"),
        ("a.txt", pdf, "mismatch"),
        ("a.txt", docx, "mismatch"),
        ("a.txt", lambda: b"\x89PNG\r\n\x1a\nrest", "mismatch"),
        ("a.txt", lambda: b"text\0with zeros", "mismatch"),
        ("a.txt", lambda: b"\xff\xfe\x00", "damaged"),
        ("a.pdf", lambda: b"no PDF at all", "mismatch"),
        ("a.pdf", docx, "mismatch"),
        ("a.docx", pdf, "mismatch"),
        ("a.docx", xlsx, "mismatch"),
        ("a.xlsx", docx, "mismatch"),
        ("a.pptx", odt, "mismatch"),
        ("a.epub", docx, "mismatch"),
        ("a.odt", epub, "mismatch"),
        ("a.docx", cfb, "encrypted"),
        ("a.docx", lambda: cfb(encrypted=False), "mismatch"),
        ("a.pdf", encrypted_pdf, "encrypted"),
        ("a.odt", lambda: odt(manifest="<manifest:encryption-data/>"), "encrypted"),
        ("a.epub", lambda: epub(more={"META-INF/encryption.xml": DRM}), "encrypted"),
        ("a.pdf", lambda: pdf(" "), "empty"),
        ("a.pdf", lambda: b"%PDF-1.7\nand nothing more", "damaged"),
        ("a.docx", lambda: docx()[:200], "damaged"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_a_reason(
    converter: Converter, name: str, content: Callable[[], bytes], reason: str
) -> None:
    with pytest.raises(UnreadableFile) as error:
        await converter.convert(content(), name)
    assert error.value.reason == reason
    assert str(error.value).startswith(name)


DRM = (
    '<encryption xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:CipherData>'
    '<enc:CipherReference URI="OEBPS/one.xhtml"/></enc:CipherData></enc:EncryptedData></encryption>'
)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8-sig", "with a mark: é"),
        ("utf-16", "Grüße aus Köln"),
        ("utf-32", "Grüße aus Köln"),
        ("cp1252", "Le café à côté était fermé."),
        ("gb18030", "图谱增强检索是一种结合知识图谱的方法。"),
        ("big5", "圖譜增強檢索是一種結合知識圖譜的方法,很多人使用。"),
        ("shift_jis", "これは日本語の文章です。検索のために使います。"),
        ("cp1251", "Привет мир, это русский текст для проверки."),
    ],
)
async def test_texts_may_be_in_any_encoding(converter: Converter, encoding: str, text: str) -> None:
    assert (await converter.convert(text.encode(encoding), "a.txt")).text == text


@pytest.mark.parametrize("encoding", ["gb2312", "iso-8859-2", "utf-16"])
async def test_a_page_says_its_encoding(converter: Converter, encoding: str) -> None:
    text = "图谱检索" if encoding != "iso-8859-2" else "Łódź"
    page = f'<html><head><meta charset="{encoding}"></head><body><p>{text}</body></html>'
    assert (await converter.convert(page.encode(encoding), "a.html")).text == text


async def test_a_page_is_read_as_its_reader_sees_it(converter: Converter) -> None:
    page = (
        "<body>before<p>one   two<br>three<p>four <b>bo</b>ld</p><pre>  x\n    y</pre>"
        "<table><tr><td><p>a</p><td><ul><li>b</ul></td></tr><tr><th>c</table><style>p{}</style>after &amp; end</body>"
    )
    found = await converter.convert(page.encode(), "a.html")
    assert found.text == "before\n\none two\nthree\n\nfour bold\n\n  x\n    y\n\na | - b\nc\n\nafter & end"


async def test_slides_without_relations_and_empty_sheets_are_empty(converter: Converter) -> None:
    bare = zipped({"ppt/presentation.xml": "<p/>"})
    with pytest.raises(UnreadableFile, match="no text"):
        await converter.convert(bare, "a.pptx")


async def test_a_hyphen_at_the_end_of_a_line_is_taken_out(converter: Converter) -> None:
    body = pdf().replace(b"(Ada wrote notes.) Tj", b"(know-) Tj 0 -14 Td (ledge) Tj")
    found = await converter.convert(body, "a.pdf")
    assert found.text.replace("\n", "") in ("knowledge", "know-ledge")


async def test_the_document_of_a_file_is_a_text_where_it_can_be(converter: Converter) -> None:
    text = await converter.document(b"plain", "a.txt", document_id="x")
    assert text == Document("plain", id="x", source="a.txt")
    file = await converter.document(pdf(), "a.pdf")
    assert isinstance(file, FileDocument)
    assert (file.name, file.source, file.content) == ("a.pdf", "a.pdf", pdf())
    with pytest.raises(UnreadableFile):
        await converter.document(b"", "a.txt")


async def test_one_file_by_path_or_contents(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_bytes(html())
    assert (await convert(path)).metadata["title"] == "A title"
    assert (await convert(b"text", "a.txt")).text == "text"
    with pytest.raises(InvalidInput, match="need a name"):
        await convert(b"text")
    with pytest.raises(FileNotFoundError):
        await convert(tmp_path / "gone.txt")


@pytest.mark.parametrize(
    "values", [{"content": "text"}, {"name": ""}, {"name": 3}, {"metadata": {1: object()}}]
)
def test_a_file_document_says_what_is_wrong_with_it(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        FileDocument(**{"content": b"x", "name": "a.txt", **values})


async def test_a_closed_converter_says_so() -> None:
    made = Converter()
    await made.close()
    await made.close()
    with pytest.raises(StoreClosed, match="closed"):
        await made.convert(html(), "a.html")


async def test_too_much_is_refused() -> None:
    async with Converter(ConvertLimits(content=2000, characters=50)) as small:
        with pytest.raises(UnreadableFile, match="too large"):
            await small.convert(b"x" * 2001, "a.txt")
        for name, content in (("a.txt", b"x" * 51), ("a.html", b"<p>" + b"x" * 51), ("a.pdf", pdf("x" * 51))):
            with pytest.raises(UnreadableFile, match="50 characters") as error:
                await small.convert(content, name)
            assert error.value.reason == "too_large"


def test_suffixes_are_those_of_the_kinds_that_are_promised() -> None:
    promised = ["txt", "md", "html", "pdf", "docx", "pptx", "xlsx", "epub", "csv", "json", "py", "c", "java"]
    assert {f".{each}" for each in promised} <= set(SUFFIXES)
    assert list(SUFFIXES) == sorted(SUFFIXES)


async def test_another_loop_may_use_it(converter: Converter) -> None:
    found = await asyncio.to_thread(lambda: asyncio.run(converter.convert(pptx(), "a.pptx")))
    assert found.metadata["slides"] == 2


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("a.pdf", "pypdfium2"),
        ("a.docx", "mammoth"),
        ("a.xlsx", "python_calamine"),
        ("a.html", "selectolax.lexbor"),
        ("a.txt", "charset_normalizer"),
    ],
)
def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, name: str, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    content = FILES[name]()
    with pytest.raises(UnreadableFile, match=r"pip install 'stateless-rag\[convert\]'") as error:
        read(kind_of(name, content), name, content, ConvertLimits())
    assert error.value.reason == "unavailable"
