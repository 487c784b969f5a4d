"""The mutants of `scripts/mutants`: each has one mistake, can be compiled, and leaves alone what means nothing."""

from __future__ import annotations

import ast

import pytest
from mutants.covering import ROOT, modules
from mutants.operators import mutants


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["a <= b"]),
        ("a in b", ["a not in b"]),
        ("a and b", ["a or b"]),
        ("not a", ["a"]),
        ("a + b", ["a - b"]),
        ("x = 7", ["8", "6"]),
        ("x = True", ["False"]),
        ("x = 'a'", ["'XaX'"]),
        ("min(a, b)", ["pass", "max(a, b)"]),
        ("x = [a for a in b if c]", [" for a in b"]),
        ("if a:\n    b()", ["if not a: …", "pass"]),
        ("def f():\n    return a", ["return None"]),
        ("for a in b:\n    continue", ["pass"]),
        ("raise ValueError", ["pass"]),
        ("def f(a: int = 1) -> int:\n    'Says.'", ["2", "0"]),
        ("assert a == 1", []),
        ("zip(a, strict=True)", ["pass"]),
        ("from a import b", []),
    ],
)
def test_which_mistakes_are_made(source: str, expected: list[str]):
    made = list(mutants(source))
    assert [mutant.now.strip() for mutant in made] == [words.strip() for words in expected]
    assert all(ast.unparse(mutant.tree) != ast.unparse(ast.parse(source)) for mutant in made)


def test_every_mutant_of_our_modules_can_be_compiled():
    for path in modules():
        for mutant in list(mutants(path.read_text()))[::40]:
            compile(mutant.tree, str(path.relative_to(ROOT)), "exec")
