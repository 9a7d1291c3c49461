"""Which users and questions are evaluated, drawn by seed, and what is known of a user before the first question."""

import random
from collections.abc import Sequence
from dataclasses import replace

from ..data.errors import InputError
from ..data.lamp import LampData, LampUser


def select(data: LampData, *, users: int | None = None, questions: int | None = None, seed: int = 0) -> LampData:
    """Return a part of the data, the same for the same seed; what is left stays in its order.

    Args:
        data: What to draw from.
        users: How many users to draw; all by default, or if there are not so many.
        questions: How many of these users' questions to draw, of all users together and in turns: every user gives one
            before any gives a second, as an interval over users wants it. All by default, or if there are not so many.
            A user left without a question is left out.
        seed: Decides which ones.

    Raises:
        InputError: A number is less than 1.
    """
    for name, number in (("users", users), ("questions", questions)):
        if number is not None and number < 1:
            raise InputError(f"{name} is {number}: draw at least 1, or leave it out to take all")
    generator = random.Random(seed)
    drawn_users: Sequence[LampUser] = data.users
    if users is not None and users < len(drawn_users):
        drawn_users = [drawn_users[index] for index in sorted(generator.sample(range(len(drawn_users)), users))]
    drawn_questions = _draw_in_turns(drawn_users, questions, generator)
    kept = (
        replace(user, questions=tuple(q for q in user.questions if (user.user_id, q.interaction_id) in drawn_questions))
        for user in drawn_users
    )
    return replace(data, users=tuple(user for user in kept if user.questions))


def shuffle_users(data: LampData, *, seed: int = 0) -> LampData:
    """Give every user the history of another, decided by the seed; questions stay where they are.

    Raises:
        InputError: There are fewer than two users.
    """
    if len(data.users) < 2:
        raise InputError("histories are exchanged between users, and there is only one: draw at least 2 users")
    circle = random.Random(seed).sample(data.users, len(data.users))
    others = {user.user_id: other.history for user, other in zip(circle, [*circle[1:], circle[0]], strict=True)}
    note = "Each user was answered with the history of another user: what is personal can bring nothing here."
    users = tuple(replace(user, history=others[user.user_id]) for user in data.users)
    return replace(data, users=users, notes=(*data.notes, note))


def label_histories(data: LampData, most: int = 3) -> LampData:
    """Give histories that say no ground truth the user's earliest questions, which do.

    The items of LaMP-1 and LaMP-7 say nothing of what their user would answer, so there is nothing to align with and no
    example to show. A user's earliest questions become that: they join the history, the same for every method, and are
    not asked. Each user keeps at least one question; one who has no other has no labelled history.

    Args:
        data: Users with golds; histories with any ground truth stay as they are.
        most: Questions that a user gives up, at most (paper: an alignment takes 3 interactions).
    """
    if any(one.ground_truth is not None for user in data.users for one in user.history):
        return data
    users = tuple(_labelled(user, most) for user in data.users)
    without = sum(len(user.questions) == 1 for user in data.users)
    note = (
        f"The items of {data.task.name} have no labels: up to {most} of each user's earliest questions joined the "
        f"history with their golds and are not asked; {without} of {len(users)} users have one question only and "
        "no such history."
    )
    return replace(data, users=users, notes=(*data.notes, note))


def _labelled(user: LampUser, most: int) -> LampUser:
    given = min(most, len(user.questions) - 1)
    return replace(user, history=(*user.history, *user.questions[:given]), questions=user.questions[given:])


def _draw_in_turns(users: Sequence[LampUser], number: int | None, generator: random.Random) -> set[tuple[str, str]]:
    turns = [
        (turn, generator.random(), (user.user_id, question.interaction_id))
        for user in users
        for turn, question in enumerate(generator.sample(user.questions, len(user.questions)))
    ]
    return {names for _turn, _order, names in sorted(turns)[:number]}
