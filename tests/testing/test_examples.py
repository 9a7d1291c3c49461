"""The examples in the docstrings run."""

import inspect
import re
import textwrap

import dspy
import pytest

from personaagent import testing
from personaagent.data.interaction import Interaction

FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)
EXAMPLES = {
    name: [textwrap.dedent(block) for block in FENCE.findall(inspect.getdoc(getattr(testing, name)) or "")]
    for name in testing.__all__
}


@pytest.mark.parametrize("name", [name for name, blocks in EXAMPLES.items() if blocks])
def test_the_example_runs(name: str) -> None:
    names = {each: getattr(testing, each) for each in testing.__all__}
    for block in EXAMPLES[name]:
        exec(block, {**names, "dspy": dspy, "pytest": pytest, "Interaction": Interaction})  # noqa: S102


def test_there_are_examples() -> None:
    assert {name for name, blocks in EXAMPLES.items() if blocks} == {"RefusingLM", "ScriptedLM", "in_memory_store"}
