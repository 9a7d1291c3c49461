"""What the index keeps of an interaction."""

from datetime import UTC, datetime, timedelta

import pytest

from personaagent.data.interaction import Interaction
from personaagent.data.memory.rows import content_of, row_of
from personaagent.data.task import task_named

LAMP_3 = task_named("LaMP-3")


def test_the_fixed_words_of_a_task_are_not_embedded() -> None:
    rated = Interaction(interaction_id="1", query=LAMP_3.query("Broke after a week."), task="LaMP-3")
    assert content_of(rated) == "Broke after a week."


def test_the_query_of_a_task_that_is_not_known_is_embedded_whole() -> None:
    mine = Interaction(interaction_id="1", query="Pick one: a or b", task="my own task")
    assert content_of(mine) == "Pick one: a or b"


def test_a_row_has_neither_the_query_nor_the_ground_truth_in_words() -> None:
    asked = Interaction(interaction_id="1", query="A film for tonight?", ground_truth="Alien", response="Heat")
    row = row_of("ab12", asked, "A film for tonight?")
    kept = " ".join(map(str, row.metadata.values()))
    assert not any(word in kept for word in ("film", "Alien", "Heat"))


@pytest.mark.parametrize("at", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)])
def test_dates_a_microsecond_apart_stay_apart(at: datetime) -> None:
    earlier, later = (
        Interaction(interaction_id="1", query="q", at=at + timedelta(microseconds=step)) for step in (0, 1)
    )
    moments = [row_of("ab12", each, "q").metadata["at"] for each in (earlier, later)]
    assert int(moments[1]) - int(moments[0]) == 1
