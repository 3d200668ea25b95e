from __future__ import annotations

import json
import os
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stateless_rag.errors import StoreError
from stateless_rag.stores.faiss import Base, BaseType, VectorIndex, read_base, write_base
from stateless_rag.stores.faiss.base_file import rows_path, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from stateless_rag.protocols import Hit

KINDS: tuple[BaseType, ...] = ("int8", "float16", "float32")


def base_of(seed: int = 0, kind: BaseType = "int8") -> Base:
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((60, 12)).astype(np.float32)
    matrix[5] = 0.0
    ids = np.sort(random.integers(-(2**63), 2**63 - 1, 60))
    index = VectorIndex.from_rows(ids, matrix, base_rows=1, base_type=kind)
    base = index.build_base(index.view)
    assert base is not None
    return base


def answers(base: Base) -> list[Hit]:
    empty = np.empty((0, base.dimension), dtype=np.float32)
    view = VectorIndex.from_rows([], empty, base=base).view
    return view.search(np.arange(1, base.dimension + 1), 100)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read(tmp_path: Path, kind: BaseType) -> None:
    base = base_of(kind=kind)
    path = tmp_path / "chunk.1.base"
    checksum = write_base(path, base)
    read = read_base(path, checksum, 12, 60)
    assert read is not None
    assert (read.kind, read.codes.step, read.codes.error) == (base.kind, base.codes.step, base.codes.error)
    assert read.ids.tolist() == base.ids.tolist()
    assert answers(read) == answers(base)
    assert len(answers(read)) == 59
    assert [file.name for file in tmp_path.iterdir()] == ["chunk.1.base"]


def test_the_same_rows_make_the_same_file(tmp_path: Path) -> None:
    one, two = write_base(tmp_path / "one", base_of()), write_base(tmp_path / "two", base_of())
    assert one == two == blake2b((tmp_path / "one").read_bytes(), digest_size=32).hexdigest()


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "base"
    old = write_base(path, base_of(1))
    (tmp_path / "base.tmp").write_bytes(b"left by a crash")
    new = write_base(path, base_of(2))
    assert read_base(path, old, 12, 60) is None
    assert read_base(path, new, 12, 60) is not None
    assert [file.name for file in tmp_path.iterdir()] == ["base"]


def test_damage_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "base"
    checksum = write_base(path, base_of())
    content = path.read_bytes()
    for at in [*range(0, len(content), 37), len(content) - 1]:
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        assert read_base(path, checksum, 12, 60) is None
    for length in (0, 1, 8, 11, 12, 40, len(content) - 1):
        path.write_bytes(content[:length])
        assert read_base(path, checksum, 12, 60) is None
    path.write_bytes(content + b"\0")
    assert read_base(path, checksum, 12, 60) is None
    path.unlink()
    assert read_base(path, checksum, 12, 60) is None
    path.mkdir()
    assert read_base(path, checksum, 12, 60) is None


def test_another_file_in_its_place_is_noticed(tmp_path: Path) -> None:
    path, other = tmp_path / "base", tmp_path / "other"
    checksum = write_base(path, base_of(1))
    other_checksum = write_base(other, base_of(2))
    other.replace(path)
    assert read_base(path, checksum, 12, 60) is None
    assert read_base(path, other_checksum, 12, 60) is not None
    assert read_base(path, other_checksum, 13, 60) is None
    assert read_base(path, other_checksum, 12, 59) is None


def header_changed(content: bytes, **changes: object) -> bytes:
    length = int.from_bytes(content[8:12], "little")
    header = json.dumps(json.loads(content[12 : 12 + length]) | changes).encode()
    return content[:8] + len(header).to_bytes(4, "little") + header + content[12 + length :]


def with_header(content: bytes, length: int, header: bytes) -> bytes:
    return content[:8] + length.to_bytes(4, "little") + header


def test_a_right_checksum_over_wrong_content_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "base"
    write_base(path, base_of())
    good = path.read_bytes()
    start = 12 + int.from_bytes(good[8:12], "little")
    forged = {
        "magic": (b"other-v1" + good[8:], 60),
        "header length": (with_header(good, 2**32 - 1, good[12:]), 60),
        "no json": (with_header(good, 3, b"abc" + good[12:]), 60),
        "no object": (with_header(good, 2, b"[]" + good[12:]), 60),
        "kind": (header_changed(good, kind="float8"), 60),
        "error": (header_changed(good, error="none"), 60),
        "step": (header_changed(good, step=None), 60),
        "more rows than bytes": (header_changed(good, count=10**12), 10**12),
        "more rows than the index": (header_changed(good, count=61), 61),
        "fewer rows than the index": (header_changed(good, count=59), 59),
        "unordered ids": (good[:start] + good[start : start + 480][::-1] + good[start + 480 :], 60),
        "no index": (good[: start + 780], 60),
        "broken index": (good[: start + 840], 60),
        "other index": (good[: start + 780] + b"IxXX" + good[start + 784 :], 60),
    }
    for name, (content, count) in forged.items():
        path.write_bytes(content)
        checksum = blake2b(content, digest_size=32).hexdigest()
        assert read_base(path, checksum, 12, count) is None, name


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="missing/base"):
        write_base(tmp_path / "missing" / "base", base_of())
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="folder"):
        write_base(tmp_path / "folder", base_of())
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


# ---- the rows beside it --------------------------------------------------------------------------------


def written_with_rows(path: Path) -> tuple[Base, dict[int, np.ndarray[tuple[int], np.dtype[np.float32]]]]:
    """A base that was written and read again, with its rows, and the rows by id."""
    random = np.random.default_rng(4)
    matrix = random.standard_normal((60, 12)).astype(np.float32)
    ids = np.arange(100, 160)
    index = VectorIndex.from_rows(ids, matrix, base_rows=1)
    with write_rows(path) as keep:
        base = index.build_base(index.view, None, keep)
    assert base is not None
    read = read_base(path, write_base(path, base), 12, 60)
    assert read is not None
    return read, dict(zip(ids.tolist(), matrix, strict=True))


def test_candidates_are_scored_from_the_rows_beside_the_base(tmp_path: Path) -> None:
    base, rows = written_with_rows(tmp_path / "entity-1.base")
    view = VectorIndex.from_rows([], np.empty((0, 12), np.float32), base=base).view
    exact = VectorIndex.from_rows(list(rows), np.stack(list(rows.values()))).view
    asked: list[int] = []

    def rescore(ids: Sequence[int]) -> dict[int, np.ndarray[tuple[int], np.dtype[np.float32]]]:
        asked.extend(ids)
        return {id_: rows[id_] for id_ in ids}

    question = np.arange(1, 13)
    assert view.search(question, 20, rescore=rescore) == exact.search(question, 20)
    assert view.similarities(question, list(rows), rescore=rescore) == exact.similarities(
        question, list(rows)
    )
    assert asked == []


@pytest.mark.parametrize(
    "damage", ["missing", "short", "other rows", "one value", "not a number", "truncated later"]
)
def test_a_damaged_file_of_rows_is_not_believed(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "entity-1.base"
    base, rows = written_with_rows(path)
    beside = rows_path(path)
    content = np.fromfile(beside, dtype="<f4").reshape(60, 12)
    del base
    if damage == "missing":
        beside.unlink()
    elif damage == "short":
        beside.write_bytes(content[:-1].tobytes())
    elif damage == "other rows":
        content[::-1].tofile(beside)
    elif damage == "one value":
        content[:, 3] *= 1 + 1e-7  # less than the codes can tell
        content.tofile(beside)
    elif damage == "not a number":
        np.full_like(content, np.nan).tofile(beside)
    read = read_base(path, blake2b(path.read_bytes(), digest_size=32).hexdigest(), 12, 60)
    assert read is not None
    assert (read.whole is None) == (damage in {"missing", "short"})
    if damage == "truncated later":
        os.truncate(beside, 100)
    view = VectorIndex.from_rows([], np.empty((0, 12), np.float32), base=read).view
    exact = VectorIndex.from_rows(list(rows), np.stack(list(rows.values()))).view
    question = np.arange(1, 13)
    assert view.search(question, 20, rescore=lambda ids: {n: rows[n] for n in ids}) == exact.search(
        question, 20
    )
