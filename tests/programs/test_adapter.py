import dspy
from hypothesis import given
from hypothesis import strategies as some

from personaagent.programs.adapter import TerseJSONAdapter


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
