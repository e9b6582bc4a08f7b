"""Which SQL texts of the package are made of anything but the program's own words, found by reading the sources.

A text is ours when it is a constant, a name in capitals, a look-up in a table of that name, placeholders, or made of such things. A local
name is what it is bound to in its function. What is left over (arguments of functions, mostly) is a piece that a person must look at.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SQL = re.compile(
    r"\b(SELECT|INSERT INTO|INSERT OR|UPDATE \w+ SET|DELETE FROM|FROM \w+|WHERE|ORDER BY|GROUP BY|VALUES|JOIN|UNION|CREATE|DROP|ALTER)\b"
    r"|(=|<|>|\bIN|\bLIKE) (\?|\()"
)
SINKS = frozenset({"execute", "executemany", "exec_driver_sql", "executescript", "iterate"})
CAPITALS = re.compile(r"_?[A-Z][A-Z0-9_]*")
OF_SAFE_ARGUMENTS = frozenset({"range", "sorted", "tuple", "list", "enumerate", "zip", "min", "max", "dict.fromkeys", "str"})
"""Calls that give nothing but what they are given."""
SHOWN = 60
NUMBERS = frozenset({"len", "int", "round"})


class Piece(NamedTuple):
    """A part of an SQL text that is not evidently ours."""

    module: str
    function: str
    text: str

    def __str__(self) -> str:
        return f"{self.module}:{self.function}: {self.text}"


def pieces(package: Path) -> Iterator[Piece]:
    """All such parts of the package, each once for its function."""
    for path in sorted(package.rglob("*.py")):
        if "migrations" not in path.parts:
            module = str(path.relative_to(package)).removesuffix(".py").replace("/", ".")
            yield from dict.fromkeys(_of_module(module, ast.parse(path.read_text())))


def _of_module(module: str, tree: ast.Module) -> Iterator[Piece]:
    ours = _own_functions(tree)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    nested = {inner for outer in functions for inner in ast.walk(outer) if inner is not outer and inner in set(functions)}
    yield from _of_scope(module, "", tree, set(functions), ours)
    for function in functions:
        if function not in nested:
            yield from _of_scope(module, function.name, function, set(), ours)


def _own_functions(tree: ast.Module) -> frozenset[str]:
    """Functions of the package that a module can call by a plain name: what they make of SQL is looked at where they are written."""
    here = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("otel_finops")]
    return frozenset(here | {alias.asname or alias.name for node in imported for alias in node.names})


def _of_scope(module: str, name: str, scope: ast.AST, skip: set[ast.AST], ours: frozenset[str]) -> Iterator[Piece]:
    bound = _bindings(scope, skip)
    for node in _walk(scope, skip):
        for text in _sql_texts(node):
            yield from (Piece(module, name, ast.unparse(part)[:SHOWN]) for part in _foreign(text, bound, ours, frozenset()))


def _walk(scope: ast.AST, skip: set[ast.AST]) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(scope):
        if child not in skip:
            yield child
            yield from _walk(child, skip)


def _sql_texts(node: ast.AST) -> Iterator[ast.expr]:
    """What is executed, and every composed text that reads like SQL."""
    if isinstance(node, ast.Call) and _called(node).rpartition(".")[2] in SINKS and node.args:
        yield node.args[0]
    elif (isinstance(node, ast.JoinedStr | ast.BinOp) and SQL.search(_constants(node))) or (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
        and SQL.search(_constants(node.func))
    ):
        yield node


def _constants(node: ast.AST) -> str:
    return " ".join(one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str))


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func) if isinstance(call.func, ast.Name | ast.Attribute) else ""


def _bindings(scope: ast.AST, skip: set[ast.AST]) -> dict[str, list[ast.expr]]:
    """What each local name is bound to, anywhere in the scope; lists together with what is put into them."""
    bound: dict[str, list[ast.expr]] = {}
    for node in _walk(scope, skip):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                _bind(bound, target, node.value)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
            _bind(bound, node.target, node.value)
        elif isinstance(node, ast.For | ast.comprehension):
            _bind(bound, node.target, node.iter)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("append", "extend") and node.args:
            _bind(bound, node.func.value, node.args[0])
    return bound


def _bind(bound: dict[str, list[ast.expr]], target: ast.expr, value: ast.expr) -> None:
    if isinstance(target, ast.Name):
        bound.setdefault(target.id, []).append(value)
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.IfExp):
        _bind(bound, target, value.body)
        _bind(bound, target, value.orelse)
    elif isinstance(target, ast.Tuple):
        values = value.elts if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts) else [value] * len(target.elts)
        for one, its in zip(target.elts, values, strict=True):
            _bind(bound, one, its)


def _foreign(node: ast.expr, bound: dict[str, list[ast.expr]], ours: frozenset[str], seen: frozenset[str]) -> Iterator[ast.expr]:
    """The parts of an expression that are not evidently ours."""

    def within(*parts: ast.expr | None) -> Iterator[ast.expr]:
        for part in parts:
            if part is not None:
                yield from _foreign(part, bound, ours, seen)

    match node:
        case ast.Constant():
            return
        case ast.Name(id=name) if CAPITALS.fullmatch(name) or name in seen:
            return
        case ast.Name(id=name) if name in bound:
            for value in bound[name]:
                yield from _foreign(value, bound, ours, seen | {name})
        case ast.Attribute(attr=name) if CAPITALS.fullmatch(name):
            return
        case ast.Subscript(value=table):
            yield from within(table)  # what is looked up in a table of ours is ours, whatever the key
        case ast.JoinedStr(values=parts):
            yield from within(*(part.value if isinstance(part, ast.FormattedValue) else part for part in parts))
        case ast.BinOp(left=left, right=right):
            yield from within(left, None if isinstance(node.op, ast.Mult) and _is_text(left) else right)
        case ast.IfExp(body=body, orelse=orelse):
            yield from within(body, orelse)
        case ast.BoolOp(op=ast.And(), values=[*_, last]):
            yield from within(last)  # the others decide; they are text only where they are empty
        case ast.BoolOp(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            yield from within(*parts)
        case ast.Starred(value=value) | ast.UnaryOp(operand=value) | ast.NamedExpr(value=value):
            yield from within(value)
        case ast.ListComp(elt=made) | ast.GeneratorExp(elt=made) | ast.SetComp(elt=made):
            yield from within(made)
        case ast.Call(func=ast.Attribute(attr="join" | "format", value=text), args=parts):
            yield from within(text, *parts, *(keyword.value for keyword in node.keywords))
        case ast.Call(func=ast.Name(id=name)) if name in NUMBERS or name in ours:
            return
        case ast.Call(args=parts) if _called(node) in OF_SAFE_ARGUMENTS:
            yield from within(*parts)
        case ast.Call(func=ast.Attribute(attr="items" | "keys" | "values" | "encode", value=whole)):
            yield from within(whole)
        case _:
            yield node


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
