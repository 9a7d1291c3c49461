"""A forgotten interaction in the journal: its words go, what was paid stays, and calls of others are as they were."""

import json

from personaagent.data.call import Attempt, Call, Cost, Run
from personaagent.data.interaction import Interaction
from personaagent.data.store import Store, User

from .conftest import NOON, interaction

QUERY = "Which film of the sea, at night?"


def record(store: Store, user: User, key: str, request: object, response: object, place: str = "request x") -> None:
    call = Call(
        run_id="r",
        key=key,
        user_key=user.key,
        role="agent",
        place=place,
        endpoint="e",
        model="m",
        ordinal=1,
        request=json.dumps(request),
        worst=Cost(),
        at=NOON,
    )
    said = json.dumps(response)
    charged = Cost(tokens=9, dollars=0.5)
    ended = Attempt(
        run_id="r", key=key, number=1, response=said, prompt_tokens=7, charged=charged, seconds=1.0, at=NOON
    )
    store.journal.append([call, ended])


def words(store: Store) -> set[str]:
    """Return the keys of calls that still have words."""
    answered = {entry.key for entry in store.journal.all_attempts("r") if entry.response is not None}
    asked = {entry.key for entry in store.journal.calls("r") if entry.request != "{}"}
    assert answered == asked
    return asked


def forgotten(store: Store, one: Interaction) -> tuple[User, set[str]]:
    user, other = store.add_user("maya"), store.add_user("omar")
    store.journal.begin(Run(run_id="r", command="serve", arguments={}, started_at=NOON))
    user.interactions.add([one, interaction(2)])
    record(store, user, "its own", {"text": "short"}, {"text": "x"}, place=f"request {one.interaction_id}/agent")
    record(store, user, "quotes it", {"messages": [{"text": 'seen:\n"Which film of the sea,  at\nNIGHT?"'}]}, {})
    record(store, user, "quotes it as JSON", {"text": json.dumps({"query": QUERY})}, {})
    record(store, user, "says it", {"text": "say it"}, {"parts": [{"text": f"You asked: {QUERY}"}]})
    record(store, user, "tells the answer", {"text": f"-> the user answered {one.ground_truth}"}, {})
    record(store, user, "of something else", {"text": "Which film of the hills?"}, {"text": "noir"})
    record(store, other, "another's", {"text": QUERY}, {"text": "noir"})
    before = store.journal.ledger(user_key=user.key)
    user.interactions.forget(one.interaction_id)
    [line] = store.journal.ledger(user_key=user.key)
    assert (line.dollars, line.prompt_tokens) == (before[0].dollars, before[0].prompt_tokens)
    return user, words(store)


def test_calls_that_were_made_for_it_or_quote_it_lose_their_words_and_no_others_do(store: Store) -> None:
    one = interaction(1, query=QUERY, ground_truth="The one in black and white, with the lighthouse.")
    assert forgotten(store, one)[1] == {"of something else", "another's"}


def test_a_label_that_stands_in_many_calls_is_not_looked_for(store: Store) -> None:
    one = interaction(1, query=QUERY, ground_truth="noir")
    assert forgotten(store, one)[1] == {"of something else", "another's", "tells the answer"}


def test_a_text_in_letters_that_json_escapes_is_found(store: Store) -> None:
    user = store.add_user("maya")
    store.journal.begin(Run(run_id="r", command="serve", arguments={}, started_at=NOON))
    user.interactions.add([interaction(1, query="Wär die Küste über Nacht schön?")])
    record(store, user, "quotes", {"text": json.dumps(["Wär die Küste über Nacht schön?"])}, {})
    user.interactions.forget("i1")
    assert words(store) == set()
