"""The architecture is a test: budgets, purity, documentation, lazy loading; what no linter knows.

A function's lines are those from its `def` to its end, docstring and inner functions included. Its parameters
are counted without `self`, `cls`, `*args` and `**kwargs`; those after a `*` are not positional.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tocsin

ROOT = Path(__file__).parent.parent
FILE_LINES = 500
FUNCTION_LINES = 70
POSITIONAL_PARAMETERS = 3
PARAMETERS = 8
PUBLIC_NAMES = 25

BANNED_MODULES = {"common", "helper", "helpers", "misc", "util", "utils"}
# fmt: off
HEAVY = {
    "aiohttp", "alembic", "apprise", "fastapi", "faststream", "httpx", "jinja2", "psycopg", "redis",
    "sqlalchemy", "starlette", "uvicorn", "watchfiles",
}
CONTAINERS = {
    "Counter", "OrderedDict", "WeakKeyDictionary", "WeakSet", "WeakValueDictionary", "bytearray",
    "defaultdict", "deque", "dict", "list", "set",
}
STATEFUL = {
    "Condition", "Event", "Lock", "Queue", "RLock", "Semaphore", "SimpleQueue", "count", "cycle", "local",
}
MUTATORS = {
    "add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "sort",
    "update",
}
# fmt: on
UNFINISHED = re.compile(r"\b(TO[D]O|FI[X]ME|X{3}|HA[C]K)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One file of ours: its path from the root, its text and its syntax tree."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def functions(self) -> list[Function]:
        return [node for node in self.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    def at(self, node: ast.stmt | ast.expr, what: str) -> str:
        return f"{self.path}:{node.lineno}: {what}"


def sources(*folders: str) -> list[Source]:
    """Return every Python file below the folders."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [Source(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths]


PACKAGE = sources("tocsin")
TESTS = sources("tests")
EVERYTHING = [*PACKAGE, *TESTS, *sources("benchmarks", "examples")]


# Budgets


def test_no_file_is_longer_than_its_budget() -> None:
    lengths = {source.path: len(source.text.splitlines()) for source in EVERYTHING}
    assert {path: lines for path, lines in lengths.items() if lines >= FILE_LINES} == {}


def test_no_function_is_longer_than_its_budget() -> None:
    """Migrations apart: they are generated, and never change once released."""
    assert [
        source.at(function, f"{function.name} has {lines} lines")
        for source in PACKAGE
        if "/migrations/versions/" not in source.path
        for function in source.functions
        if (lines := (function.end_lineno or function.lineno) - function.lineno + 1) >= FUNCTION_LINES
    ] == []


def test_no_function_asks_for_too_many_parameters() -> None:
    assert [finding for source in PACKAGE for finding in wide_functions(source)] == []


def wide_functions(source: Source) -> Iterator[str]:
    for function in source.functions:
        if source.path.startswith("tocsin/cli/") and is_command(function):
            continue  # the parameters of a command are its flags: a promise to users, and passed by name
        positional = [*function.args.posonlyargs, *function.args.args]
        if positional and positional[0].arg in {"self", "cls"}:
            positional = positional[1:]
        everything = len(positional) + len(function.args.kwonlyargs)
        if len(positional) > POSITIONAL_PARAMETERS:
            yield source.at(function, f"{function.name} has {len(positional)} positional parameters")
        if everything > PARAMETERS:
            yield source.at(function, f"{function.name} has {everything} parameters")


def is_command(function: Function) -> bool:
    calls = [decorator.func for decorator in function.decorator_list if isinstance(decorator, ast.Call)]
    return any(isinstance(call, ast.Attribute) and call.attr in {"callback", "command"} for call in calls)


# State and time


def test_no_module_keeps_mutable_state() -> None:
    assert [finding for source in PACKAGE for finding in module_state(source)] == []


def module_state(source: Source) -> Iterator[str]:
    """Tables in capitals are fine while nothing in their module changes them."""
    for statement in module_level(source.tree):
        for name, value in assigned(statement):
            called = value.func if isinstance(value, ast.Call) else None
            maker = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            display = isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)
            if maker in STATEFUL:
                yield source.at(statement, f"{name} is state: build it in app.py and pass it")
            elif (display or maker in CONTAINERS) and not (name.isupper() or name == "__all__"):
                yield source.at(statement, f"{name} is mutable: pass it, freeze it, or name it as the constant it is")
            elif (display or maker in CONTAINERS) and (line := mutation_of(name, source)):
                yield f"{source.path}:{line}: {name} is changed: it is state, not a constant"
    yield from (source.at(node, "global") for node in source.nodes if isinstance(node, ast.Global))


def module_level(node: ast.AST) -> Iterator[ast.stmt]:
    """Return what runs when the module is imported, also inside `if` and `try`; classes excepted."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt) and not isinstance(child, Function | ast.ClassDef):
            yield child
        if not isinstance(child, Function | ast.ClassDef | ast.expr):
            yield from module_level(child)


def assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    match statement:
        case ast.Assign(targets=targets, value=value):
            yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            yield name, value


def mutation_of(name: str, source: Source) -> int | None:
    """Return the line on which the module changes `name` in place, if it does."""
    for node in source.nodes:
        match node:
            case ast.Subscript(value=ast.Name(id=changed), ctx=ast.Store() | ast.Del()) if changed == name:
                return node.lineno
            case ast.Call(func=ast.Attribute(value=ast.Name(id=changed), attr=verb)) if changed == name:
                if verb in MUTATORS:
                    return node.lineno
            case ast.AugAssign(target=ast.Name(id=changed)) if changed == name:
                return node.lineno
    return None


def test_only_the_clock_asks_what_time_it_is() -> None:
    others = [source for source in PACKAGE if source.path != "tocsin/clock.py"]
    assert [finding for source in others for finding in clock_reads(source)] == []


def clock_reads(source: Source) -> Iterator[str]:
    """`import time`; `anything.now()`, the database's clock too; and an event loop's `time()`."""
    for node in source.nodes:
        match node:
            case ast.Import(names=names) if any(alias.name == "time" for alias in names):
                yield source.at(node, "import time")
            case ast.ImportFrom(module="time"):
                yield source.at(node, "from time import")
            case ast.Call(func=ast.Attribute(attr="now" | "utcnow" | "today" | "current_timestamp" | "uuid1" as verb)):
                yield source.at(node, f".{verb}()")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="loop") | ast.Call(), attr="time"), args=[]):
                yield source.at(node, ".time()")


# Names, documentation, leftovers


def test_everything_public_is_documented() -> None:
    undocumented = [source.path for source in PACKAGE if not ast.get_docstring(source.tree)]
    for source in PACKAGE:
        undocumented += [
            source.at(node, node.name)
            for node in source.tree.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if not node.name.startswith("_") and not ast.get_docstring(node)
        ]
    assert undocumented == []


def test_no_module_is_a_drawer_for_everything() -> None:
    assert [source.path for source in PACKAGE if BANNED_MODULES & set(Path(source.path).with_suffix("").parts)] == []


def test_nothing_is_left_unfinished() -> None:
    texts = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/**/*.y*ml"),
        ROOT / "pyproject.toml",
    ]
    files = {source.path: source.text for source in EVERYTHING} | {path.name: path.read_text() for path in texts}
    assert [path for path, text in files.items() if UNFINISHED.search(text)] == []


def test_no_test_sleeps_or_is_skipped() -> None:
    verbs = {("time", "sleep"), ("pytest", "skip"), ("mark", "skip"), ("mark", "skipif"), ("mark", "xfail")}
    assert [
        source.at(node, ast.unparse(node))
        for source in TESTS
        for node in source.nodes
        if isinstance(node, ast.Attribute)
        if (ast.unparse(node.value).rpartition(".")[2], node.attr) in verbs
    ] == []


def test_only_cli_and_app_import_the_package_inside_functions() -> None:
    lazy = ("tocsin/__init__.py", "tocsin/app.py", "tocsin/cli/")
    rooms = [source for source in PACKAGE if not source.path.startswith(lazy)]
    assert [
        source.at(node, ast.unparse(node))
        for source in rooms
        for function in source.functions
        for node in ast.walk(function)
        if (isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "tocsin"))
        or (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "tocsin" for alias in node.names))
    ] == []


def test_the_public_names_are_few_and_exist() -> None:
    names = tocsin.__all__
    assert len(names) <= PUBLIC_NAMES
    assert [name for name in names if not hasattr(tocsin, name)] == []


def test_every_make_command_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documents = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *ROOT.glob("docs/**/*.md")]
    named = {name for path in documents for name in re.findall(r"(?:^|`)make ([a-z]+)", path.read_text(), re.MULTILINE)}
    assert named - targets == set()


# Imports


def test_the_import_contract_holds() -> None:
    """The rooms and their order are written down in pyproject.toml."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_tocsin_loads_nothing_heavy() -> None:
    assert modules_loaded_by("-c", "import tocsin") & HEAVY == set()


def test_printing_the_help_loads_nothing_heavy() -> None:
    assert modules_loaded_by("-m", "tocsin", "--help") & HEAVY == set()


def modules_loaded_by(*arguments: str) -> set[str]:
    """Run a fresh interpreter and return the names of the top-level modules that it imported."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    complaint = done.stderr.splitlines()[-1] if done.returncode else ""
    assert complaint == ""
    imported = re.findall(r"^import time: .*\| +(\S+)$", done.stderr, re.MULTILINE)
    assert "tocsin" in imported
    return {name.partition(".")[0] for name in imported}
