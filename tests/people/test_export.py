"""A user as JSON lines: what comes back is what went out, and nothing comes back of what is not whole."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from personaagent.data.alignment import Alignment, Iteration
from personaagent.data.errors import InputError, RecordError, UnknownUserError
from personaagent.data.interaction import Interaction
from personaagent.data.persona import Persona, PersonaLine
from personaagent.data.statement import Statement
from personaagent.data.store import Store, User
from personaagent.portable import export_user, import_user

from .made_up import NEW_YEAR, interactions

Lines = list[str]


@pytest.fixture
def store(new_url: Callable[[], str]) -> Iterator[Store]:
    with Store.open(new_url()) as store:
        yield store


@pytest.fixture
def maya(store: Store) -> User:
    """A user with a gap in the history, an outdated statement, a rejected version and a rollback."""
    maya = store.add_user("maya")
    maya.interactions.add([*interactions("ü", 3), Interaction(interaction_id="undated", query='{"a": "\\n"}')])
    maya.interactions.forget("ü 1")
    for number in (1, 2):
        maya.statements.add(statement(f"s{number}"))
    first = maya.personas.add(persona("first"), reason="first", status="live")
    maya.alignments.add(alignment(first.persona))
    maya.personas.add(persona("no"), reason="worse", status="rejected", parent=2)
    maya.personas.promote(1, "rolled back")
    return maya


def statement(name: str) -> Statement:
    return Statement(statement_id=name, topic="films", text=f"{name} says so", evidence=("ü 2",), at=NEW_YEAR)


def persona(text: str) -> Persona:
    return Persona(lines=(PersonaLine(section="style", text=text, causes=("ü 1",)),))


def alignment(base: Persona) -> Alignment:
    step = Iteration(losses=(), candidate=persona("second"), accepted=True, reason="made up")
    return Alignment(
        alignment_id="a1", settings={"n": 3}, base_version=1, base=base, iterations=(step,), started_at=NEW_YEAR
    )


def state(user: User) -> list[object]:
    """Return everything that a user's logs tell."""
    logs = (user.interactions, user.personas, user.statements, user.alignments)
    assert all(logs)
    return [
        user.interactions.all(),
        user.statements.current(),
        user.statements.history("films"),
        user.personas.versions(),
        user.personas.promotions(),
        user.personas.live,
        user.alignments.all(),
    ]


@pytest.fixture
def exported(store: Store, maya: User) -> Lines:
    return list(export_user(store, maya.user_id))


def test_a_user_comes_back_to_an_equal_state(
    new_url: Callable[[], str], store: Store, maya: User, exported: Lines
) -> None:
    with Store.open(new_url()) as other:
        other.add_user("maya")
        imported = import_user(other, exported)
        assert (imported.user_id, state(imported)) == ("maya", state(maya))
        assert list(export_user(other, "maya")) == exported


def test_what_is_added_afterwards_follows_what_came_back(store: Store, exported: Lines) -> None:
    imported = import_user(store, exported, "omar")
    imported.interactions.add([Interaction(interaction_id="new", query="made up", at=NEW_YEAR + timedelta(days=9))])
    assert imported.interactions.all()[-1].position == 4
    imported.statements.add(statement("s3"))
    assert [statement.statement_id for statement in imported.statements.current()] == ["s3"]
    assert imported.personas.add(persona("third"), reason="third", status="live").number == 4


def test_a_user_can_come_back_under_another_id_beside_the_first(store: Store, maya: User, exported: Lines) -> None:
    before = state(maya)
    omar = import_user(store, exported, "omar")
    assert omar.key != maya.key
    assert state(omar) == state(maya) == before
    assert list(export_user(store, "omar"))[1:] == exported[1:]


def test_the_first_line_says_what_it_is_and_every_other_is_one_record(exported: Lines) -> None:
    header, *records = map(json.loads, exported)
    assert header == {"format": "personaagent user", "schema_version": 1, "user_id": "maya", "records": len(records)}
    kinds = [record["kind"] for record in records]
    assert kinds == [
        *["interaction"] * 3,
        *["statement"] * 2,
        "alignment",
        *["persona_version"] * 3,
        *["promotion"] * 3,
    ]
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in exported)


def test_a_user_of_whom_nothing_is_known_is_exported_too(store: Store) -> None:
    store.add_user("new")
    [header] = export_user(store, "new")
    assert len(import_user(store, [header], "newer").interactions) == 0


def test_nobody_is_exported_who_is_not_stored(store: Store) -> None:
    with pytest.raises(UnknownUserError):
        export_user(store, "nobody")


def test_nothing_is_taken_in_over_a_user_who_has_records(store: Store, maya: User, exported: Lines) -> None:
    before = state(maya)
    with pytest.raises(InputError, match="'maya' has records here"):
        import_user(store, exported)
    assert state(maya) == before


def edited(line: str, **changes: object) -> str:
    return json.dumps({**json.loads(line), **changes})


def first_of(kind: str, lines: Lines) -> int:
    return next(place for place, line in enumerate(lines) if json.loads(line).get("kind") == kind)


DAMAGE: dict[str, Callable[[Lines], Lines]] = {
    "line 1: nothing is here": lambda lines: [],
    "line 1: .*give what `personaagent user export` wrote": lambda lines: lines[1:],
    "line 1, field 'records': 12 are promised and 11 are here": lambda lines: lines[:-1],
    "line 3, field 'kind': this is not a record of a user": lambda lines: [*lines[:2], "made up", *lines[3:]],
    "line 4, field 'kind'": lambda lines: [*lines[:3], "[]", *lines[4:]],
    "line 2, field 'interaction': query: Field required": lambda lines: [
        lines[0],
        json.dumps({"kind": "interaction", "interaction_id": "x"}),
        *lines[2:],
    ],
    "schema_version is 2": lambda lines: [edited(lines[0], schema_version=2), *lines[1:]],
    "two Interactions have the interaction_id 'ü 0'": lambda lines: [*lines[:2], lines[1], *lines[3:]],
    "interaction 'ü 2' is referred to": lambda lines: [
        edited(line, interaction_id="gone") if "ü 2" in line and "query" in line else line for line in lines
    ],
    "numbered from 1 without gaps, and these are \\[1, 2, 4\\]": lambda lines: [
        edited(line, number=4) if "worse" in line else line for line in lines
    ],
    "persona version 9 is referred to": lambda lines: [*lines[:-1], edited(lines[-1], number=9)],
    "alignment 'a1' is referred to": lambda lines: [
        edited(line, alignment_id="other") if '"kind": "alignment"' in line else line for line in lines
    ],
    "persona version 1 is live: that is for promotions": lambda lines: [
        edited(line, status="live") if place == first_of("persona_version", lines) else line
        for place, line in enumerate(lines)
    ],
    "interaction_id .* unprintable": lambda lines: [lines[0], edited(lines[1], interaction_id="a\nb"), *lines[2:]],
}


@pytest.mark.parametrize("message", DAMAGE)
def test_an_export_that_is_not_whole_stores_nothing(store: Store, exported: Lines, message: str) -> None:
    with pytest.raises(InputError, match=message):
        import_user(store, DAMAGE[message](exported), "omar")
    assert [user.user_id for user in store.users()] == ["maya"]


def test_an_error_names_the_file_and_never_quotes_a_users_words(store: Store, exported: Lines) -> None:
    private = edited(exported[1], at="private words")
    with pytest.raises(RecordError) as caught:
        import_user(store, [exported[0], private], source="maya.jsonl")
    assert str(caught.value).startswith("maya.jsonl: line 2, field 'interaction': at: ")
    assert "private words" not in str(caught.value)
