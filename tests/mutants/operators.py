"""Every small mistake that can be made in a module, as trees that differ from it in one place.

Left alone is what has no meaning at run time (docstrings, annotations, decorators), and what cannot be reached:
`assert_never`, assertions, and `strict=True`, which asserts too.

    mutants("a < b")  ──▶  Mutant(line=1, was="a < b", now="a <= b", …), …
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitXor: ast.BitOr,
}  # fmt: skip
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_UNREACHED = (ast.Assert, ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class Mutant:
    """A module with one mistake."""

    line: int
    was: str
    now: str
    whole: ast.Module
    node: ast.AST
    made: ast.AST

    @property
    def tree(self) -> ast.Module:
        """Return the module as it is with the mistake."""
        changed = _Replace(self.node, self.made).visit(deepcopy(self.whole, {id(self.node): self.node}))
        return ast.fix_missing_locations(changed)


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, in the order of its nodes."""
    tree = ast.parse(source)
    for node in _alive(tree):
        for made in _edits(node):
            yield Mutant(_number(node), _line(node), _line(made), tree, node, made)


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return ast.copy_location(self._new, self._old) if node is self._old else self.generic_visit(node)


def _number(node: ast.AST) -> int:
    """Return a node's line; that of its first part if it has none (a `for` in a comprehension, a `case`)."""
    return next((part.lineno for part in ast.walk(node) if hasattr(part, "lineno")), 1)


def _line(node: ast.AST) -> str:
    text = ast.unparse(node).split("\n")
    return text[0] + (" …" if len(text) > 1 else "")


def _alive(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes whose meaning counts."""
    if isinstance(node, _UNREACHED) or (isinstance(node, ast.Call) and _named(node.func, "assert_never", "cast")):
        return
    if isinstance(node, ast.If) and _named(node.test, "TYPE_CHECKING"):
        return
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return
    yield node
    hidden: list[ast.AST] = [*getattr(node, "decorator_list", ())]
    hidden += [part for name in ("annotation", "returns") if isinstance(part := getattr(node, name, None), ast.AST)]
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
        hidden += [part for part in node.body if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)]
    if isinstance(node, ast.Assign) and any(_named(t, "__all__", "__slots__", "__version__") for t in node.targets):
        return
    for child in ast.iter_child_nodes(node):
        if all(child is not one for one in hidden):
            yield from _alive(child)


def _named(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _edits(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in the place of a node by mistake."""
    match node:
        case ast.Compare():
            for at, operator in enumerate(node.ops):
                yield _with(node, ops=[*node.ops[:at], _COMPARISONS[type(operator)](), *node.ops[at + 1 :]])
        case ast.BoolOp():
            yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.UnaryOp(op=ast.Invert() | ast.USub()):
            yield node.operand
        case ast.BinOp() | ast.AugAssign() if type(node.op) in _OPERATIONS:
            yield _with(node, op=_OPERATIONS[type(node.op)]())
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield ast.Constant(node.value + 1)
            yield ast.Constant(node.value - 1)
        case ast.Constant(value=str()) if node.value:
            yield ast.Constant(f"X{node.value}X")
        case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
            yield _with(node, func=ast.Name(_CALLS[name], ast.Load()))
        case ast.IfExp() | ast.If() | ast.While():
            yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.comprehension():
            for at in range(len(node.ifs)):
                yield _with(node, ifs=node.ifs[:at] + node.ifs[at + 1 :])
        case ast.Return() if node.value is not None and not _is_none(node.value):
            yield ast.Return(ast.Constant(None))
        case ast.Continue() | ast.Break() | ast.Raise():
            yield ast.Pass()
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()):
            yield ast.Pass() if isinstance(node.value, ast.Call) else ast.Expr(_with_nothing(node.value))
        case ast.match_case() if node.guard is not None:
            yield _with(node, guard=None)


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _with(node: ast.AST, **changes: object) -> ast.AST:
    """Copy a node with other fields."""
    return type(node)(**{name: getattr(node, name, None) for name in node._fields} | changes)


def _with_nothing(node: ast.Yield | ast.YieldFrom) -> ast.expr:
    """Yield nothing, and remain a generator."""
    return ast.YieldFrom(ast.Tuple([], ast.Load()))
