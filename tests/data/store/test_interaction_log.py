"""The log of interactions: order, idempotence, isolation of what is wrong, forgetting."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from personaagent.data.errors import InputError, StorageError
from personaagent.data.interaction import Interaction
from personaagent.data.store import InteractionLog, Store, User

from .conftest import interaction, statement


def ids(user: User) -> list[str]:
    return [interaction.interaction_id for interaction in user.interactions.all()]


def test_a_new_user_has_no_interactions(user: User) -> None:
    assert user.interactions.all() == ()
    assert len(user.interactions) == 0


def test_positions_continue_after_the_last_whatever_the_caller_gave(user: User) -> None:
    user.interactions.add([interaction(1, position=7), interaction(2)])
    user.interactions.add([interaction(3)])
    assert [each.position for each in user.interactions.all()] == [0, 1, 2]


def test_interactions_are_ordered_by_date_and_undated_ones_come_first(user: User) -> None:
    user.interactions.add([interaction(5), interaction(2), interaction(8, at=None), interaction(2, interaction_id="b")])
    assert ids(user) == ["i8", "i2", "b", "i5"]


def test_the_same_history_can_be_added_again(user: User) -> None:
    history = [interaction(1), interaction(2)]
    assert user.interactions.add(history) == 2
    before = user.interactions.all()
    assert user.interactions.add([*history, interaction(3)]) == 1
    assert user.interactions.add(user.interactions.all()) == 0
    assert user.interactions.all()[:2] == before
    assert len(user.interactions) == 3


def test_interactions_with_equal_content_and_different_ids_are_both_kept(user: User) -> None:
    user.interactions.add([interaction(1), interaction(1, interaction_id="again")])
    assert ids(user) == ["i1", "again"]


def test_a_stored_id_with_other_content_is_refused_and_nothing_is_stored(user: User) -> None:
    user.interactions.add([interaction(1)])
    with pytest.raises(InputError, match="'i1' is stored already, with other content"):
        user.interactions.add([interaction(2), interaction(1, ground_truth="another")])
    assert ids(user) == ["i1"]


def test_an_id_that_occurs_twice_is_refused_and_nothing_is_stored(user: User) -> None:
    with pytest.raises(InputError, match="'i1' occurs twice"):
        user.interactions.add([interaction(2), interaction(1), interaction(1)])
    assert len(user.interactions) == 0


def test_an_interaction_of_another_task_than_before_says_how_to_change_the_task(user: User) -> None:
    user.interactions.add([interaction(1)])
    with pytest.raises(InputError, match="of task open, and is of task moods here: name the task"):
        user.interactions.add([interaction(1, task="moods")])


def test_what_has_not_happened_yet_is_refused_and_clocks_may_differ(user: User) -> None:
    now = datetime.now(UTC)
    with pytest.raises(InputError, match=r"'i1': it is dated .*, in the future"):
        user.interactions.add([interaction(1, at=now + timedelta(days=2))])
    assert user.interactions.add([interaction(1, at=now + timedelta(hours=12))]) == 1


@pytest.mark.parametrize("field", ["query", "ground_truth", "response", "task"])
def test_a_nul_is_refused_by_the_name_of_its_field(user: User, field: str) -> None:
    with pytest.raises(InputError, match=f"'i1': its {field} has a NUL"):
        user.interactions.add([interaction(1, **{field: "a\0b"})])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"query": "half of a pair \ud800"}, "cannot be written as JSON"),
        ({"metadata": {"score": float("nan")}}, "changes when written as JSON"),
        ({"interaction_id": "line\nbreak"}, "unprintable character"),
        ({"interaction_id": "x" * 257}, "has 257 characters"),
    ],
)
def test_what_could_not_be_read_back_is_refused(user: User, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        user.interactions.add([interaction(1, **wrong)])
    assert len(user.interactions) == 0


def test_a_nul_in_the_metadata_comes_back(user: User) -> None:
    user.interactions.add([interaction(1, metadata={"a\0b": ["c\0d", "\\u0000"]})])
    assert user.interactions.get("i1").metadata == {"a\0b": ["c\0d", "\\u0000"]}


def test_one_interaction_is_found_by_its_id(user: User) -> None:
    user.interactions.add([interaction(1), interaction(2)])
    assert user.interactions.get("i2") == interaction(2, position=1)


@pytest.mark.parametrize("unknown", ["i9", "I1", " i1", "i1' OR '1'='1", "\udcff", ""])
def test_an_unknown_id_is_an_input_error(user: User, unknown: str) -> None:
    user.interactions.add([interaction(1)])
    with pytest.raises(InputError):
        user.interactions.get(unknown)
    with pytest.raises(InputError):
        user.interactions.forget(unknown)
    assert ids(user) == ["i1"]


def test_forgetting_deletes_the_interaction_and_the_statements_that_rest_on_it(user: User) -> None:
    user.interactions.add([interaction(1), interaction(2)])
    user.statements.add(statement("s1", "taste", ("i1",)))
    user.statements.add(statement("s2", "taste", ("i1", "i2")))
    user.statements.add(statement("s3", "food", ("i2",)))
    user.interactions.forget("i2")
    assert ids(user) == ["i1"]
    assert [each.statement_id for each in user.statements.current()] == ["s1"]


def test_forgetting_touches_no_other_user(store: Store, user: User) -> None:
    other = store.add_user("Maya")
    for each in (user, other):
        each.interactions.add([interaction(1)])
        each.statements.add(statement("s1", "taste", ("i1",)))
    user.interactions.forget("i1")
    assert ids(other) == ["i1"]
    assert len(other.statements.current()) == 1


class RecordingIndex:
    """Notes what it is told, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.rows: dict[str, list[str]] = {}

    def add(self, user_key: str, interactions: Sequence[Interaction]) -> None:
        if self.error:
            raise self.error
        self.rows.setdefault(user_key, []).extend(interaction.query for interaction in interactions)
        assert [interaction.position for interaction in interactions] == list(range(len(interactions)))

    def remove(self, user_key: str, interaction_ids: Sequence[str]) -> None:
        if self.error:
            raise self.error
        self.rows.setdefault(user_key, []).extend(f"- {name}" for name in interaction_ids)


def test_the_index_is_told_what_is_new_and_what_is_forgotten() -> None:
    index = RecordingIndex()
    with Store.open("sqlite://", index=index) as store:  # type: ignore[arg-type]
        user = store.add_user("maya")
        user.interactions.add([interaction(1), interaction(2)])
        user.interactions.add([interaction(1)])
        user.interactions.forget("i1")
        store.ingest({"ben": [interaction(3)]})
        assert index.rows == {
            user.key: ["made-up question 1", "made-up question 2", "- i1"],
            store.user("ben").key: ["made-up question 3"],
        }


def test_what_is_stored_stays_stored_when_the_index_fails(caplog: pytest.LogCaptureFixture) -> None:
    index = RecordingIndex(StorageError("no space for vectors"))
    with Store.open("sqlite://", index=index) as store, caplog.at_level(logging.WARNING):  # type: ignore[arg-type]
        user = store.add_user("maya")
        assert user.interactions.add([interaction(1)]) == 1
        assert len(user.interactions) == 1
        assert "no space for vectors" in caplog.text
        assert "maya" not in caplog.text


def test_nothing_is_forgotten_when_the_index_cannot_forget() -> None:
    index = RecordingIndex()
    with Store.open("sqlite://", index=index) as store:  # type: ignore[arg-type]
        user = store.add_user("maya")
        user.interactions.add([interaction(1)])
        index.error = StorageError("no space for vectors")
        with pytest.raises(StorageError):
            user.interactions.forget("i1")
        assert ids(user) == ["i1"]


def test_an_empty_log_is_still_a_log(user: User) -> None:
    assert isinstance(user.interactions, InteractionLog)
    assert user.interactions.add([]) == 0


def test_interactions_may_come_from_a_generator(user: User) -> None:
    assert user.interactions.add(interaction(number) for number in range(3)) == 3
    assert len(user.interactions.all()) == 3
