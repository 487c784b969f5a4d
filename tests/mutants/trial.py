"""One mutant in a process of its own: do the tests that run its line fail?

This process has pytest and the libraries, but none of the modules that mutants are made of. Its child takes the mutant
for the module, and runs the tests until one fails, a few first: to collect many is what costs. Processor time is
bounded, not time: others use this machine too.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import click
import hypothesis
import nftables
import pydantic
import pyroute2
import pytest
import rich.console
import yaml

import enforcer.model
from mutants.covering import PACKAGES, ROOT

LOADED = (click, hypothesis, nftables, pydantic, pyroute2, rich.console, yaml, enforcer.model)
"""What every child needs, loaded once."""
MOST_BYTES = 4 << 30


class _Takes(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a tree in the place of one module."""

    def __init__(self, path: Path, tree: ast.Module) -> None:
        self._path, self._tree = path, tree
        parts = path.relative_to(ROOT).with_suffix("").parts
        self._name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        within = [str(self._path.parent)] if self._path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            fullname, self._path, loader=self, submodule_search_locations=within
        )

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._tree, str(self._path), "exec"), module.__dict__)


def killed(path: Path, tree: ast.Module, tests: Sequence[str], seconds: float) -> str:
    """Say how a mutant ends: `killed`, `timeout` (which is killed as well) or `survived`."""
    loaded = [name for name in sys.modules if name.startswith(tuple(f"enforcer.{package}" for package in PACKAGES))]
    assert not loaded, f"a child would not take the mutant: {loaded}"
    child = os.fork()
    if child == 0:
        _child(path, tree, tests, seconds)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else "killed"
    return "survived" if os.WEXITSTATUS(status) == 0 else "killed"


def _child(path: Path, tree: ast.Module, tests: Sequence[str], seconds: float) -> None:
    status: int = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 3))
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        sys.meta_path.insert(0, _Takes(path, tree))
        os.chdir(ROOT)
        words = ["-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
        for batch in (tests[:6], tests[6:30], tests[30:]):
            status = int(pytest.main([*words, *batch])) if batch else status
            if status:
                break
    finally:
        os._exit(status)
