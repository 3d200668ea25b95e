"""The process that reads files: told of one after the other by its parent, over pipes. Started by `process`.

Frames are 8 bytes of length and so many bytes. In: a header as JSON, then the file. Out: a header as JSON, then the
text in UTF-8. Ends when its input does.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
from typing import TYPE_CHECKING, Any

from stateless_rag.converting.limits import ConvertLimits
from stateless_rag.converting.read import read
from stateless_rag.errors import UnreadableFile

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["main", "read_frame", "write_frame"]

_REFUSED = (
    "ctypes.dlopen",
    "ftplib.",
    "http.",
    "os.chmod",
    "os.exec",
    "os.fork",
    "os.kill",
    "os.link",
    "os.mkdir",
    "os.posix_spawn",
    "os.putenv",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.spawn",
    "os.symlink",
    "os.system",
    "os.truncate",
    "shutil.",
    "smtplib.",
    "socket.",
    "subprocess.",
    "tempfile.",
    "urllib.",
    "webbrowser.",
)
_MODULES = ("charset_normalizer", "mammoth", "pypdfium2", "python_calamine", "selectolax.lexbor")
_SPARE = (
    5  # seconds of computing beyond the limit, after which the kernel ends a worker that has lost its parent
)


def read_frame(stream: BinaryIO, most: int) -> bytes | None:
    """The next frame; None at the end of the stream. Raises ValueError for one that is longer than `most` bytes."""
    length = int.from_bytes(head, "big") if len(head := stream.read(8)) == 8 else None
    if length is None:
        return None
    if length > most:
        raise ValueError(f"a frame of {length} bytes")
    content = stream.read(length)
    return content if len(content) == length else None


def write_frame(stream: BinaryIO, content: bytes) -> None:
    """Write a frame."""
    stream.write(len(content).to_bytes(8, "big"))
    stream.write(content)
    stream.flush()


def main(told: str) -> None:
    """Convert what comes, within the limits that are told as JSON, until nothing more comes."""
    limits = ConvertLimits(**json.loads(told))
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    quiet = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):  # what parsers print goes nowhere
        os.dup2(quiet, number)
    for each in _MODULES:
        _import(each)
    gc.collect()
    gc.freeze()  # what is loaded stays; each file's collection looks at its own
    _confine(limits)
    while (head := read_frame(source, 2**20)) is not None:
        content = read_frame(source, limits.content)
        if content is None:
            return
        _allow_seconds(limits.seconds)
        answer, text = _read(json.loads(head), content, limits)
        del content
        write_frame(target, json.dumps(answer).encode())
        write_frame(target, text)
        del text
        gc.collect()


def _import(name: str) -> None:
    try:
        __import__(name)
    except ImportError:
        return  # told when a file needs it


def _read(header: dict[str, Any], content: bytes, limits: ConvertLimits) -> tuple[dict[str, Any], bytes]:
    name = header["name"]
    try:
        text, metadata = read(header["kind"], name, content, limits)
        return {"metadata": metadata}, text.encode("utf-8", "replace")
    except UnreadableFile as error:
        return {"error": str(error), "reason": error.reason}, b""
    except (MemoryError, RecursionError):
        told = f"{name} takes more memory than a file may ({limits.memory // 2**20} MiB)"
        return {"error": told, "reason": "bomb"}, b""
    except Exception as error:  # noqa: BLE001 -- of a parser that is not ours, of whatever kind: the file is damaged
        told = f"{name} is damaged, or too large to be read ({type(error).__name__})"
        return {"error": told, "reason": "damaged"}, b""


def _confine(limits: ConvertLimits) -> None:
    """From here on: so much memory, no files but those of the program, no network, no other programs."""
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    homes = tuple(f"{os.path.realpath(each)}/" for each in [sys.prefix, sys.base_prefix, *sys.path] if each)

    def confined(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_REFUSED):
            raise PermissionError(f"refused while a file is read: {event}")
        if event == "open" and not isinstance(arguments[0], int):
            path, mode = os.path.realpath(os.fsdecode(arguments[0])), arguments[1] or "r"
            if not path.startswith(homes) or any(sign in mode for sign in "wax+"):
                raise PermissionError("refused while a file is read: open")

    sys.addaudithook(confined)


def _allow_seconds(seconds: float) -> None:
    """The kernel ends this process if it computes for longer, also when nobody is left to end it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime + seconds) + _SPARE
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
