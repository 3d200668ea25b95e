"""The house rules, checked on the syntax trees of a package: no state but what is passed in.

    python scripts/house_rules.py src/stateless_rag

Prints a line for each place that breaks a rule, and exits with 1 if there is one:

- no mutable value in a module or a class body (containers, locks, caches, clients, context variables);
- no `global`, no functools.cache, no mutable default arguments;
- no look at the environment but where the command line begins;
- imports point one way: the layers below;
- `from __future__ import annotations` first, `__all__` there and sorted.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PACKAGE = "stateless_rag"

# Lowest first. A module imports from its own layer and from lower ones; the longest prefix decides.
LAYERS = (
    ("text", "errors", "checks", "types", "curation_log", "filters", "lenient_json", "opening", "pricing"),
    (
        "converting",
        "protocols",
        "settings",
        "flights",
        "limits",
        "prompts",
        "right_of_way",
        "turns",
        "chunking",
        "workspace_settings",
    ),
    ("context", "attempts", "budgets", "counting", "observers", "replies"),
    ("stores", "providers"),
    ("calls", "embedding", "streaming"),
    ("stages", "retrieval", "lookups", "browsing", "communities", "listing"),
    ("affected", "aside", "commit", "completing", "folding", "folds", "identity", "kinds"),
    (
        "ingest",
        "changes",
        "curating",
        "custom",
        "enabling",
        "exporting",
        "reembedding",
        "resolving",
        "upgrading",
        "batching",
        "caring",
        "estimating",
    ),
    ("engine",),
    ("workspaces", "sync", "testing", "interop", "client"),
    ("evaluation",),
    ("server",),
    ("cli", "__main__"),
)
# Loaded inside functions, for names that users may leave out.
ALLOWED = frozenset(
    {
        ("context", "providers"),
        ("context", "stages.extract"),
    }
)
ENVIRONMENT_READERS = frozenset({"cli/__init__.py"})
ENVIRONMENT = frozenset({"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"})
CACHES = frozenset({"cache", "lru_cache", "cached_property", "singledispatch"})
IMMUTABLE_CALLS = frozenset(
    {
        "MappingProxyType",
        "NewType",
        "ParamSpec",
        "TypeVar",
        "bool",
        "bytes",
        "compile",
        "field",
        "float",
        "frozenset",
        "int",
        "len",
        "namedtuple",
        "range",
        "str",
        "sum",
        "tuple",
    }
)
IMMUTABLE_TYPES = frozenset({"bool", "bytes", "float", "frozenset", "int", "re.Pattern", "str", "tuple"})
# Typer's descriptions of options are read when the application is built, and not written to.
IMMUTABLE_IN_CLI = frozenset({"Option", "Argument"})
# An immutable result may be made from what its arguments hold for a moment.
WRAPPERS = frozenset(
    {"MappingProxyType", "frozenset", "tuple", "compile", "str", "bytes", "len", "sum", "field"}
)


def check_package(folder: Path) -> list[str]:
    """A line per broken rule in all modules below a package's folder."""
    return [
        line
        for path in sorted(folder.rglob("*.py"))
        for line in check_source(path.read_text(encoding="utf-8"), path.relative_to(folder).as_posix())
    ]


def check_source(source: str, name: str) -> list[str]:
    """A line per broken rule in one module; `name` is its path below the package."""
    tree = ast.parse(source, name)
    found = [
        *_state(tree, name),
        *_functions(tree),
        *_environment(tree, name),
        *_direction(tree, name),
        *_form(tree),
    ]
    return [f"{name}:{line}: {message}" for line, message in sorted(set(found))]


# ---- state ---------------------------------------------------------------------------------------------


def _state(tree: ast.Module, name: str) -> Iterator[tuple[int, str]]:
    allowed = IMMUTABLE_CALLS | _makers_of_immutables(tree)
    if name.startswith("cli/"):
        allowed |= IMMUTABLE_IN_CLI
    for owner, body in _bodies(tree):
        for statement in _flat(body):
            if isinstance(statement, ast.AugAssign):
                yield statement.lineno, f"{owner} changes a value it has made"
            elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                yield statement.lineno, f"{owner} calls something for its effect"
            value = getattr(statement, "value", None)
            if isinstance(statement, ast.Assign | ast.AnnAssign) and not _is_all(statement):
                yield from ((node.lineno, f"{owner} holds {what}") for node, what in _mutable(value, allowed))


def _makers_of_immutables(tree: ast.Module) -> frozenset[str]:
    """Functions of the module that say by their annotation that they return something immutable."""
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.returns)
    return frozenset(
        function.name
        for function in functions
        if function.returns and ast.unparse(function.returns).partition("[")[0] in IMMUTABLE_TYPES
    )


def _bodies(tree: ast.Module) -> Iterator[tuple[str, Sequence[ast.stmt]]]:
    yield "the module", tree.body
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield f"class {node.name}", node.body


def _flat(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a body and of the if, for, while, with and try in it."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and _is_main(statement):
            continue
        for part in ("body", "orelse", "finalbody"):
            if isinstance(statement, ast.If | ast.For | ast.While | ast.With | ast.Try):
                yield from _flat(getattr(statement, part, []))
        if isinstance(statement, ast.Try):
            for handler in statement.handlers:
                yield from _flat(handler.body)


def _is_main(statement: ast.If) -> bool:
    return ast.unparse(statement.test) == "__name__ == '__main__'"


def _is_all(statement: ast.Assign | ast.AnnAssign) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return any(isinstance(target, ast.Name) and target.id in ("__all__", "__slots__") for target in targets)


def _mutable(value: ast.expr | None, allowed: frozenset[str]) -> Iterator[tuple[ast.expr, str]]:
    """The parts of an expression that are mutable, where the value itself would hold them."""
    containers = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp)
    if value is None or isinstance(value, ast.Lambda):
        return
    if isinstance(value, containers):
        yield value, f"a mutable value, {ast.unparse(value)[:40]}"
    elif isinstance(value, ast.Call):
        called = _called(value)
        if called not in allowed and not _is_string_method(value):
            yield value, f"what {called}() returns"
        elif called in WRAPPERS:
            for held in value.args:
                for part in ast.iter_child_nodes(held) if isinstance(held, containers) else ():
                    yield from _mutable(part if isinstance(part, ast.expr) else None, allowed)
        elif called in allowed:
            for part in [*value.args, *(keyword.value for keyword in value.keywords)]:
                yield from _mutable(part, allowed)
    elif isinstance(value, ast.Tuple):
        for part in value.elts:
            yield from _mutable(part, allowed)
    elif isinstance(value, ast.IfExp | ast.BoolOp | ast.BinOp | ast.NamedExpr | ast.Starred):
        for child in ast.iter_child_nodes(value):
            if isinstance(child, ast.expr):
                yield from _mutable(child, allowed)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)


def _is_string_method(call: ast.Call) -> bool:
    """Methods of a string literal (`"".join(…)`, `"…".format(…)`), and of others that give strings."""
    return isinstance(call.func, ast.Attribute) and call.func.attr in ("join", "format", "encode", "strip")


# ---- functions and the environment ---------------------------------------------------------------------


def _functions(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield node.lineno, f"global {', '.join(node.names)}"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                if isinstance(default, ast.List | ast.Dict | ast.Set):
                    yield default.lineno, f"{node.name}() has a mutable default"
        elif isinstance(node, ast.ImportFrom) and node.module == "functools":
            for alias in node.names:
                if alias.name in CACHES:
                    yield node.lineno, f"functools.{alias.name} keeps state"
        elif isinstance(node, ast.Attribute) and node.attr in CACHES and _is_name(node.value, "functools"):
            yield node.lineno, f"functools.{node.attr} keeps state"


def _environment(tree: ast.Module, name: str) -> Iterator[tuple[int, str]]:
    if name in ENVIRONMENT_READERS:
        return
    for node in ast.walk(tree):
        read = isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT and _is_name(node.value, "os")
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            read = any(alias.name in ENVIRONMENT for alias in node.names)
        if read:
            yield getattr(node, "lineno", 0), "looks at the environment; take a Configuration or a mapping"


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


# ---- imports -------------------------------------------------------------------------------------------


def _direction(tree: ast.Module, name: str) -> Iterator[tuple[int, str]]:
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if module == "__init__":  # the public names come from everywhere, when they are asked for
        return
    mine = _layer(module)
    if mine is None:
        yield 1, f"{module} is in no layer; name it in scripts/house_rules.py"
        return
    for node in _runtime_imports(tree.body):
        for other in _imported(node):
            layer = _layer(other)
            if layer is None or layer <= mine or (module, other) in ALLOWED:
                continue
            yield node.lineno, f"{module} imports {other}, which lies above it"


def _layer(module: str) -> int | None:
    first = module.partition(".")[0]
    return next((number for number, names in enumerate(LAYERS) if first in names), None)


def _runtime_imports(body: Sequence[ast.AST]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that happen when the program runs: not those under TYPE_CHECKING."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _runtime_imports(node.orelse)
        else:
            yield from _runtime_imports(list(ast.iter_child_nodes(node)))


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Modules of the package, without its name."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif node.module == PACKAGE:
        names = [f"{PACKAGE}.{alias.name}" for alias in node.names]
    else:
        names = [node.module or ""]
    return [name.removeprefix(f"{PACKAGE}.") for name in names if name.startswith(f"{PACKAGE}.")]


# ---- form ----------------------------------------------------------------------------------------------


def _form(tree: ast.Module) -> Iterator[tuple[int, str]]:
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    if not body:
        return
    first = body[0]
    if not (isinstance(first, ast.ImportFrom) and first.module == "__future__"):
        yield first.lineno, "does not begin with from __future__ import annotations"
    for statement in body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            names = ast.literal_eval(statement.value)
            if list(names) != sorted(names, key=_as_sorted_by_ruff) and list(names) != sorted(names):
                yield statement.lineno, "__all__ is not sorted"


def _as_sorted_by_ruff(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest."""
    rank = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return rank, name


def main(arguments: Sequence[str]) -> int:
    """Check the package folders named; returns the exit code."""
    lines = [line for argument in arguments for line in check_package(Path(argument))]
    print("\n".join(lines) if lines else "house rules: all kept")
    return 1 if lines or not arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
