"""No state but what is passed in: on the syntax trees, and in the live modules after use."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
import threading
import weakref
from collections import OrderedDict, defaultdict, deque
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import stateless_rag

PROJECT = Path(__file__).parents[2]
MUTABLE = (
    dict,
    list,
    set,
    bytearray,
    deque,
    OrderedDict,
    defaultdict,
    ContextVar,
    weakref.WeakKeyDictionary,
    weakref.WeakValueDictionary,
    threading.local,
    type(threading.Lock()),
    type(threading.RLock()),
)
# What dataclasses, enums, named tuples and abstract classes keep in the classes they make.
PYTHONS_OWN = (
    "__",
    "_abc_",
    "_field",
    "_hashable_values_",
    "_member_",
    "model_config",  # of pydantic's models
    "_unhashable_values_",
    "_value2member",
)
HEADER = "from __future__ import annotations\n"


def house_rules() -> ModuleType:
    spec = importlib.util.spec_from_file_location("house_rules", PROJECT / "scripts" / "house_rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_package_keeps_the_rules() -> None:
    assert house_rules().check_package(PROJECT / "src" / "stateless_rag") == []


@pytest.mark.parametrize(
    ("name", "source", "told"),
    [
        ("text.py", "CACHE = {}", "mutable value"),
        ("text.py", "NAMES: list[str] = []", "mutable value"),
        ("text.py", "PAIRS = tuple([1]), [2]", "mutable value"),
        ("text.py", "SEEN = set()", "what set() returns"),
        ("text.py", "import threading\nLOCK = threading.Lock()", "what Lock() returns"),
        ("text.py", "if True:\n    X = {n: n for n in 'ab'}", "mutable value"),
        ("text.py", "try:\n    import a\nexcept ImportError:\n    X = []", "mutable value"),
        ("text.py", "X = MappingProxyType({'a': []})", "mutable value"),
        ("text.py", "register(1)", "for its effect"),
        ("text.py", "X = 1\nX += 1", "changes a value"),
        ("text.py", "class A:\n    seen: dict[str, int] = {}", "class A holds"),
        ("text.py", "class A:\n    client = Client()", "what Client() returns"),
        ("text.py", "def f():\n    global x\n    x = 1", "global x"),
        ("text.py", "from functools import lru_cache", "lru_cache keeps state"),
        ("text.py", "import functools\n@functools.cache\ndef f(): ...", "functools.cache keeps state"),
        ("text.py", "def f(x=[]): ...", "mutable default"),
        ("text.py", "import os\ndef f(): return os.environ['A']", "environment"),
        ("text.py", "import os\ndef f(): return os.getenv('A')", "environment"),
        ("text.py", "from os import environ", "environment"),
        ("cli/query.py", "import os\nX = os.getenv", "environment"),
        ("stages/chunk.py", "from stateless_rag import engine", "above"),
        ("providers/openai.py", "def f():\n    from stateless_rag.engine import Engine", "above"),
        ("stores/ids.py", "from stateless_rag.stages.chunk import chunk", "above"),
        ("engine.py", "import stateless_rag.cli.app", "above"),
        ("novelty.py", "", "no layer"),
        ("text.py", "__all__ = ['b', 'a']", "not sorted"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_told(name: str, source: str, told: str) -> None:
    lines = house_rules().check_source(HEADER + source, name)
    assert any(told in line for line in lines), lines


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("text.py", "import re\nA = re.compile('a')\nB = frozenset({1})\nC = ('a', 1)"),
        ("text.py", "A = MappingProxyType({'a': ('b',)})"),
        ("text.py", "class A:\n    __slots__ = ['a']\n    b: int = field(default_factory=dict)"),
        ("text.py", "if TYPE_CHECKING:\n    from stateless_rag.engine import Engine"),
        ("cli/__init__.py", "import os\ndef main(): return os.environ"),
        ("context.py", "def f():\n    from stateless_rag.providers import as_llm"),
    ],
)
def test_what_is_allowed_is_not_told(name: str, source: str) -> None:
    assert house_rules().check_source(HEADER + source, name) == []


def test_the_future_import_is_missed() -> None:
    assert house_rules().check_source('"""Doc."""\nimport re\n', "text.py")


# ---- live ----------------------------------------------------------------------------------------------


def all_modules() -> list[ModuleType]:
    names = [found.name for found in pkgutil.walk_packages(stateless_rag.__path__, "stateless_rag.")]
    return [
        stateless_rag,
        *(importlib.import_module(name) for name in names if not name.endswith("__main__")),
    ]


def held(module: ModuleType) -> dict[str, Any]:
    """What a module and the classes defined in it hold, by name."""
    names = {f"{module.__name__}.{key}": value for key, value in vars(module).items()}
    for key, value in list(vars(module).items()):
        if isinstance(value, type) and value.__module__ == module.__name__:
            names.update({f"{module.__name__}.{key}.{inner}": v for inner, v in vars(value).items()})
    return {
        name: value for name, value in names.items() if not name.rpartition(".")[2].startswith(PYTHONS_OWN)
    }


def no_state(modules: list[ModuleType]) -> list[str]:
    return [name for module in modules for name, value in held(module).items() if isinstance(value, MUTABLE)]


async def test_live_modules_hold_no_state_after_use(tmp_path: Path) -> None:
    modules = all_modules()
    before = {
        module.__name__: {name: id(value) for name, value in held(module).items()} for module in modules
    }
    async with (
        stateless_rag.Engine.open(tmp_path / "a") as one,
        stateless_rag.Engine.open(tmp_path / "b") as two,
    ):
        await one.insert(["Ada Lovelace wrote about the Analytical Engine of Charles Babbage."])
        await two.insert(["Grace Hopper wrote the first compiler, called A-0."])
        assert not (await one.query("Who wrote about the Analytical Engine?")).no_context
        assert not (await two.retrieve("Who wrote a compiler?", mode="local")).empty
    assert no_state(modules) == []
    for module in modules:
        assert {name: id(value) for name, value in held(module).items()} == before[module.__name__]


def test_the_live_check_sees_state() -> None:
    module = ModuleType("made_up")
    vars(module)["cache"] = {}
    assert no_state([module]) == ["made_up.cache"]


def test_importing_starts_no_thread() -> None:
    code = (
        "import threading\n"
        "import stateless_rag.cli.app, stateless_rag.engine, stateless_rag.sync, stateless_rag.stores.duckdb.store\n"
        "print(*(thread.name for thread in threading.enumerate()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=280, capture_output=True, text=True
    )
    assert done.stdout == "MainThread\n"
