from dataclasses import replace

import pytest

from personaagent.data.errors import InputError
from personaagent.data.lamp import LampData
from personaagent.evaluation import select
from personaagent.evaluation.data import label_histories, shuffle_users

from .conftest import TASK, made_up_user


@pytest.fixture
def many() -> LampData:
    """Twenty users with two questions each."""
    golds = [{f"{user}-1": "action", f"{user}-2": "comedy"} for user in range(20)]
    return LampData(TASK, tuple(made_up_user(f"user {number}", asked) for number, asked in enumerate(golds)))


def test_all_is_taken_by_default(many: LampData) -> None:
    assert select(many) == many
    assert select(many, users=100, questions=100) == many


def test_the_same_seed_draws_the_same_and_another_draws_others(many: LampData) -> None:
    drawn = select(many, users=5, questions=7, seed=3)
    assert drawn == select(many, users=5, questions=7, seed=3)
    assert drawn != select(many, users=5, questions=7, seed=4)


def test_users_and_questions_stay_in_order_and_users_keep_their_history(many: LampData) -> None:
    drawn = select(many, users=6, questions=8, seed=1)
    assert len(drawn.questions) == 8
    assert len(drawn.users) <= 6
    assert [user for user in many.users if user.user_id in {other.user_id for other in drawn.users}] == [
        next(user for user in many.users if user.user_id == other.user_id) for other in drawn.users
    ]
    for user in drawn.users:
        assert user.history
        assert list(user.questions) == sorted(user.questions, key=lambda question: question.moment)


@pytest.mark.parametrize(("questions", "each"), [(5, {1}), (7, {1, 2}), (10, {2})])
def test_every_user_gives_a_question_before_any_gives_a_second(many: LampData, questions: int, each: set[int]) -> None:
    drawn = select(many, users=5, questions=questions, seed=1)
    assert len(drawn.questions) == questions
    assert len(drawn.users) == 5
    assert {len(user.questions) for user in drawn.users} == each


def test_a_users_question_is_drawn_not_the_earliest(many: LampData) -> None:
    drawn = {select(many, questions=20, seed=seed).questions[0].interaction_id for seed in range(10)}
    assert drawn == {"0-1", "0-2"}


def test_a_user_without_a_question_is_left_out(many: LampData) -> None:
    drawn = select(many, questions=1)
    assert [len(user.questions) for user in drawn.users] == [1]


def test_questions_of_drawn_users_do_not_depend_on_how_many_there_are_of_others(many: LampData) -> None:
    users = {user.user_id for user in select(many, users=4, seed=9).users}
    assert {user.user_id for user in select(many, users=4, questions=8, seed=9).users} == users


@pytest.mark.parametrize("number", [0, -1])
def test_less_than_one_is_refused(many: LampData, number: int) -> None:
    with pytest.raises(InputError, match=f"users is {number}"):
        select(many, users=number)
    with pytest.raises(InputError, match=f"questions is {number}"):
        select(many, questions=number)


def test_shuffled_users_all_have_the_history_of_another(many: LampData) -> None:
    shuffled = shuffle_users(many, seed=3)
    owners = {user.user_id: user.history[0].interaction_id.removesuffix("-past-0") for user in shuffled.users}
    assert all(user_id != owner for user_id, owner in owners.items())
    assert set(owners) == set(owners.values())
    assert [(user.user_id, user.questions) for user in shuffled.users] == [
        (user.user_id, user.questions) for user in many.users
    ]
    assert "history of another user" in shuffled.notes[0]


def test_histories_are_shuffled_by_the_seed(many: LampData) -> None:
    assert shuffle_users(many, seed=3) == shuffle_users(many, seed=3)
    assert shuffle_users(many, seed=3) != shuffle_users(many, seed=4)


def test_one_user_has_nobody_to_exchange_a_history_with(many: LampData) -> None:
    with pytest.raises(InputError, match="there is only one: draw at least 2 users"):
        shuffle_users(select(many, users=1))


def test_a_labelled_history_stays_as_it_is(many: LampData) -> None:
    assert label_histories(many) is many


def test_where_histories_have_no_labels_the_earliest_questions_join_them() -> None:
    asked = made_up_user("maya", {f"q{number}": "action" for number in range(5)})
    single = made_up_user("omar", {"only": "comedy"})
    users = tuple(
        replace(user, history=tuple(past.model_copy(update={"ground_truth": None}) for past in user.history))
        for user in (asked, single)
    )
    labelled = label_histories(LampData(TASK, users), most=3)
    maya, omar = labelled.users
    assert [interaction.interaction_id for interaction in maya.history] == ["maya-past-0", "q0", "q1", "q2"]
    assert [interaction.interaction_id for interaction in maya.questions] == ["q3", "q4"]
    assert omar == users[1]
    assert "1 of 2 users have one question only" in labelled.notes[0]
