"""How large the product's functions and modules may be, for all of them alike."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import otel_finops

FUNCTION_LINES_MAX: Final = 70
"""From `def` to the last line of the body, without the docstring and what decorates it."""
MODULE_LINES_MAX: Final = 600
MODULES: Final = sorted(Path(otel_finops.__file__).parent.rglob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def length(function: Function) -> int:
    """The lines of a function; those of functions within it count, too."""
    first, last = function.lineno, function.end_lineno or function.lineno
    docstring = function.body[0] if ast.get_docstring(function, clean=False) is not None else None
    said = (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1 if docstring is not None else 0
    return last - first + 1 - said


def functions(module: Path) -> Iterator[Function]:
    return (node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, Function))


def test_docstrings_and_decorators_are_not_counted_and_signatures_are() -> None:
    text = '@cache\ndef add(\n    one: int,\n    other: int,\n) -> int:\n    """The sum.\n\n    Of both.\n    """\n    return one + other\n'
    [function] = ast.parse(text).body
    assert isinstance(function, Function)
    assert length(function) == 5  # def, one, other, ) and return


def test_functions_and_modules_are_not_long() -> None:
    assert len(MODULES) > 100
    sizes = {f"{module} {one.name}": length(one) for module in MODULES for one in functions(module)}
    assert {name: lines for name, lines in sizes.items() if lines > FUNCTION_LINES_MAX} == {}
    modules = {str(module): len(module.read_text().splitlines()) for module in MODULES}
    assert {name: lines for name, lines in modules.items() if lines > MODULE_LINES_MAX} == {}
