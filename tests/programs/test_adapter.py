import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as some

from personaagent.programs.adapter import TerseJSONAdapter
from personaagent.testing import ScriptedLM


def test_threads_that_begin_at_once_all_ask_for_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = dspy.JSONAdapter._prepare_response_format

    def slow(self: dspy.JSONAdapter, *arguments: Any) -> None:
        time.sleep(0.05)
        usual(self, *arguments)

    monkeypatch.setattr(dspy.JSONAdapter, "_prepare_response_format", slow)
    adapter, lm = TerseJSONAdapter(), ScriptedLM({"film": "noir"})

    def asked_for(_: int) -> dict[str, Any]:
        asked: dict[str, Any] = {}
        adapter._prepare_response_format(lm, asked, Recommend)
        return asked

    with ThreadPoolExecutor(8) as threads:
        assert all(asked.get("response_format") for asked in threads.map(asked_for, range(8)))


class Recommend(dspy.Signature):
    """Name a film."""

    taste: str = dspy.InputField()
    seen: list[str] = dspy.InputField()
    film: str = dspy.OutputField()


@given(some.fixed_dictionaries({}, optional={"taste": some.text(), "seen": some.lists(some.text()) | some.text()}))
def test_what_is_given_is_written_as_dspy_writes_it(inputs: dict[str, object]) -> None:
    terse, usual = TerseJSONAdapter(), dspy.JSONAdapter()
    usual.user_message_output_requirements = lambda signature: None  # type: ignore[method-assign]
    for part in ({}, {"prefix": "before", "suffix": "after", "main_request": True}):
        ours = terse.format_user_message_content(Recommend, inputs, **part)
        assert ours == usual.format_user_message_content(Recommend, inputs, **part)
