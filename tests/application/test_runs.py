"""Spending as a user has it: caps, dry runs, the ledger, taking up, replaying and carrying away a run."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from personaagent.signatures import AnswerQuery

from .command_line import CommandLine, Finished, done

MAYA = "maya"
PAPER = ("--mode", "paper")
TAGS = ("comedy", "classic", "action")


@pytest.fixture
def lamp(tmp_path: Path) -> Path:
    """LaMP files of ten made-up users with ten questions each."""
    folder = tmp_path / "LaMP-2M"
    folder.mkdir()
    texts = [(f"u{user}", number) for user in range(10) for number in range(10)]
    questions = [
        {
            "id": f"{user}-{number}",
            "user_id": user,
            "input": "Which tag does this movie relate to among the following tags? Just answer with the tag name "
            f"without further explanation. tags: [{', '.join(TAGS)}] description: Made-up film {user} {number}",
            "profile": [
                {
                    "id": f"{user}p{past}",
                    "tag": TAGS[past % 3],
                    "description": f"Made-up past {past}",
                    "date": f"2020-01-0{past + 1}",
                }
                for past in range(4)
            ],
        }
        for user, number in texts
    ]
    golds = [{"id": f"{user}-{number}", "output": TAGS[number % 3]} for user, number in texts]
    (folder / "questions.json").write_text(json.dumps(questions), encoding="utf-8")
    (folder / "outputs.json").write_text(json.dumps({"task": "LaMP_2", "golds": golds}), encoding="utf-8")
    return folder


@pytest.fixture
def maya(personaagent: CommandLine, tmp_path: Path) -> CommandLine:
    """A home folder with one user of twelve answered questions."""
    lines = [
        {"query": f"A made-up film, number {day}?", "ground_truth": f"Seen on day {day}.", "at": f"2024-01-{day:02d}"}
        for day in range(1, 13)
    ]
    file = tmp_path / "maya.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    done(personaagent("ingest", "--user", MAYA, file))
    return personaagent


def evaluating(personaagent: CommandLine, lamp: Path, *options: str | Path) -> Callable[[], Finished]:
    methods = ("--method", "prompt", "--method", "rag")
    return lambda: personaagent(
        "evaluate", lamp, "--task", "LaMP-2M", *methods, *personaagent.lm, "--concurrency", "8", "--json", *options
    )


def asked(personaagent: CommandLine) -> int:
    return len(personaagent.server.received)


def personas(personaagent: CommandLine) -> list[Any]:
    return [each["persona"] for each in done(personaagent("persona", "list", "--user", MAYA, "--json")).json]


@pytest.mark.slow
def test_an_evaluation_of_100_questions_is_replayed_with_nobody_to_ask(
    personaagent: CommandLine, lamp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated = done(evaluating(personaagent, lamp)()).json
    before = asked(personaagent)
    replayed = done(personaagent("replay", evaluated["run"], "--json")).json
    assert replayed["same"] is True
    assert replayed["fingerprint"] == evaluated["fingerprint"]
    assert replayed["calls"] == 200
    assert asked(personaagent) == before

    respond = import_module("personaagent.programs.respond")
    monkeypatch.setattr(respond, "_deciding", respond._deciding.__wrapped__)
    monkeypatch.setattr(AnswerQuery, "__doc__", (AnswerQuery.__doc__ or "").replace("alone", "only"))
    diverged = personaagent("replay", evaluated["run"])
    assert diverged.code == 1
    assert "prompt/question u0-0, agent: the replay diverges here" in diverged.err
    assert "-Weigh what the user did in similar past interactions. Give the answer alone" in diverged.err
    assert "+Weigh what the user did in similar past interactions. Give the answer only" in diverged.err


def test_an_unfinished_evaluation_found_in_out_is_taken_up_and_pays_for_the_rest_alone(
    personaagent: CommandLine, lamp: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "kept", "--questions", "12")
    before = asked(personaagent)
    stopped = evaluating(personaagent, lamp, *out, "--max-calls", "10")()
    assert stopped.code == 1
    assert "at most 10" in stopped.err
    assert "--run" in stopped.err
    paid = asked(personaagent)
    assert paid - before == 10
    finished = done(evaluating(personaagent, lamp, *out)()).json
    assert asked(personaagent) - paid == 24 - 10
    rows = [json.loads(line) for line in Path(finished["rows"]).read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 24
    whole = done(evaluating(personaagent, lamp, "--questions", "12")()).json
    assert whole["fingerprint"] == finished["fingerprint"]


@pytest.mark.slow
def test_an_alignment_is_taken_up_replayed_and_never_done_twice(maya: CommandLine) -> None:
    align = ("align", "--user", MAYA, *PAPER, "--run", "a1", "--iterations", "2", *maya.lm, "--json")
    stopped = maya(*align, "--max-calls", "8")
    assert stopped.code == 1
    assert "at most 8" in stopped.err
    aligned = done(maya(*align)).json
    assert aligned["alignment"]["stopped"] is None
    paid = asked(maya)
    again = done(maya(*align)).json
    assert again["alignment"] == aligned["alignment"]
    assert asked(maya) == paid
    replayed = done(maya("replay", "a1", "--json")).json
    assert replayed["same"] is True
    assert asked(maya) == paid


def test_an_alignment_stopped_after_an_iteration_keeps_its_best_persona_and_says_why(maya: CommandLine) -> None:
    first = maya(
        "align", "--user", MAYA, *PAPER, "--run", "a1", "--iterations", "3", *maya.lm, "--max-calls", "20", "--json"
    )
    assert first.code == 1
    shown = json.loads(first.out)
    assert "at most 20" in shown["alignment"]["stopped"]
    assert [version["status"] for version in shown["versions"]] == ["live"]
    assert done(maya("persona", "show", "--user", MAYA, "--json")).json["number"] == 2


def test_a_dry_run_shows_the_calls_and_leaves_no_trace(maya: CommandLine, lamp: Path) -> None:
    before, versions = asked(maya), personas(maya)
    shown = done(maya("align", "--user", MAYA, *PAPER, "--n", "2", *maya.lm, "--dry-run")).out
    assert "Dry run" in shown
    assert "revision" in shown
    assert "in all" in shown
    done(maya("ask", "--user", MAYA, "A film?", *maya.lm, "--dry-run"))
    done(evaluating(maya, lamp, "--dry-run")())
    assert asked(maya) == before
    assert personas(maya) == versions
    assert done(maya("spend", "--json")).json == []


def test_a_dry_run_counts_the_calls_that_are_then_made(maya: CommandLine) -> None:
    planned = done(maya("align", "--user", MAYA, *PAPER, "--n", "2", *maya.lm, "--dry-run")).out
    done(maya("align", "--user", MAYA, *PAPER, "--n", "2", *maya.lm, "--json"))
    lines = done(maya("spend", "--json")).json
    assert f"in all   │ {sum(line['attempts'] for line in lines if line['role'] != 'tool')}" in planned


def test_the_ledger_knows_runs_users_roles_and_models(maya: CommandLine) -> None:
    done(maya("align", "--user", MAYA, *PAPER, "--run", "a1", "--n", "2", *maya.lm))
    done(maya("ask", "--user", MAYA, "--run", "b1", "A film?", *maya.lm))
    lines = done(maya("spend", "--user", MAYA, "--json")).json
    assert {line["run_id"] for line in lines} == {"a1", "b1"}
    assert {"agent", "loss", "revision"} <= {line["role"] for line in lines}
    assert all(line["dollars"] is None for line in lines if line["role"] != "tool"), "nobody knows this LM's price"
    assert {line["run_id"] for line in done(maya("spend", "--run", "b1", "--json")).json} == {"b1"}
    assert done(maya("spend", "--user", "omar", "--json")).json == []
    assert "a1" in done(maya("spend")).out
    assert maya("spend", "--run", "c1").code == 2


def test_a_cap_in_dollars_needs_a_price_and_keeps_to_it(maya: CommandLine) -> None:
    refused = maya("ask", "--user", MAYA, "A film?", *maya.lm, "--max-usd", "1")
    assert refused.code == 1
    assert "PERSONAAGENT_PRICE" in refused.err
    priced = CommandLine(maya.home, maya.server, {"PERSONAAGENT_PRICE": "2.5,10"})
    assert done(priced("ask", "--user", MAYA, "A film?", *maya.lm, "--max-usd", "1", "--json")).json["response"]
    assert priced("ask", "--user", MAYA, "A film?", *maya.lm, "--max-usd", "0.000001").code == 1


def test_a_run_is_carried_to_another_home_and_replayed_there(
    personaagent: CommandLine, lamp: Path, tmp_path: Path
) -> None:
    evaluated = done(evaluating(personaagent, lamp, "--questions", "5")()).json
    done(personaagent("export-run", evaluated["run"], tmp_path / "run.jsonl"))
    elsewhere = CommandLine(tmp_path / "elsewhere", personaagent.server)
    done(elsewhere("import-run", tmp_path / "run.jsonl"))
    moved = lamp.rename(tmp_path / "moved")
    before = asked(personaagent)
    replayed = done(elsewhere("replay", evaluated["run"], "--data", moved, "--json")).json
    assert (replayed["same"], replayed["fingerprint"]) == (True, evaluated["fingerprint"])
    assert asked(personaagent) == before


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("replay", "r9"), "unknown run 'r9'"),
        (("export-run", "r9", "file"), "unknown run 'r9'"),
        (("import-run", "no-such-file"), "cannot be read"),
        (("ask", "--user", MAYA, "A film?", "--deadline", "soon"), "write 90s"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(maya: CommandLine, arguments: tuple[str, ...], problem: str) -> None:
    refused = maya(*arguments)
    assert refused.code == 2
    assert problem in refused.err
    assert len(refused.err.strip().splitlines()) == 1
