"""A made-up user with one rare word in every field, and a neighbour without it in the same files."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import count

from personaagent.data.alignment import Job
from personaagent.data.interaction import Interaction
from personaagent.data.statement import Statement
from personaagent.data.store import Store, User, user_key
from personaagent.home import Home
from personaagent.journal import AGENT, LOSS, REVISION, OpenRun, new_run, open_run
from personaagent.optimizers import PersonaAlignment
from personaagent.programs.scope import within
from personaagent.testing import ScriptedLM

WORD = "zanzibär7"
TRACE = "zanzib"
"""What is left of the word in whatever escapes other characters."""
SHARDS = 64
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)

ERASED = f"maya {WORD} ü"


def _shard(user_id: str) -> int:
    return int(user_key(user_id), 16) % SHARDS


KEPT = next(name for name in (f"omar {number}" for number in count()) if _shard(name) == _shard(ERASED))
"""A user whose vectors are in the same files."""


def lm(word: str) -> ScriptedLM:
    """Return an LM that says a word in every answer."""
    return ScriptedLM(
        {
            "search": f"films {word}",
            "tool": "search_memory",
            "argument": f"films {word}",
            "ready_to_answer": True,
            "response": f"made-up answer {word}",
            "critique": f"made-up critique {word}",
            "statements": [f"made-up statement {word}", f"another one {word}", f"a third {word}"],
            "profile": [f"made-up profile {word}"],
            "preferences": [f"made-up preference {word}"],
            "tool_use": [f"made-up tool use {word}"],
            "style": [f"made-up style {word}"],
        }
    )


def interactions(word: str, number: int = 6) -> list[Interaction]:
    return [
        Interaction(
            interaction_id=f"{word} {place}",
            query=f"made-up question {place} {word}",
            ground_truth=f"made-up truth {place} {word}",
            response=f"made-up response {word}",
            at=NEW_YEAR + timedelta(days=place),
            metadata={f"key {word}": [f"value {word}"]},
        )
        for place in range(number)
    ]


def live_through(home: Home, user_id: str, word: str) -> User:
    """Let a user do all that leaves a trace in a home folder."""
    user = home.store.add_user(user_id)
    user.interactions.add(interactions(word))
    user.interactions.forget(f"{word} 0")
    user.statements.add(
        Statement(
            statement_id=f"statement {word}",
            topic=f"topic {word}",
            text=f"made-up statement {word}",
            evidence=(f"{word} 1",),
            at=NEW_YEAR,
        )
    )
    answered_and_aligned(home, user, word)
    user.personas.promote(1, f"rolled back {word}")
    user.memory.recall(f"question {word}", 3)
    served(home.store, user, word)
    home.sync(user)
    return user


def answered_and_aligned(home: Home, user: User, word: str) -> None:
    players = {AGENT: lm(word)}
    asking = new_run("ask", {"user": user.key, "query": f"question {word}"})
    with open_run(home.store.journal, asking, players), within(user_key=user.key):
        home.agent(user)(query=f"made-up question {word}")
    with open_run(home.store.journal, new_run("align", {"users": [user.key], "n": 2}), players) as run:
        home.align(user, optimizer(run), f"{run.run_id}-{user.key}")


def optimizer(run: OpenRun) -> PersonaAlignment:
    return PersonaAlignment(mode="paper", n=2, loss_lm=run.lm(LOSS), revision_lm=run.lm(REVISION))


def served(store: Store, user: User, word: str) -> None:
    """Leave what a server leaves: a key, what it has used, answers to writes, a job."""
    key, _ = store.keys.create("user", user_id=user.user_id)
    admin, _ = store.keys.create("admin")
    store.usage.add(key.key_id, date(2024, 1, 1), 1, 0.5)
    for name in (key.key_id, admin.key_id):
        write, _ = store.idempotency.claim(name, f"token {word}", "made up", worker="", user_key=user.key)
        store.idempotency.finish(name, f"token {word}", write, 201, f'"body {word}"')
    user.jobs.put(Job(job_id="0" * 16, reason=f"job {word}", started_at=NEW_YEAR))


def traces(user_id: str) -> Iterable[bytes]:
    """Return how the word and the user's names may stand in a file."""
    for text in (TRACE, user_id, user_key(user_id)):
        yield from (text.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
