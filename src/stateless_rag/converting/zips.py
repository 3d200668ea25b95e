"""Archives, opened with bounds on what comes out of them."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import TYPE_CHECKING

from stateless_rag.errors import UnreadableFile

if TYPE_CHECKING:
    from stateless_rag.converting.limits import ConvertLimits

__all__ = ["Archive"]

_SMALL = 16 * 2**20  # bytes: an archive that unpacks to less than this may have any ratio
_LARGEST_PART = 256 * 2**20
_ENCRYPTED = 0x1


class Archive:
    """An archive in memory. Nothing is ever unpacked to disk, and archives in it are not opened.

    Raises UnreadableFile for what is none, is encrypted, would unpack to too much, or has names that lead out of it.
    """

    def __init__(self, name: str, content: bytes, limits: ConvertLimits) -> None:
        self.name = name
        try:
            self._file = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError) as error:
            raise UnreadableFile(f"{name} is damaged or cut off: {error}", "damaged") from error
        entries = self._file.infolist()
        if len(entries) > limits.entries:
            raise UnreadableFile(f"{name} holds {len(entries)} files; at most {limits.entries} fit", "bomb")
        total = sum(entry.file_size for entry in entries)
        if total > limits.unpacked or (total > _SMALL and total > limits.ratio * len(content)):
            raise UnreadableFile(
                f"{name} would unpack to {total:,} bytes from {len(content):,}; that is too much", "bomb"
            )
        for entry in entries:
            self._check(entry)
        self.names = frozenset(entry.filename for entry in entries)

    def _check(self, entry: zipfile.ZipInfo) -> None:
        if entry.flag_bits & _ENCRYPTED:
            raise UnreadableFile(
                f"{self.name} is encrypted; remove its password, and send it again", "encrypted"
            )
        path = entry.filename
        if path.startswith("/") or "\\" in path or "\0" in path or ".." in path.split("/"):
            raise UnreadableFile(f"{self.name} holds a file whose name leads out of it", "unsafe")

    def read(self, path: str) -> bytes:
        """A file of the archive. Raises UnreadableFile if it is not there, or damaged."""
        try:
            entry = self._file.getinfo(path)
        except KeyError as error:
            raise UnreadableFile(
                f"{self.name} has no {path} in it; it is damaged or of another kind", "damaged"
            ) from (error)
        if entry.file_size > _LARGEST_PART:
            raise UnreadableFile(f"{self.name} holds a part of {entry.file_size:,} bytes; too much", "bomb")
        try:
            return self._file.read(entry)
        except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError, zlib.error) as error:
            raise UnreadableFile(f"{self.name} is damaged in {path}: {error}", "damaged") from error

    def text_parts(self, suffixes: tuple[str, ...]) -> list[str]:
        """The names that end so, in the order of the archive."""
        return [
            entry.filename for entry in self._file.infolist() if entry.filename.lower().endswith(suffixes)
        ]
