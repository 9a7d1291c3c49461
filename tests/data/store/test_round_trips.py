"""What is stored comes back exactly, whatever is in it; and no user changes what another one sees."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from personaagent.data.alignment import Alignment, Iteration, Spend, TextualLoss
from personaagent.data.interaction import Interaction
from personaagent.data.persona import SECTIONS, Persona, PersonaLine
from personaagent.data.statement import Statement
from personaagent.data.store import Store, User

# One store serves all examples of a test: each has users of its own.
checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
few = settings(max_examples=25, deadline=None, suppress_health_check=checks)
numbers_of_users = count()

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
ids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(str.strip)
moments = st.datetimes(datetime(1, 1, 2), datetime(2026, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
numbers = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(texts, json_values, max_size=3)

interactions = st.builds(
    Interaction,
    interaction_id=ids,
    query=texts,
    ground_truth=st.none() | texts,
    response=st.none() | texts,
    persona_version=st.none() | st.integers(1, 9),
    at=st.none() | moments,
    task=st.sampled_from(["open", "LaMP-3"]),
    source=st.sampled_from(["user", "import", "tool"]),
    metadata=json_objects,
)
histories = st.lists(interactions, max_size=5, unique_by=lambda interaction: interaction.interaction_id)
words = texts.filter(lambda text: bool(text.split()))
personas = st.builds(
    Persona,
    lines=st.lists(
        st.builds(PersonaLine, section=st.sampled_from(SECTIONS), text=words, causes=st.lists(ids, max_size=2)),
        max_size=4,
    ),
)
losses = st.builds(
    TextualLoss, interaction_id=ids, query=texts, response=st.none() | texts, ground_truth=texts, critique=texts
)
iterations = st.builds(
    Iteration,
    losses=st.lists(losses, max_size=2),
    candidate=st.none() | personas,
    accepted=st.booleans(),
    reason=texts,
)
alignments = st.builds(
    Alignment,
    alignment_id=ids,
    settings=json_objects,
    base_version=st.none(),
    base=personas,
    iterations=st.lists(iterations, max_size=3),
    spend=st.builds(Spend, calls=st.integers(0, 99), dollars=st.none() | numbers, seconds=numbers),
    started_at=moments,
)


@pytest.fixture
def other_store(new_url: Callable[[], str]) -> Iterator[Store]:
    with Store.open(new_url()) as store:
        yield store


def new_user(store: Store) -> User:
    return store.add_user(f"user {next(numbers_of_users)}")


@few
@given(history=histories)
def test_interactions_come_back_as_they_were(store: Store, history: list[Interaction]) -> None:
    user = new_user(store)
    assert user.interactions.add(history) == len(history)
    back = {interaction.interaction_id: interaction for interaction in user.interactions.all()}
    assert [back[interaction.interaction_id].model_copy(update={"position": 0}) for interaction in history] == history
    assert [back[interaction.interaction_id].position for interaction in history] == list(range(len(history)))


@few
@given(first=histories, second=histories)
def test_adding_in_two_parts_is_adding_at_once(
    store: Store, first: list[Interaction], second: list[Interaction]
) -> None:
    taken = {interaction.interaction_id for interaction in first}
    second = [interaction for interaction in second if interaction.interaction_id not in taken]
    parts, whole = new_user(store), new_user(store)
    parts.interactions.add(first)
    parts.interactions.add([*first, *second])
    whole.interactions.add([*first, *second])
    assert parts.interactions.all() == whole.interactions.all()


@few
@given(written=st.lists(st.tuples(ids, texts), max_size=5, unique_by=lambda pair: pair[0]), at=moments)
def test_statements_come_back_as_they_were(store: Store, written: list[tuple[str, str]], at: datetime) -> None:
    statements = [
        Statement(statement_id=name, topic=f"topic {place % 2}", text=text, evidence=(), at=at)
        for place, (name, text) in enumerate(written)
    ]
    user = new_user(store)
    for each in statements:
        user.statements.add(each)
    assert [*user.statements.history("topic 0"), *user.statements.history("topic 1")] == [
        *statements[::2],
        *statements[1::2],
    ]
    assert set(user.statements.current()) == set(statements[-2:])


@few
@given(alignment=alignments)
def test_alignments_and_their_personas_come_back_as_they_were(store: Store, alignment: Alignment) -> None:
    user = new_user(store)
    made = user.alignments.add(alignment)
    assert user.alignments.get(alignment.alignment_id) == alignment
    candidates = [step.candidate for step in alignment.iterations if step.candidate]
    assert [version.persona for version in made] == candidates
    live = user.personas.live
    assert (live.persona if live else alignment.base) == alignment.persona


Act = Callable[[User, int], Any]


def _forget(user: User, number: int) -> None:
    for interaction in user.interactions.all()[:1]:
        user.interactions.forget(interaction.interaction_id)


ACTS: list[Act] = [
    lambda user, number: user.interactions.add([Interaction(interaction_id=f"i{number}", query=f"of {user.key}")]),
    _forget,
    lambda user, number: user.personas.add(
        Persona(lines=(PersonaLine(section="style", text=f"line {number}"),)), reason="made up", status="live"
    ),
    lambda user, number: user.statements.add(
        Statement(
            statement_id=f"s{number}", topic="taste", text="made up", evidence=(), at=datetime(2024, 1, 1, tzinfo=UTC)
        )
    ),
]


def _seen(user: User) -> tuple[object, ...]:
    versions = [(version.number, version.status, version.persona) for version in user.personas.versions()]
    return user.interactions.all(), user.statements.current(), versions, len(user.alignments.all())


@few
@given(user_id=ids, other_id=ids, acts=st.lists(st.tuples(st.booleans(), st.sampled_from(ACTS)), max_size=12))
def test_a_user_sees_the_same_whether_another_exists_or_not(
    store: Store, other_store: Store, user_id: str, other_id: str, acts: list[tuple[bool, Act]]
) -> None:
    new = f"{next(numbers_of_users)} "
    user_id, other_id = new + user_id, new + other_id
    if user_id == other_id:
        other_id += "'"
    user, other, twin = store.add_user(user_id), store.add_user(other_id), other_store.add_user(user_id)
    for number, (is_others, act) in enumerate(acts):
        for doer in (other,) if is_others else (user, twin):
            act(doer, number)
    assert _seen(user) == _seen(twin)
