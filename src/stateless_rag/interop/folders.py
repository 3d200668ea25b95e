"""Finding the folders of workspaces, and reading one in whichever engine's form it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stateless_rag.checks import shown
from stateless_rag.errors import InvalidInput
from stateless_rag.interop.lightrag_folder import GRAPH_FILE, read_lightrag_folder
from stateless_rag.interop.nano_folder import read_nano_folder

if TYPE_CHECKING:
    from stateless_rag.interop.folder import Folder

__all__ = ["find_workspaces", "folder_of", "read_folder"]

_FILE = re.compile(r"kv_store_\w+\.json|vdb_\w+\.json|faiss_index_\w+\.index(?:\.meta\.json)?")
_HEAD = 20_000  # characters of a graph file in which its attributes are declared
_ONLY_NANO = re.compile(r'attr\.name="clusters"|attr\.name="order"')
_ONLY_LIGHTRAG = re.compile(r'attr\.name="(?:keywords|entity_id|file_path)"')
_LIGHTRAG_FILES = ("kv_store_doc_status.json", "kv_store_entity_chunks.json", "vdb_relationships.json")


def find_workspaces(root: Path) -> dict[str, Path]:
    """The folders of workspaces at `root` and right below it, by name; one without a name is "".

    Raises InvalidInput if `root` is no folder.
    """
    folders = [("", root), *((entry.name, entry) for entry in _entries(root) if entry.is_dir())]
    return {name: folder for name, folder in folders if _is_workspace(folder)}


def folder_of(root: Path, workspace: str | None) -> Path:
    """The folder of one workspace. Raises InvalidInput if there is none, naming those that are there."""
    if workspace is not None and (not workspace or Path(workspace).name != workspace):
        raise InvalidInput(f"workspace is {shown(workspace)}; it must name a folder below {shown(str(root))}")
    folder = root if workspace is None else root / workspace
    if not _is_workspace(folder):
        names = sorted(name for name in find_workspaces(root) if name)
        hint = (
            f"below it are the workspaces {', '.join(names)}: give the folder of one"
            if names
            else "check the path"
        )
        raise InvalidInput(f"{shown(str(folder))} holds no files of LightRAG or nano-graphrag; {hint}")
    return folder


def read_folder(folder: Path) -> Folder:
    """What a workspace's folder holds, read in the form it is in."""
    return read_nano_folder(folder) if _kind(folder) == "nano-graphrag" else read_lightrag_folder(folder)


def _kind(folder: Path) -> Literal["lightrag", "nano-graphrag"]:
    if any((folder / name).exists() for name in _LIGHTRAG_FILES):
        return "lightrag"
    if (folder / "kv_store_community_reports.json").exists():
        return "nano-graphrag"
    try:
        with (folder / GRAPH_FILE).open(encoding="utf-8", errors="replace") as file:
            head = file.read(_HEAD)
    except OSError:
        return "lightrag"
    return "nano-graphrag" if _ONLY_NANO.search(head) and not _ONLY_LIGHTRAG.search(head) else "lightrag"


def _is_workspace(folder: Path) -> bool:
    return folder.is_dir() and any(
        entry.name == GRAPH_FILE or _FILE.fullmatch(entry.name) for entry in _entries(folder)
    )


def _entries(folder: Path) -> Sequence[Path]:
    if not folder.is_dir():
        raise InvalidInput(f"{shown(str(folder))} is no folder; check the path")
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InvalidInput(f"{shown(str(folder))} cannot be read: {error.strerror or error}") from error
