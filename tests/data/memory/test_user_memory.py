"""One user's memory, whole and masked.

1. Masked before j, nothing shows j itself, anything that did not happen before j, or another asking of j's query.
2. A mask on a masked memory narrows it.
3. What was just stored is recalled; what was just forgotten is not.
4. Another user's memory shows nothing of this one.
"""

import copy
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from personaagent.data.errors import InputError
from personaagent.data.interaction import Interaction, normalised
from personaagent.data.memory.chroma_index import EpisodeIndex
from personaagent.data.memory.nearest import Match
from personaagent.data.memory.user_memory import UserMemory
from personaagent.data.statement import Memory, Statement
from personaagent.data.store import Store, User
from personaagent.testing import HashEmbedder

Ask = Callable[..., Interaction]
NOW = datetime(2025, 1, 1, tzinfo=UTC)


def ids(memory: UserMemory, query: str = "film", k: int = 50) -> list[str]:
    return [episode.interaction.interaction_id for episode in memory.recall(query, k)]


def told(name: str, topic: str, *evidence: str) -> Statement:
    return Statement(statement_id=name, topic=topic, text=f"the user {name}", evidence=evidence, at=NOW)


QUERIES = ("a film", "A  Film", "a FILM\n", "old film", "bread", "")
histories = st.lists(
    st.tuples(st.sampled_from(QUERIES), st.sampled_from((None, 1, 2, 3)), st.sampled_from(("comedy", "classic", None))),
    min_size=1,
    max_size=8,
)


@given(history=histories, place=st.integers(0, 7), second=st.integers(0, 7))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_masked_memory_shows_what_had_happened_and_nothing_that_gives_it_away(
    store: Store, history: list[tuple[str, int | None, str | None]], place: int, second: int
) -> None:
    user = store.add_user(f"user {len(store.users())}")
    user.interactions.add(
        [
            Interaction(
                interaction_id=f"i{number}",
                query=query,
                at=None if day is None else datetime(2024, 1, day, tzinfo=UTC),
                ground_truth=tag,
                task="LaMP-2M",
            )
            for number, (query, day, tag) in enumerate(history)
        ]
    )
    stored = user.interactions.all()
    masks = [stored[place % len(stored)], stored[second % len(stored)]]
    memory: UserMemory = user.memory
    for count, mask in enumerate(masks, start=1):
        memory = memory.before(mask)
        visible = {
            interaction.interaction_id
            for interaction in stored
            if all(shown(interaction, earlier) for earlier in masks[:count])
        }
        assert {interaction.interaction_id for interaction in memory.history()} == visible
        assert set(ids(memory, mask.query)) == visible
        assert all(visible.issuperset(statement.evidence) for statement in memory.statements())


def shown(one: Interaction, mask: Interaction) -> bool:
    same = one.interaction_id == mask.interaction_id or normalised(one.query) == normalised(mask.query)
    return one.moment < mask.moment and not same


def test_a_seeded_answer_never_reaches_the_simulation_of_its_question(maya: User, ask: Ask) -> None:
    maya.interactions.add(
        [
            ask("older duplicate", "Which TAG fits  Alien?", day=1, ground_truth="sci-fi"),
            ask("earlier", "Which tag fits Heat?", day=2, ground_truth="action"),
            ask("j", "Which tag fits Alien?", day=3, ground_truth="sci-fi"),
            ask("same day, later place", "Alien again", day=3, ground_truth="sci-fi"),
            ask("later", "Which tag fits Alien, please?", day=4, ground_truth="sci-fi"),
        ]
    )
    j = maya.interactions.get("j")
    assert ids(maya.memory.before(j), j.query) == ["earlier"]
    assert [interaction.interaction_id for interaction in maya.memory.before(j).history()] == ["earlier"]


def test_a_question_that_is_not_stored_can_be_a_mask(maya: User, ask: Ask) -> None:
    maya.interactions.add([ask("1", "an old film", day=1), ask("2", "a new film", day=20)])
    question = ask("new", "a film", day=10, position=99)
    assert ids(maya.memory.before(question)) == ["1"]


def test_without_dates_the_place_in_the_history_decides(maya: User, ask: Ask) -> None:
    maya.interactions.add([ask(name, f"film {name}") for name in "abc"])
    assert set(ids(maya.memory.before(maya.interactions.get("c")))) == {"a", "b"}
    assert ids(maya.memory.before(maya.interactions.get("a"))) == []


def test_a_mask_leaves_the_memory_it_was_made_from_whole(maya: User, ask: Ask) -> None:
    maya.interactions.add([ask("1", "a film"), ask("2", "bread")])
    maya.memory.before(maya.interactions.get("1"))
    assert sorted(ids(maya.memory)) == ["1", "2"]


def test_a_masked_recall_still_finds_k(maya: User, ask: Ask) -> None:
    maya.interactions.add([ask(str(place), f"film {place}", day=1 + place % 28) for place in range(56)])
    last = max(maya.interactions.all(), key=lambda interaction: interaction.moment)
    memory = maya.memory.before(maya.interactions.get("5"))
    assert len(ids(memory, last.query, k=4)) == 4


def test_what_was_just_stored_is_recalled(maya: User, ask: Ask) -> None:
    maya.interactions.add([ask("1", "a film")])
    assert ids(maya.memory) == ["1"]
    maya.interactions.add([ask("2", "a new film")])
    assert set(ids(maya.memory)) == {"1", "2"}


def test_what_was_forgotten_is_not_recalled(maya: User, ask: Ask) -> None:
    maya.interactions.add([ask("1", "a film"), ask("2", "a new film")])
    maya.interactions.forget("1")
    assert ids(maya.memory) == ["2"]


def test_what_is_forgotten_while_it_is_recalled_is_left_out(maya: User, index: EpisodeIndex, ask: Ask) -> None:
    class ForgetsBetween(EpisodeIndex):
        def search(self, *arguments: Any, **masks: Any) -> list[Match]:
            matches = index.search(*arguments, **masks)
            maya.interactions.forget("1")
            return matches

    maya.interactions.add([ask("1", "a film"), ask("2", "a new film")])
    with ForgetsBetween(None, HashEmbedder()) as racing:
        assert ids(UserMemory(maya.interactions, maya.statements, maya.key, racing)) == ["2"]


def test_a_crash_between_store_and_index_is_mended_by_the_first_recall(ask: Ask, tmp_path: Path) -> None:
    database, embedder = tmp_path / "store.sqlite", HashEmbedder()
    with EpisodeIndex(tmp_path / "index", embedder) as index, Store.open(database, index=index) as store:
        store.add_user("maya").interactions.add([ask("1", "a film"), ask("2", "an old film")])
    with Store.open(database) as crashed:
        crashed.user("maya").interactions.forget("1")
        crashed.user("maya").interactions.add([ask("3", "a new film")])
    with EpisodeIndex(tmp_path / "index", embedder) as index, Store.open(database, index=index) as store:
        assert set(ids(store.user("maya").memory)) == {"2", "3"}


def test_users_see_nothing_of_each_other(store: Store, maya: User, ask: Ask) -> None:
    omar = store.add_user("omar")
    maya.interactions.add([ask("1", "a film", ground_truth="comedy", task="LaMP-2M")])
    omar.interactions.add([ask("1", "a private film")])
    assert [episode.interaction.query for episode in maya.memory.recall("private film", 10)] == ["a film"]
    assert [interaction.query for interaction in omar.memory.history()] == ["a private film"]
    assert omar.memory.statements() == ()


def test_the_nearest_come_first_and_of_equals_the_newest(maya: User, ask: Ask) -> None:
    texts = ["a film about war", "bread", "a film about war", "a film"]
    maya.interactions.add([ask(str(place), text) for place, text in enumerate(texts)])
    assert ids(maya.memory, "a film about war") == ["2", "0", "3", "1"]
    assert ids(maya.memory, "a film about war", k=2) == ["2", "0"]
    assert maya.memory.recall("a film about war", 1)[0].similarity == pytest.approx(1.0, abs=1e-5)


def test_fewer_than_none_cannot_be_recalled(maya: User) -> None:
    with pytest.raises(InputError, match="cannot recall k=-1"):
        maya.memory.recall("film", -1)


def test_no_episodes_of_an_empty_memory_or_if_none_are_asked_for(maya: User, ask: Ask) -> None:
    assert maya.memory.recall("film", 3) == ()
    maya.interactions.add([ask("1", "a film")])
    assert maya.memory.recall("film", 0) == ()


def test_an_index_that_lost_everything_is_filled_by_the_next_recall(maya: User, index: EpisodeIndex, ask: Ask) -> None:
    maya.interactions.add([ask("1", "a film")])
    index.rebuild()
    assert ids(maya.memory) == ["1"]


def test_rebuilding_a_memory_embeds_it_anew_and_leaves_others_alone(ask: Ask) -> None:
    class Turning(HashEmbedder):
        sign = 1

        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return self.sign * super().embed(texts)

    embedder = Turning()
    with EpisodeIndex(None, embedder) as index, Store.open("sqlite://", index=index) as store:
        users = [store.add_user("maya"), store.add_user("omar")]
        for user in users:
            user.interactions.add([ask("1", "a film")])
        embedder.sign = -1
        users[0].memory.rebuild()
        similarities = [user.memory.recall("a film", 1)[0].similarity for user in users]
    assert similarities == pytest.approx([1.0, -1.0], abs=1e-5)


def test_statements_are_the_newest_of_each_topic(maya: User, ask: Ask) -> None:
    maya.interactions.add([ask("1", "a film"), ask("2", "bread")])
    for statement in (told("s1", "food", "1"), told("s2", "taste", "1"), told("s3", "food", "1", "2")):
        maya.statements.add(statement)
    assert {each.statement_id for each in maya.memory.statements()} == {"s2", "s3"}


def test_counts_are_there_before_anybody_stored_them(maya: User, ask: Ask) -> None:
    maya.interactions.add([ask("1", "Heat", ground_truth="action", task="LaMP-2M")])
    [statement] = maya.memory.statements()
    assert (statement.topic, statement.evidence) == ("answers to LaMP-2M", ("1",))


def test_a_masked_memory_counts_what_is_visible(maya: User, ask: Ask) -> None:
    tags = ["comedy", "classic", "comedy", "comedy"]
    maya.interactions.add(
        [ask(f"{n}", f"film {n}", day=n + 1, ground_truth=tag, task="LaMP-2M") for n, tag in enumerate(tags)]
    )
    [statement] = maya.memory.before(maya.interactions.get("2")).statements()
    assert '"comedy" 1 time (50%), "classic" 1 time (50%)' in statement.text
    assert statement.evidence == ("0", "1")


def test_a_masked_memory_shows_a_topics_newest_statement_from_before(maya: User, ask: Ask) -> None:
    maya.interactions.add([ask(name, f"film {name}", day=day) for day, name in enumerate("abcd", start=1)])
    for statement in (told("s1", "food", "a"), told("s2", "food", "a", "b"), told("s3", "food", "b", "d")):
        maya.statements.add(statement)
    masked = maya.memory.before(maya.interactions.get("c"))
    assert [each.statement_id for each in masked.statements()] == ["s2"]
    assert maya.memory.before(maya.interactions.get("a")).statements() == ()


def test_a_statement_without_evidence_is_hidden_by_any_mask(maya: User, ask: Ask) -> None:
    maya.interactions.add([ask("1", "a film"), ask("2", "bread")])
    maya.statements.add(told("s1", "food"))
    assert [statement.statement_id for statement in maya.memory.statements()] == ["s1"]
    assert maya.memory.before(maya.interactions.get("2")).statements() == ()


def test_a_copy_is_the_memory_itself(maya: User) -> None:
    assert copy.deepcopy(maya.memory) is copy.copy(maya.memory) is maya.memory


def test_it_is_a_memory(maya: User) -> None:
    memory: Memory = maya.memory
    assert memory.history() == ()


def test_an_equal_moment_is_not_before(maya: User, ask: Ask) -> None:
    maya.interactions.add([ask("1", "a film", day=1), ask("2", "bread", day=1)])
    first = maya.interactions.get("1")
    assert first.at
    twin = first.model_copy(update={"interaction_id": "twin", "query": "soup"})
    assert ids(maya.memory.before(twin)) == []
    later = twin.model_copy(update={"at": first.at + timedelta(microseconds=1)})
    assert set(ids(maya.memory.before(later))) == {"1", "2"}
