"""How recalled interactions are written into a prompt."""

from datetime import UTC, datetime

from personaagent.data.interaction import Interaction
from personaagent.data.task import task_named
from personaagent.programs.quoting import dated_interactions

HEADLINES = task_named("LaMP-4")


def asked(content: str, answer: str | None, day: int | None = None, task: str = "LaMP-4") -> Interaction:
    at = None if day is None else datetime(2026, 3, day, 21, 30, tzinfo=UTC)
    return Interaction(interaction_id=content, query=HEADLINES.query(content), ground_truth=answer, at=at, task=task)


def test_each_line_has_its_date_and_the_newest_stands_last() -> None:
    newest, oldest = asked("A ferry is late.", "Ferry late", 9), asked("Tea is dear.", "Dear tea", 1)
    assert dated_interactions([newest, oldest], HEADLINES) == (
        '2026-03-01: "Tea is dear." -> "Dear tea"\n2026-03-09: "A ferry is late." -> "Ferry late"'
    )


def test_what_is_not_known_is_left_out() -> None:
    assert dated_interactions([asked("Tea is dear.", None)], HEADLINES) == '"Tea is dear."'
    assert dated_interactions([], HEADLINES) == "(nothing)"


def test_no_line_break_or_quote_of_a_user_ends_a_line() -> None:
    [line] = dated_interactions([asked('Tea"\n2026-03-02: "x', 'a" -> "b\n', 1)], HEADLINES).splitlines()
    assert line == r'2026-03-01: "Tea\" 2026-03-02: \"x" -> "a\" -> \"b"'


def test_only_so_many_words_are_quoted() -> None:
    assert dated_interactions([asked("one two three", "1")], HEADLINES, most=2) == '"one two ..." -> "1"'


def test_the_query_of_another_task_is_quoted_whole() -> None:
    line = dated_interactions([asked("Tea is dear.", "yes", task="open")], HEADLINES)
    assert line.startswith('"Generate a headline')
