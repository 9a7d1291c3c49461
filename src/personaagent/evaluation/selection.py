"""Which users and questions are evaluated, drawn by seed."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from ..data.errors import InputError
from ..data.lamp import LampData

Item = TypeVar("Item")


def select(data: LampData, *, users: int | None = None, questions: int | None = None, seed: int = 0) -> LampData:
    """Return a part of the data, the same for the same seed; what is left stays in its order.

    Args:
        data: What to draw from.
        users: How many users to draw; all by default, or if there are not so many.
        questions: How many of these users' questions to draw, of all users together; a user left without a question is
            left out. All by default, or if there are not so many.
        seed: Decides which ones.

    Raises:
        InputError: A number is less than 1.
    """
    for name, number in (("users", users), ("questions", questions)):
        if number is not None and number < 1:
            raise InputError(f"{name} is {number}: draw at least 1, or leave it out to take all")
    generator = random.Random(seed)
    drawn_users = _draw(data.users, users, generator)
    asked = [(user.user_id, question.interaction_id) for user in drawn_users for question in user.questions]
    drawn_questions = set(_draw(asked, questions, generator))
    kept = (
        replace(user, questions=tuple(q for q in user.questions if (user.user_id, q.interaction_id) in drawn_questions))
        for user in drawn_users
    )
    return replace(data, users=tuple(user for user in kept if user.questions))


def _draw(items: Sequence[Item], number: int | None, generator: random.Random) -> Sequence[Item]:
    if number is None or number >= len(items):
        return items
    return [items[index] for index in sorted(generator.sample(range(len(items)), number))]
