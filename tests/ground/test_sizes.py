"""Sizes that a reader can hold: functions, files, parameters; and errors that nobody swallows."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("data", "signatures", "programs", "optimizers", "src")
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
}

FILE_LINES = 400
FUNCTION_LINES = 50
ALGORITHM_LINES = 40
ALGORITHMS = {"acompile", "aforward", "compile", "forward"}
PARAMETERS = 7
BOUNDARIES = {
    "data/metric.py",
    "data/own.py",
    "programs/tools/mcp.py",
    "src/personaagent/evaluation/answering.py",
    "src/personaagent/journal/tools.py",
    "src/personaagent/serving/learning.py",
}
"""Where any exception may be caught: it becomes a row of the report, an error that names what users wrote in Python, or
the end of work that no request waits for."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _nodes(*kinds: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for file, source in SOURCES.items():
        yield from ((file, node) for node in ast.walk(ast.parse(source)) if isinstance(node, kinds))


def _functions() -> Iterator[tuple[str, Function]]:
    for file, node in _nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        assert isinstance(node, Function)
        yield f"{file}:{node.lineno} {node.name}", node


def _lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _parameters(function: Function) -> int:
    arguments = function.args
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    own = positional[1:] if positional[:1] in (["self"], ["cls"]) else positional
    return len(own) + len(arguments.kwonlyargs) + bool(arguments.vararg) + bool(arguments.kwarg)


def test_files_are_at_most_400_lines() -> None:
    assert {file: n for file, source in SOURCES.items() if (n := len(source.splitlines())) > FILE_LINES} == {}


def test_functions_are_at_most_50_lines() -> None:
    assert {name: n for name, function in _functions() if (n := _lines(function)) > FUNCTION_LINES} == {}


def test_algorithms_are_at_most_40_lines() -> None:
    algorithms = ((name, function) for name, function in _functions() if function.name in ALGORITHMS)
    assert {name: n for name, function in algorithms if (n := _lines(function)) > ALGORITHM_LINES} == {}


def test_functions_have_at_most_7_parameters() -> None:
    assert {name: n for name, function in _functions() if (n := _parameters(function)) > PARAMETERS} == {}


def test_only_the_boundaries_swallow_every_exception() -> None:
    swallowing = [
        f"{file}:{handler.lineno}"
        for file, handler in _nodes(ast.ExceptHandler)
        if isinstance(handler, ast.ExceptHandler) and file not in BOUNDARIES and _swallows_everything(handler)
    ]
    assert swallowing == []


def _swallows_everything(handler: ast.ExceptHandler) -> bool:
    """Whether the handler takes any exception, and does not end by raising it again."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    is_broad = any(kind is None or ast.unparse(kind) in ("Exception", "BaseException") for kind in kinds)
    return is_broad and ast.unparse(handler.body[-1]) != "raise"


@pytest.mark.parametrize("broad", ["except:", "except Exception:", "except (OSError, BaseException) as error:"])
def test_a_broad_handler_is_seen(broad: str) -> None:
    [handler] = (
        node for node in ast.walk(ast.parse(f"try:\n  x\n{broad}\n  y")) if isinstance(node, ast.ExceptHandler)
    )
    assert _swallows_everything(handler)
