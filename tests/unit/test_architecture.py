"""The layers of the program, its sizes and its docstrings (design §5, style §12): read from the source with `ast`."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ENFORCER = Path(__file__).parents[2] / "enforcer"
MODULES = sorted(ENFORCER.rglob("*.py"))

MAY_IMPORT = {
    "errors": set(),
    "model": {"errors"},
    "compiler": {"errors", "model"},
    "ruleset": {"errors", "model", "compiler"},
    "semantics": {"errors", "model"},
    "answers": {"errors", "model", "semantics"},
    "dataplane": {"errors", "model", "compiler", "ruleset"},
    "agent": {"errors", "model", "compiler", "ruleset", "semantics", "answers", "dataplane"},
    "lab": {"errors", "model", "dataplane"},
    "cli": {"errors", "model", "compiler", "ruleset", "semantics", "answers", "dataplane", "agent", "lab"},
    "__main__": {"cli"},
    "__init__": {"errors", "model", "compiler", "ruleset", "semantics"},
}
"""model ◀ compiler ◀ ruleset ◀ dataplane ◀ agent ◀ cli; model ◀ semantics ◀ answers ◀ cli; the lab: no compiler."""

PURE = {"errors", "model", "compiler", "ruleset", "semantics", "answers"}
PURE_MODULES = {
    "collections",
    "dataclasses",
    "difflib",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "ipaddress",
    "itertools",
}
PURE_MODULES |= {
    "__future__",
    "abc",
    "bisect",
    "contextlib",
    "enforcer",
    "json",
    "math",
    "operator",
    "re",
    "string",
    "textwrap",
}
PURE_MODULES |= {"re", "typing", "unicodedata", "pydantic", "pydantic_core", "yaml"}
"""All that the pure layers import: nothing of the operating system, no clock, no chance."""

IMPURE_CALLS = {"open", "print", "input", "eval", "exec", "compile", "__import__", "breakpoint"}

ONLY_IN = {
    "nftables": {"dataplane"},
    "pyroute2": {"dataplane", "lab"},
    "click": {"cli"},
    "rich": {"cli"},
    "sqlite3": {"agent"},
    "fastapi": {"agent"},
    "uvicorn": {"agent"},
    "structlog": {"agent"},
    "prometheus_client": {"agent"},
    "httpx": {"cli"},
}
"""Only `dataplane` changes nftables, only it and the lab speak netlink, and only the command line meets a terminal.

The daemon's libraries stay in the daemon: a command that needs none of them does not load them.
"""

MOST_LINES = 300
MOST_FUNCTION_LINES = 40
MOST_MODULES = 8

LARGER_PACKAGES = {
    # package: how many modules, and the reason that a reader accepts
    "model": (12, "one module for each kind of object that an operator writes, and the questions asked of them"),
    "ruleset": (21, "nft's nouns and their text apart from the lookups, and one module for each part of the rules"),
    "compiler": (13, "one pass per file, and three for what differs from the last policy"),
    "dataplane": (16, "a module for each thing that is read from a kernel, and for each way in which it is changed"),
    "cli": (18, "one module for each family of commands, and one for their groups"),
    "agent/api": (10, "one module for each family of requests, their short way, and what guards the socket"),
    "agent": (22, "one module for each part of the daemon, pure ones beside those that act"),
    "lab": (9, "plans are pure and stand beside what carries them out; detours are a plan's hardest part"),
}
LARGER_FUNCTIONS = {
    "cli/matrix.py:matrix_command": "options and their three ways out, one after the other; its help is half of it",
    # function: the reason that a reader accepts
    "ruleset/profiles.py:lower_profile": "the five chains of a profile, side by side to be compared",
}


def layer(path: Path) -> str:
    return path.relative_to(ENFORCER).parts[0].removesuffix(".py")


def name(path: Path) -> str:
    return str(path.relative_to(ENFORCER))


def imports(path: Path) -> Iterator[str]:
    """Yield what a module imports, as dotted names, relative imports resolved."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}: write absolute imports"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "enforcer")


def test_the_source_is_where_this_test_looks():
    assert {layer(path) for path in MODULES} >= {"errors", "model", "compiler", "ruleset", "semantics", "dataplane"}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_layer_imports_only_what_is_left_of_it(path: Path):
    here = layer(path)
    assert here in MAY_IMPORT, f"{here} is a layer that the table does not know"
    found = {dotted.split(".")[1] for dotted in imports(path) if dotted.startswith("enforcer.")} - {"__version__"}
    assert found - MAY_IMPORT[here] - {here} == set()


@pytest.mark.parametrize("path", [path for path in MODULES if layer(path) in PURE], ids=name)
def test_what_is_pure_has_no_io_no_clock_and_no_chance(path: Path):
    assert {dotted.split(".")[0] for dotted in imports(path)} - PURE_MODULES == set()
    called = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert called & IMPURE_CALLS == set()


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_of_the_outside_is_used_in_one_place(library: str):
    users = {layer(path) for path in MODULES if any(d.split(".")[0] == library for d in imports(path))}
    assert users <= ONLY_IN[library]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_what_it_answers_and_is_short_enough_to_read(path: Path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, "no docstring"
    assert len(docstring.split("\n")[0]) >= 20, "its first line says too little"
    assert len(path.read_text().splitlines()) <= MOST_LINES


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name(path)}:{node.name}", node


def test_functions_fit_on_a_screen():
    long = {where for where, node in functions() if (node.end_lineno or 0) - node.lineno + 1 > MOST_FUNCTION_LINES}
    assert long - LARGER_FUNCTIONS.keys() == set()
    assert LARGER_FUNCTIONS.keys() - long == set(), "no exception without need"


def test_public_functions_of_the_core_say_what_they_do():
    silent = {
        where
        for where, node in functions()
        if where.startswith(("compiler/", "ruleset/", "dataplane/"))
        and not node.name.startswith("_")
        and not isinstance(node.body[0], ast.Expr)
        and where.split(":")[1] not in ("make", "regions_at", "walk")
    }
    assert silent == set()


def test_packages_are_small_or_have_a_reason():
    sizes = Counter(str(path.relative_to(ENFORCER).parent) for path in MODULES if path.name != "__init__.py")
    large = {package: size for package, size in sizes.items() if size > MOST_MODULES and package != "."}
    assert large.keys() == LARGER_PACKAGES.keys(), "each with a reason, and no reason without need"
    assert {p for p, size in large.items() if size > LARGER_PACKAGES[p][0]} == set()


@pytest.mark.parametrize("word", ["utils", "util", "helpers", "helper", "manager", "common", "misc"])
def test_no_module_is_named_for_nothing(word: str):
    assert [name(path) for path in MODULES if word in path.stem.split("_")] == []
