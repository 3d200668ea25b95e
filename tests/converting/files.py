"""Small files of each kind, made by hand."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping

__all__ = [
    "FILES",
    "cfb",
    "docx",
    "encrypted_pdf",
    "epub",
    "html",
    "ods",
    "odt",
    "pdf",
    "pptx",
    "xlsx",
    "zipped",
]

_XML = '<?xml version="1.0" encoding="UTF-8"?>'
_OFFICE = "http://schemas.openxmlformats.org"
_RELATIONS = f"{_OFFICE}/package/2006/relationships"
_KIND = f"{_OFFICE}/officeDocument/2006/relationships"
_CORE = (
    f'{_XML}<cp:coreProperties xmlns:cp="{_OFFICE}/package/2006/metadata/core-properties" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A title</dc:title><dc:creator>Ada</dc:creator>'
    "</cp:coreProperties>"
)


def zipped(parts: Mapping[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, compression)
    return made.getvalue()


def _relations(*targets: tuple[str, str, str]) -> str:
    listed = "".join(
        f'<Relationship Id="{id_}" Type="{_KIND}/{kind}" Target="{target}"/>' for id_, kind, target in targets
    )
    return f'{_XML}<Relationships xmlns="{_RELATIONS}">{listed}</Relationships>'


def _types(**parts: str) -> str:
    listed = "".join(
        f'<Override PartName="/{part.replace("__", "/")}.xml" '
        f'ContentType="application/vnd.openxmlformats-officedocument.{kind}+xml"/>'
        for part, kind in parts.items()
    )
    return (
        f'{_XML}<Types xmlns="{_OFFICE}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{listed}</Types>'
    )


def docx(text: str = "Ada wrote notes.", more: Mapping[str, str | bytes] | None = None) -> bytes:
    """A Word file: a heading, a paragraph, a table."""
    word = f'xmlns:w="{_OFFICE}/wordprocessingml/2006/main"'

    def paragraph(said: str, style: str = "") -> str:
        named = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
        return f"<w:p>{named}<w:r><w:t>{said}</w:t></w:r></w:p>"

    cells = "".join(f"<w:tc>{paragraph(said)}</w:tc>" for said in ("left", "right"))
    body = paragraph("The heading", "Heading1") + paragraph(text) + f"<w:tbl><w:tr>{cells}</w:tr></w:tbl>"
    styles = '<w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/></w:style>'
    return zipped(
        {
            "[Content_Types].xml": _types(
                word__document="wordprocessingml.document.main", word__styles="wordprocessingml.styles"
            ),
            "_rels/.rels": _relations(("rId1", "officeDocument", "word/document.xml")),
            "word/_rels/document.xml.rels": _relations(("rId1", "styles", "styles.xml")),
            "word/styles.xml": f"{_XML}<w:styles {word}>{styles}</w:styles>",
            "word/document.xml": f"{_XML}<w:document {word}><w:body>{body}</w:body></w:document>",
            "docProps/core.xml": _CORE,
            **(more or {}),
        }
    )


def pptx(text: str = "Ada wrote notes.", more: Mapping[str, str | bytes] | None = None) -> bytes:
    """A presentation of two slides, the second shown first, one with notes."""
    drawn = f'xmlns:a="{_OFFICE}/drawingml/2006/main" xmlns:p="{_OFFICE}/presentationml/2006/main"'

    def slide(*said: str) -> str:
        shown = "".join(f"<a:p><a:r><a:t>{each}</a:t></a:r></a:p>" for each in said)
        return f"{_XML}<p:sld {drawn}><p:txBody>{shown}</p:txBody></p:sld>"

    listed = '<p:sldId id="256" r:id="rId2"/><p:sldId r:id="rId1" id="257"/>'
    return zipped(
        {
            "ppt/presentation.xml": f'{_XML}<p:presentation {drawn} xmlns:r="{_KIND}"><p:sldIdLst>{listed}'
            "</p:sldIdLst></p:presentation>",
            "ppt/_rels/presentation.xml.rels": _relations(
                ("rId1", "slide", "slides/slide1.xml"), ("rId2", "slide", "slides/slide2.xml")
            ),
            "ppt/slides/slide1.xml": slide("Last", text),
            "ppt/slides/slide2.xml": slide("First"),
            "ppt/slides/_rels/slide1.xml.rels": _relations(
                ("rId1", "notesSlide", "../notesSlides/notesSlide1.xml")
            ),
            "ppt/notesSlides/notesSlide1.xml": slide("Say hello"),
            "docProps/core.xml": _CORE,
            **(more or {}),
        }
    )


def xlsx(text: str = "Ada wrote notes.", more: Mapping[str, str | bytes] | None = None) -> bytes:
    """A workbook of one sheet."""
    sheet = f'xmlns="{_OFFICE}/spreadsheetml/2006/main"'
    rows = (
        f'<row r="1"><c r="A1" t="inlineStr"><is><t>{text}</t></is></c><c r="C1"><v>42</v></c></row>'
        '<row r="3"><c r="A3"><v>1.5</v></c></row>'
    )
    return zipped(
        {
            "[Content_Types].xml": _types(xl__workbook="spreadsheetml.sheet.main"),
            "_rels/.rels": _relations(("rId1", "officeDocument", "xl/workbook.xml")),
            "xl/_rels/workbook.xml.rels": _relations(("rId1", "worksheet", "worksheets/sheet1.xml")),
            "xl/workbook.xml": f'{_XML}<workbook {sheet} xmlns:r="{_KIND}"><sheets>'
            '<sheet name="Budget" sheetId="1" r:id="rId1"/></sheets></workbook>',
            "xl/worksheets/sheet1.xml": f"{_XML}<worksheet {sheet}><sheetData>{rows}</sheetData></worksheet>",
            "docProps/core.xml": _CORE,
            **(more or {}),
        }
    )


def _open_document(kind: str, body: str, manifest: str = "") -> bytes:
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "text", "table")
    )
    mime = f"application/vnd.oasis.opendocument.{kind}"
    entries = f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{mime}"/>{manifest}'
    space = 'xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"'
    return zipped(
        {
            "mimetype": mime,
            "content.xml": f"{_XML}<office:document-content {spaces}><office:body>{body}</office:body>"
            "</office:document-content>",
            "META-INF/manifest.xml": f"{_XML}<manifest:manifest {space}>{entries}</manifest:manifest>",
        }
    )


def odt(text: str = "Ada wrote notes.", manifest: str = "") -> bytes:
    """An OpenDocument text."""
    body = (
        '<office:text><text:h text:outline-level="2">The heading</text:h>'
        f"<text:p>{text}</text:p><text:list><text:list-item><text:p>one</text:p></text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>left</text:p></table:table-cell>"
        "<table:table-cell><text:p>right</text:p></table:table-cell></table:table-row></table:table></office:text>"
    )
    return _open_document("text", body, manifest)


def ods(text: str = "Ada wrote notes.") -> bytes:
    """An OpenDocument table."""
    cell = f'<table:table-cell office:value-type="string"><text:p>{text}</text:p></table:table-cell>'
    row = f"<table:table-row>{cell}</table:table-row>"
    body = f'<office:spreadsheet><table:table table:name="Budget">{row}</table:table></office:spreadsheet>'
    return _open_document("spreadsheet", body)


def epub(text: str = "Ada wrote notes.", more: Mapping[str, str | bytes] | None = None) -> bytes:
    """A book of two chapters."""
    package = (
        f'{_XML}<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        "<dc:title>A title</dc:title><dc:creator>Ada</dc:creator></metadata><manifest>"
        '<item id="b" href="two%20.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="a" href="one.xhtml" media-type="application/xhtml+xml"/>'
        '</manifest><spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
    )
    chapter = '<html xmlns="http://www.w3.org/1999/xhtml"><body><h1>{}</h1><p>{}</p></body></html>'
    container = '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": f"{_XML}{container}",
            "OEBPS/book.opf": package,
            "OEBPS/one.xhtml": chapter.format("One", text),
            "OEBPS/two .xhtml": chapter.format("Two", "It ended well."),
            **(more or {}),
        }
    )


def pdf(*pages: str, extra: str = "") -> bytes:
    """A PDF with a page for each text, one line each; `extra` goes into its trailer."""
    texts = pages or ("Ada wrote notes.",)
    kids = " ".join(f"{5 + 2 * number} 0 R" for number in range(len(texts)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(texts)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        "<< /Title (A title) /Author (Ada) >>",
    ]
    for number, text in enumerate(texts):
        drawn = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {6 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
    made = "%PDF-1.4\n"
    places = []
    for number, said in enumerate(objects, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n{said}\nendobj\n"
    start = len(made)
    made += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n"
    made += "".join(f"{place:010} 00000 n \n" for place in places)
    made += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info 4 0 R {extra} >>\nstartxref\n{start}\n%%EOF\n"
    return made.encode("latin-1")


def encrypted_pdf() -> bytes:
    """A PDF that needs a password."""
    secret = "00" * 32
    return pdf(
        extra=f"/ID [<{'11' * 16}> <{'11' * 16}>] "
        f"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{secret}> /U <{secret}> >>"
    )


def cfb(encrypted: bool = True) -> bytes:
    """How a Word file begins that needs a password, or one of before 2007."""
    name = "EncryptedPackage" if encrypted else "WordDocument"
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + name.encode("utf-16-le") + bytes(512)


def html(text: str = "Ada wrote notes.") -> bytes:
    """A page."""
    return (
        f"<!DOCTYPE html><html><head><title>A title</title><style>p {{}}</style></head><body><h1>The heading</h1>"
        f"<script>alert(1)</script><p>{text}</p><ul><li>one<li>two</ul></body></html>"
    ).encode()


FILES: Mapping[str, Callable[[], bytes]] = {
    "a.docx": docx,
    "a.epub": epub,
    "a.html": html,
    "a.ods": ods,
    "a.odt": odt,
    "a.pdf": pdf,
    "a.pptx": pptx,
    "a.xlsx": xlsx,
    "a.txt": lambda: "Ada wrote notes. Zur Straße.".encode("cp1252"),
    "a.md": lambda: b"# Notes\n\nAda wrote notes.",
    "a.csv": lambda: b"name,what\nAda wrote notes.,1\n",
    "a.json": lambda: b'{"a": "Ada wrote notes."}',
    "a.py": lambda: b'print("Ada wrote notes.")\n',
}
