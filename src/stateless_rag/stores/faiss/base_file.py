"""A base segment as a file: a header, the ids, the codes. A cache: what does not fit is not read.

Beside it lies a file of the same rows in float32, in order, from which candidates are scored exactly. What is read
of it is checked row by row against sums in the base, so it needs no checksum as a whole.
"""

from __future__ import annotations

import json
import os
import weakref
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b
from itertools import repeat
from typing import TYPE_CHECKING, Any, BinaryIO, get_args

import numpy as np

from stateless_rag.errors import StoreError
from stateless_rag.stores.faiss.base_segment import Base
from stateless_rag.stores.faiss.codes import BaseType, Codes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from stateless_rag.stores.faiss.cosine import Vectors

__all__ = ["read_base", "rows_path", "with_rows", "write_base", "write_rows"]

# magic (8 bytes), header length (4), header (JSON), ids (int64), usable (1 byte each), sums (4), FAISS index
_MAGIC = b"srag-v2\n"
_PREFIX = len(_MAGIC) + 4
_PIECE = 1 << 20  # bytes


def write_base(path: Path, base: Base) -> str:
    """Write the base so that `path` holds it whole or not at all, also after a loss of power.

    Returns the checksum to record (BLAKE2b of the file, hex). Raises `StoreError` if it cannot be written.
    """
    import faiss

    codes = base.codes
    header: dict[str, object] = {"count": len(base), "dimension": base.dimension}
    header |= {"error": codes.error, "kind": codes.kind, "step": codes.step}
    encoded = json.dumps(header, sort_keys=True).encode()
    checksum = blake2b(digest_size=32)
    with _written(path) as file:

        def write(part: bytes) -> None:
            checksum.update(part)
            file.write(part)

        write(_MAGIC + len(encoded).to_bytes(4, "little") + encoded)
        write(base.ids.astype("<i8").tobytes())
        write(base.usable.astype(np.uint8).tobytes())
        write(base.sums.astype("<u4").tobytes())
        # Piece by piece: serialised as a whole it would be in memory three times.
        library: Any = faiss  # whose annotations lack the writer
        library.write_index(codes.index, library.PyCallbackIOWriter(write, _PIECE))
    return checksum.hexdigest()


def rows_path(path: Path) -> Path:
    """Where the rows lie of the base in `path`."""
    return path.with_suffix(".rows")


@contextmanager
def write_rows(path: Path) -> Iterator[Callable[[Vectors], None]]:
    """Write the rows of the base in `path`, block by block, so that they are there whole or not at all."""
    with _written(rows_path(path)) as file:

        def write(rows: Vectors) -> None:
            file.write(rows.astype("<f4", copy=False).tobytes())

        yield write


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    temporary = path.with_name(path.name + ".tmp")
    try:
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as exc:
        raise StoreError(f"cannot write the vector file {path}: {exc}; check space and permissions") from exc


class RowFile:
    """The rows beside a base, read one by one where they are wanted.

    Not mapped: a file that is truncated while it is mapped would kill the process.
    """

    def __init__(self, path: Path, count: int, dimension: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._count = count
        self._dimension = dimension
        weakref.finalize(self, self._file.close)

    @classmethod
    def of(cls, path: Path, count: int, dimension: int) -> RowFile | None:
        """The file if it is there and has the size it must have."""
        try:
            return cls(path, count, dimension) if path.stat().st_size == 4 * count * dimension else None
        except OSError:
            return None

    def rows(self, positions: Iterable[int]) -> Vectors | None:
        """The rows at these positions, shape (positions, dimension); None if one cannot be read."""
        size = 4 * self._dimension
        starts = [size * position for position in positions]
        try:
            content = b"".join(map(os.pread, repeat(self._file.fileno()), repeat(size), starts))
        except OSError:
            return None
        if len(content) != size * len(starts):
            return None
        return np.frombuffer(content, dtype="<f4").reshape(-1, self._dimension)


def with_rows(base: Base, path: Path) -> Base:
    """The base with the rows that lie beside the file `path`, if there are any: as `read_base` would give it."""
    return replace(base, whole=RowFile.of(rows_path(path), len(base), base.dimension))


def read_base(path: Path, checksum: str, dimension: int, count: int) -> Base | None:
    """The base in the file; None if the file is missing, damaged, or not the one that is described.

    Nothing in the file is believed before its checksum is right; sizes are checked all the same.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if blake2b(content, digest_size=32).hexdigest() != checksum:
        return None
    header = _header(content)
    if header is None or (header.get("dimension"), header.get("count")) != (dimension, count):
        return None
    if header.get("kind") not in get_args(BaseType) or not all(
        isinstance(header.get(name), float) for name in ("error", "step")
    ):
        return None
    start = _PREFIX + int.from_bytes(content[len(_MAGIC) : _PREFIX], "little")
    if len(content) <= start + 13 * count:
        return None
    ids = np.frombuffer(content, dtype="<i8", count=count, offset=start).astype(np.int64)
    usable = np.frombuffer(content, dtype=np.uint8, count=count, offset=start + 8 * count) != 0
    sums = np.frombuffer(content, dtype="<u4", count=count, offset=start + 9 * count).astype(np.uint32)
    index = _index(np.frombuffer(content, dtype=np.uint8, offset=start + 13 * count))
    if index is None or (index.d, index.ntotal) != (dimension, count) or (ids[1:] <= ids[:-1]).any():
        return None
    codes = Codes(index, header["kind"], header["step"], header["error"])
    return Base(ids, usable, sums, codes, RowFile.of(rows_path(path), count, dimension))


def _header(content: bytes) -> dict[str, Any] | None:
    length = int.from_bytes(content[len(_MAGIC) : _PREFIX], "little")
    if not content.startswith(_MAGIC) or _PREFIX + length > len(content):
        return None
    try:
        header = json.loads(content[_PREFIX : _PREFIX + length])
    except ValueError:
        return None
    return header if isinstance(header, dict) else None


def _index(serialized: np.ndarray[Any, np.dtype[np.uint8]]) -> Any:
    import faiss

    try:
        index = faiss.deserialize_index(serialized)
    except RuntimeError:  # what FAISS raises for bytes it cannot read
        return None
    return index if index.metric_type == faiss.METRIC_INNER_PRODUCT else None


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a loss of power; folders cannot be opened on Windows."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
