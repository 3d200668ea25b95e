"""The vectors of a folder: nano-vectordb's JSON files, and FAISS files with their rows beside them.

A row that cannot be told, or whose numbers cannot be, is left out and noted.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stateless_rag.interop.json_files import Row, file_text, items_from, read_rows, string

if TYPE_CHECKING:
    from stateless_rag.interop.problems import Problems
    from stateless_rag.protocols import Vectors

__all__ = ["VectorRow", "read_vectors"]

_DIMENSION = re.compile(r'"embedding_dim"\s*:\s*(\d{1,6})\b')
_DATA = re.compile(r'"data"\s*:\s*\[')
_MATRIX = re.compile(r'"matrix"\s*:\s*"([A-Za-z0-9+/=]*)')
_FLAT_HEADER = "<4siqqqBiq"  # tag, dimension, rows, two fillers, trained, metric, numbers
_LARGEST = 1 << 16  # dimensions
_ALIKE = 0.98  # two forms of one vector, of which one was rounded to half precision


@dataclass(frozen=True, slots=True, eq=False)
class VectorRow:
    """What is stored beside a vector, and the vector itself, None where it cannot be used."""

    id: str
    fields: Row
    vector: Vectors | None


def read_vectors(folder: Path, name: str, problems: Problems) -> list[VectorRow]:
    """The rows of `vdb_<name>.json` and of `faiss_index_<name>.index`, whichever are there.

    Of rows with one id the newest is kept.
    """
    rows = [
        *_from_json(folder / f"vdb_{name}.json", problems),
        *_from_faiss(folder / f"faiss_index_{name}.index", problems),
    ]
    newest: dict[str, VectorRow] = {}
    for row in rows:
        known = newest.get(row.id)
        if known is None or _age(row.fields) >= _age(known.fields):
            newest[row.id] = row
    return list(newest.values())


def _age(fields: Row) -> tuple[float, float]:
    return (_number(fields.get("__write_seq__")), _number(fields.get("__created_at__")))


def _number(value: Any) -> float:
    """A number, 0 for anything else; an integer may be too large to be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        return float(value)
    except OverflowError:
        return 0.0


# ---- JSON ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Container:
    """What a JSON file holds. `cut`: it was not read to its end, so the matrix may have too few rows."""

    dimension: int
    items: list[Any]
    matrix: str
    cut: bool


def _from_json(path: Path, problems: Problems) -> list[VectorRow]:
    text = file_text(path, problems)
    if text is None or not text.strip():
        return []
    container = _container(text)
    if container.cut:
        problems.add(path.name, f"is cut off or damaged; {len(container.items):,} rows could be read")
    rows = [item if isinstance(item, dict) else {} for item in container.items]
    if not 0 < container.dimension < _LARGEST:
        problems.add(path.name, "does not tell the dimension of its vectors")
        vectors: list[Vectors | None] = [None] * len(rows)
    else:
        vectors = _vectors_of(container, rows, path.name, problems)
    return _rows(path.name, rows, vectors, problems)


def _container(text: str) -> _Container:
    try:
        whole = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        dimension, data, matrix = _DIMENSION.search(text), _DATA.search(text), _MATRIX.search(text)
        return _Container(
            int(dimension[1]) if dimension else 0,
            items_from(text, data.end()) if data else [],
            matrix[1] if matrix else "",
            cut=True,
        )
    told = whole if isinstance(whole, dict) else {}
    dimension, items = told.get("embedding_dim"), told.get("data")
    return _Container(
        dimension if isinstance(dimension, int) else 0,
        items if isinstance(items, list) else [],
        string(told, "matrix"),
        cut=not isinstance(whole, dict),
    )


def _vectors_of(
    container: _Container, rows: Sequence[Row], name: str, problems: Problems
) -> list[Vectors | None]:
    """The row of the matrix, else the vector in the row itself. Where both are there and differ, neither."""
    import numpy as np

    matrix = _matrix(container, len(rows), name, problems)
    found: list[Vectors | None] = []
    for place, row in enumerate(rows):
        own = _own_vector(row, container.dimension)
        if place >= len(matrix):
            found.append(own)
            continue
        unit = matrix[place]
        with np.errstate(all="ignore"):
            length = float(np.linalg.norm(unit))
            cosine = 1.0 if own is None else float(unit @ own / np.linalg.norm(own))
        found.append(unit if cosine > _ALIKE and 0.9 < length < 1.1 else None)
    return found


def _matrix(container: _Container, count: int, name: str, problems: Problems) -> Vectors:
    import numpy as np

    whole = container.matrix[: len(container.matrix) // 4 * 4]
    try:
        content = base64.b64decode(whole)
    except ValueError:
        content = b""
    size = 4 * container.dimension
    if len(content) != size * count and not container.cut:
        if container.matrix:
            problems.add(name, "its matrix does not fit its rows")
        content = b""
    content = content[: min(len(content) // size, count) * size]
    return np.frombuffer(content, dtype="<f4").reshape(-1, container.dimension)


def _own_vector(row: Row, dimension: int) -> Vectors | None:
    """The vector that newer files keep in each row too, at half precision; older ones had a list."""
    import numpy as np

    packed, plain = row.get("vector"), row.get("__vector__")
    try:
        if isinstance(packed, str):
            content = zlib.decompressobj().decompress(base64.b64decode(packed), 2 * dimension + 1)
            vector = np.frombuffer(content, dtype="<f2").astype(np.float32)
        elif isinstance(plain, list):
            vector = np.array(plain, dtype=np.float32)
        else:
            return None
    except (ValueError, TypeError, OverflowError, zlib.error):
        return None
    return vector if vector.shape == (dimension,) and np.isfinite(vector).all() and vector.any() else None


# ---- FAISS ---------------------------------------------------------------------------------------------


def _from_faiss(path: Path, problems: Problems) -> list[VectorRow]:
    meta = read_rows(path.with_name(f"{path.name}.meta.json"), problems)
    matrix = _flat_index(path, problems)
    if matrix is None:
        vectors: list[Vectors | None] = [None] * len(meta)
    else:
        places = [int(key) if re.fullmatch(r"[0-9]{1,18}", key) else -1 for key in meta]
        vectors = [matrix[place] if 0 <= place < len(matrix) else None for place in places]
    return _rows(path.name, list(meta.values()), vectors, problems)


def _flat_index(path: Path, problems: Problems) -> Vectors | None:
    """The vectors of a flat FAISS index, read from its bytes: as many as are whole. None if there are none.

    FAISS itself would trust the sizes that a damaged file tells.
    """
    import numpy as np

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        problems.add(path.name, f"cannot be read ({error.strerror or error})")
        return None
    size = struct.calcsize(_FLAT_HEADER)
    if len(content) < size or content[:4] not in (b"IxFI", b"IxF2"):
        problems.add(path.name, "is no flat FAISS index")
        return None
    _, dimension, count, _, _, _, _, numbers = struct.unpack_from(_FLAT_HEADER, content)
    if not 0 < dimension < _LARGEST or count < 0 or numbers != count * dimension:
        problems.add(path.name, "has a damaged header")
        return None
    body = content[size:]
    whole = min(len(body) // (4 * dimension), count)
    if whole < count:
        problems.add(path.name, f"is cut off; {whole:,} of {count:,} vectors could be read")
    return np.frombuffer(body[: 4 * dimension * whole], dtype="<f4").reshape(-1, dimension)


# ---- rows ----------------------------------------------------------------------------------------------


def _rows(
    name: str, rows: Sequence[Row], vectors: Sequence[Vectors | None], problems: Problems
) -> list[VectorRow]:
    import numpy as np

    found = []
    for row, vector in zip(rows, vectors, strict=True):
        id_ = string(row, "__id__")
        if not id_:
            problems.add(name, "a row without an id")
            continue
        usable = vector is not None and bool(np.isfinite(vector).all()) and bool(vector.any())
        if not usable:
            problems.add(name, "a row without a usable vector", id_)
        found.append(VectorRow(id_, row, vector if usable else None))
    return found
