"""The package's public names: sorted, complete, there, and free until they are used."""

import ast
import inspect
import json
import subprocess
import sys

import pytest

import personaagent

HEAVY = {"chromadb", "datasets", "dspy", "litellm", "mlflow", "numpy", "sqlalchemy"}


def test_public_names_are_sorted() -> None:
    assert personaagent.__all__ == sorted(personaagent.__all__)
    assert list(personaagent._MODULES) == personaagent.__all__


@pytest.mark.parametrize("name", personaagent.__all__)
def test_each_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(personaagent, name))


def test_type_checkers_see_each_name_where_it_is_imported_from() -> None:
    source = ast.parse(inspect.getsource(personaagent))
    imports = [node for node in ast.walk(source) if isinstance(node, ast.ImportFrom) and node.level]
    assert {name.name: f".{node.module}" for node in imports for name in node.names} == personaagent._MODULES


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'PersonalAgent'"):
        getattr(personaagent, "PersonalAgent")  # noqa: B009


@pytest.mark.parametrize(
    "statement",
    [
        "import personaagent",
        "from personaagent.cli import main; sys.argv[1:] = ['--help']; main()",
        "import personaagent.data.errors, personaagent.data.interaction, personaagent.data.persona",
    ],
    ids=["package", "help", "nouns"],
)
def test_heavy_libraries_are_imported_only_where_they_are_used(statement: str) -> None:
    program = f"import atexit, json, sys\natexit.register(lambda: print(json.dumps(list(sys.modules))))\n{statement}"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert HEAVY & set(json.loads(ran.stdout.splitlines()[-1])) == set()
