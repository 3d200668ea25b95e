"""An embedding model and a reranker that run in this process, through fastembed
(`pip install 'stateless-rag[local]'`).
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stateless_rag.checks import whole
from stateless_rag.errors import InvalidInput, InvalidReply
from stateless_rag.protocols import Embeddings
from stateless_rag.providers.embedder import TextEmbedder
from stateless_rag.text import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stateless_rag.protocols import Vectors

__all__ = ["FastEmbedder", "FastReranker"]

_DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_MAX_TOKENS = 256  # what most of its models read, in tokens of their own; they ignore the rest
_AT_ONCE = 8  # texts; a run keeps the memory that its largest batch took, and more do not make it faster


class FastEmbedder(TextEmbedder):
    """A model of fastembed, by its name or from a local folder. Implements the protocol `Embedder`.

    From a folder (a `Path`, or a string that names one) nothing is ever downloaded; by name, fastembed
    downloads the model on first use. `name` says which of fastembed's models lies in the folder; without it
    the folder's own name or config decides, else all-MiniLM-L6-v2 is assumed if the dimension fits. The model
    is loaded once, in a thread, when it is first needed. `threads` bounds what it uses. Calls at the same time take
    turns, a few texts each: together they would not be faster, but take the memory of all.
    """

    def __init__(
        self,
        model_or_folder: str | Path,
        *,
        name: str | None = None,
        dimension: int | None = None,
        query_prefix: str = "",
        document_prefix: str = "",
        batch: int = 32,
        threads: int | None = None,
    ) -> None:
        whole("batch", batch, least=1)
        self._folder = _folder(model_or_folder)
        self._config: Mapping[str, Any] = {} if self._folder is None else _config(self._folder)
        self._name = name if self._folder is not None else str(model_or_folder)
        self._threads = threads
        label = str(model_or_folder) if self._folder is None else self._folder.name
        prefixes = (query_prefix, document_prefix)
        super().__init__(
            f"fastembed-{label}" + (f";prefixes={digest(*prefixes)[:12]}" if any(prefixes) else ""),
            dimension=dimension or _size(self._config),
            max_tokens=_MAX_TOKENS,
            max_batch=batch,
            query_prefix=query_prefix,
            document_prefix=document_prefix,
        )
        self._lock, self._running = threading.Lock(), threading.Lock()
        self._loaded: Any = None

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        """Embed texts, in order, in a thread. `InvalidInput` if the model cannot be loaded."""
        vectors = await asyncio.to_thread(self._embed, self._prefixed(texts, role))
        self._learn(vectors)
        return Embeddings(vectors=vectors)

    def _embed(self, texts: list[str]) -> Vectors:
        import numpy as np

        if not texts:
            return np.zeros((0, self._dimension or 0), dtype=np.float32)
        # Texts of a like length share a batch, so that little of it is padding.
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        model = self._load()
        rows: list[Any] = []
        for start in range(0, len(order), _AT_ONCE):
            part = [texts[place] for place in order[start : start + _AT_ONCE]]
            with self._running:
                rows += model.embed(part, batch_size=_AT_ONCE)
        vectors = np.empty((len(texts), len(rows[0])), dtype=np.float32)
        vectors[order] = rows
        if self._dimension not in (None, vectors.shape[1]):
            raise InvalidReply(f"{self._model} gives {vectors.shape[1]} dimensions, not {self._dimension}")
        return vectors

    def _load(self) -> Any:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._open()
            return self._loaded

    def _open(self) -> Any:
        try:
            from fastembed import TextEmbedding
        except ImportError as exc:
            raise InvalidInput(_install("FastEmbedder")) from exc
        supported = {
            str(model["model"]): int(model["dim"]) for model in TextEmbedding.list_supported_models()
        }
        name = self._name or _guess(self._folder, self._config, supported)
        return _opened(TextEmbedding, name, self._folder, self._threads)


class FastReranker:
    """A cross-encoder of fastembed, by its name or from a local folder. Implements the protocol `Reranker`.

    Where models come from, `name` and `threads` are as for `FastEmbedder`; a folder that is not named like one
    of fastembed's models needs the `name`. Scores lie between 0 and 1: the logistic function of what the model
    says. It reads as much of a passage as it can (512 tokens of its own, most of them) and ignores the rest.
    """

    def __init__(
        self,
        model_or_folder: str | Path,
        *,
        name: str | None = None,
        batch: int = 16,
        threads: int | None = None,
    ) -> None:
        self._batch = whole("batch", batch, least=1)
        self._folder = _folder(model_or_folder)
        self._config: Mapping[str, Any] = {} if self._folder is None else _config(self._folder)
        self._name = name if self._folder is not None else str(model_or_folder)
        self._threads = threads
        self._label = str(model_or_folder) if self._folder is None else self._folder.name
        self._lock = threading.Lock()
        self._loaded: Any = None

    @property
    def model(self) -> str:
        """The model or the folder's name."""
        return f"fastembed-{self._label}"

    async def rerank(self, query: str, texts: Sequence[str], *, top_n: int) -> list[tuple[int, float]]:
        """The indexes of the `top_n` best texts, best first, ties by index, worked out in a thread.

        `InvalidInput` if the model cannot be loaded, `InvalidReply` if it gives something else than scores.
        """
        scores = await asyncio.to_thread(self._scores, query, texts) if texts else []
        return sorted(enumerate(scores), key=lambda pair: (-pair[1], pair[0]))[: max(top_n, 0)]

    def _scores(self, query: str, texts: Sequence[str]) -> list[float]:
        # Texts of a like length share a batch, so that little of it is padding.
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        raw = [
            float(score)
            for score in self._load().rerank(query, [texts[place] for place in order], batch_size=self._batch)
        ]
        if len(raw) != len(texts) or not all(map(math.isfinite, raw)):
            raise InvalidReply(f"{self.model} gave no score to each of {len(texts)} texts")
        scores = dict(zip(order, map(_logistic, raw), strict=True))
        return [scores[place] for place in range(len(texts))]

    def _load(self) -> Any:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._open()
            return self._loaded

    def _open(self) -> Any:
        try:
            from fastembed.rerank.cross_encoder import TextCrossEncoder
        except ImportError as exc:
            raise InvalidInput(_install("FastReranker")) from exc
        supported = [str(model["model"]) for model in TextCrossEncoder.list_supported_models()]
        name = self._name or _named(self._folder, self._config, supported)
        if name is None:
            raise InvalidInput(f"which model of fastembed lies in {self._folder}? Say it with name=")
        return _opened(TextCrossEncoder, name, self._folder, self._threads)


def _opened(kind: Any, name: str, folder: Path | None, threads: int | None) -> Any:
    """A model of one of fastembed's classes."""
    if name not in {str(model["model"]) for model in kind.list_supported_models()}:
        raise InvalidInput(
            f"{name!r} is not a model of fastembed; see {kind.__name__}.list_supported_models()"
        )
    onnx: Any = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    place: dict[str, Any] = {}
    if folder is not None:
        place = {"specific_model_path": str(folder), "local_files_only": True}
    refusals = (onnx.Fail, onnx.InvalidArgument, onnx.InvalidGraph, onnx.InvalidProtobuf, onnx.NoSuchFile)
    try:
        return kind(name, threads=threads, **place)
    except (OSError, ValueError, RuntimeError, *refusals) as exc:
        raise InvalidInput(f"{folder or name} could not be loaded as {name}: {exc}") from exc


def _install(what: str) -> str:
    return f"{what} needs fastembed: pip install 'stateless-rag[local]'"


def _logistic(score: float) -> float:
    """Between 0 and 1, for a score of any size."""
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))


def _folder(model_or_folder: str | Path) -> Path | None:
    """The folder, if one is meant."""
    path = Path(model_or_folder)
    if path.is_dir():
        return path.resolve()
    if isinstance(model_or_folder, Path) or model_or_folder.startswith(("/", ".", "~", "\\")):
        raise InvalidInput(f"there is no folder {str(path)!r} to load a model from")
    return None


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise InvalidInput(f"{str(folder)!r} has no readable config.json, so it is no model folder") from exc
    return config if isinstance(config, dict) else {}


def _size(config: Mapping[str, Any]) -> int | None:
    size = config.get("hidden_size")
    return size if isinstance(size, int) else None


def _named(folder: Path | None, config: Mapping[str, Any], supported: Iterable[str]) -> str | None:
    """The supported model that a folder or its config is named like."""
    hints = [str(config.get("_name_or_path", "")), "" if folder is None else folder.name]
    for hint in hints:
        for name in supported:
            if hint and name.rpartition("/")[2].lower() == hint.rpartition("/")[2].lower():
                return name
    return None


def _guess(folder: Path | None, config: Mapping[str, Any], supported: Mapping[str, int]) -> str:
    """The supported model that a folder holds, by its name or its config."""
    name = _named(folder, config, supported)
    if name is not None:
        return name
    if _size(config) in (None, supported.get(_DEFAULT_MODEL)):
        return _DEFAULT_MODEL
    raise InvalidInput(f"which model of fastembed lies in {folder}? Say it with name=")
