"""What is counted and read in pages is what reading everything comes to."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from personaagent.data.interaction import Interaction
from personaagent.data.store import Store

from .test_round_trips import few, histories

users = count()


@few
@given(histories, st.integers(1, 3), st.integers(0, 5))
def test_counts_pages_and_steps_tell_what_the_whole_history_tells(
    store: Store, history: list[Interaction], most: int, skipped: int
) -> None:
    log = store.add_user(f"counted {next(users)}").interactions
    log.add(history)
    everything = log.all()
    assert tuple(log.each()) == everything
    assert log.newest(most, skipped) == everything[::-1][skipped : skipped + most]
    assert log.known == sum(interaction.ground_truth is not None for interaction in everything)


def test_a_page_holds_no_more_bytes_than_it_may_and_always_something(store: Store) -> None:
    log = store.add_user("large").interactions
    log.add([Interaction(interaction_id=str(number), query="q" * 1_000) for number in range(5)])
    assert [interaction.interaction_id for interaction in log.newest(5, most_bytes=3_000)] == ["4", "3"]
    assert [interaction.interaction_id for interaction in log.newest(5, 2, most_bytes=10)] == ["2"]


def test_what_becomes_known_and_what_is_forgotten_is_counted_so(store: Store) -> None:
    log = store.add_user("learnt").interactions
    log.add([Interaction(interaction_id=name, query="a film?") for name in "123"])
    log.learn("2", "noir")
    assert log.known == 1
    log.forget("2")
    assert (log.known, [interaction.interaction_id for interaction in log.each()]) == (0, ["1", "3"])
