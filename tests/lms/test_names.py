"""An LM on a server of one's own has a name of ours for DSPy; what people see is the name that they wrote."""

import dspy
import pytest

from personaagent.data.call import as_written
from personaagent.journal import new_run, note_names
from personaagent.lms import open_lm

from .conftest import Journalled


def test_a_run_remembers_how_its_lms_were_written(lm: dspy.LM, journalled: Journalled) -> None:
    with journalled.run(lm):
        pass
    recorded = journalled.recorded
    assert {asked.written for asked in recorded.lms.values()} == {"openai/made-up"}
    assert {asked.model for asked in recorded.lms.values()} == {lm.model} != {"openai/made-up"}


def test_another_process_calls_an_lm_by_the_name_in_its_run(lm: dspy.LM, journalled: Journalled) -> None:
    with journalled.run(lm):
        pass
    elsewhere = "server-10-0-0-1-8000-012abc/made-up"
    asked = journalled.recorded.lms["agent"].model_copy(update={"model": elsewhere})
    assert as_written(elsewhere) == "made-up"
    note_names(new_run("test").model_copy(update={"lms": {"agent": asked}}))
    assert as_written(elsewhere) == "openai/made-up"


@pytest.mark.parametrize("name", ["embedded/smollm2", "openai/gpt-4.1-mini", "server-side/model"])
def test_every_other_name_is_as_it_is(name: str) -> None:
    assert as_written(name) == name


def test_a_name_without_a_provider_stays_one(lm: dspy.LM) -> None:
    assert as_written(open_lm("qwen3", api_base="http://127.0.0.1:9/v1").model) == "qwen3"
    assert as_written(lm.model) == "openai/made-up"
