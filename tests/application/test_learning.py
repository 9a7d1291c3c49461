"""Learning as a user has it: certify kinds of change on many users, align with the certificate, see every decision."""

import json
from pathlib import Path
from typing import Any

import pytest

from personaagent.certificates import read_certificate

from .command_line import CommandLine, Finished, done

TAGS = ("comedy", "classic", "action")
USERS, PAST = 6, 6
SCORED = 3


@pytest.fixture
def lamp(tmp_path: Path) -> Path:
    """LaMP files of made-up users who nearly always say "classic", where the server's LM says "comedy"."""
    folder = tmp_path / "LaMP-2M"
    folder.mkdir()
    asked = (
        "Which tag does this movie relate to among the following tags? Just answer with the tag name without further "
    )
    questions = [
        {
            "id": f"{user}-0",
            "user_id": f"u{user}",
            "input": f"{asked}explanation. tags: [{', '.join(TAGS)}] description: Made-up film of {user}",
            "profile": [
                {
                    "id": f"{user}p{past}",
                    "tag": "classic" if past else "action",
                    "description": f"Made-up past film {past} of {user}",
                    "date": f"2020-01-0{past + 1}",
                }
                for past in range(PAST)
            ],
        }
        for user in range(USERS)
    ]
    golds = [{"id": f"{user}-0", "output": "classic"} for user in range(USERS)]
    (folder / "questions.json").write_text(json.dumps(questions), encoding="utf-8")
    (folder / "outputs.json").write_text(json.dumps({"task": "LaMP_2", "golds": golds}), encoding="utf-8")
    return folder


def certifying(personaagent: CommandLine, lamp: Path, *options: str | Path) -> Finished:
    file = ("--out", lamp.parent / "certificate.json")
    return personaagent("certify", lamp, "--task", "LaMP-2M", *file, "--run", "c1", *personaagent.lm, *options)


def asked(personaagent: CommandLine) -> int:
    return len(personaagent.server.received)


def test_a_certificate_is_made_once_from_past_interactions_and_never_from_questions(
    personaagent: CommandLine, lamp: Path
) -> None:
    before, file = asked(personaagent), lamp.parent / "certificate.json"
    planned = done(certifying(personaagent, lamp, "--dry-run")).out
    assert f"in all │ {USERS * SCORED} " in planned
    assert asked(personaagent) == before and not file.exists()

    stopped = certifying(personaagent, lamp, "--max-calls", "5")
    assert stopped.code == 1 and "--run c1" in stopped.err and not file.exists()
    certified = done(certifying(personaagent, lamp, "--json")).json
    requests = personaagent.server.received[before:]
    assert len(requests) == USERS * SCORED, "what was paid is not asked again"
    assert not [request for request in requests if "Made-up film of" in json.dumps(request)]
    assert certified["tested"].keys() == {"weights"}
    assert certified["tested"]["weights"]["n"] == USERS

    made = read_certificate(file)
    assert made.lm.endswith("/made-up")
    assert (made.task, made.form, made.users) == ("LaMP-2M", "lean:k=4", USERS)
    assert made.kinds.keys() == {"weights"} and made.kinds["weights"].wealth >= 20
    assert made.weights is not None and made.weights.users == USERS
    assert "Made-up" not in file.read_text(encoding="utf-8"), "there are only numbers in it"


def test_a_certificate_is_shown_as_a_table(personaagent: CommandLine, lamp: Path) -> None:
    shown = done(certifying(personaagent, lamp, "--users", "4")).out
    [row] = [line for line in shown.splitlines() if line.startswith("│ weights")]
    assert "│ 4 " in row


def test_a_user_alone_makes_no_certificate(personaagent: CommandLine, lamp: Path) -> None:
    refused = certifying(personaagent, lamp, "--users", "1")
    assert refused.code == 2 and "at least two" in refused.err


@pytest.fixture
def users(personaagent: CommandLine, lamp: Path) -> CommandLine:
    """A home folder in which the users are stored, and a certificate beside the data."""
    done(certifying(personaagent, lamp))
    done(personaagent("ingest", "--lamp", lamp))
    return personaagent


def aligned(users: CommandLine, lamp: Path, run: str, *options: str) -> list[dict[str, Any]]:
    certificate = ("--certificate", lamp.parent / "certificate.json")
    return done(users("align", "--all", "--n", "2", "--run", run, *certificate, *users.lm, "--json", *options)).json


@pytest.mark.slow
def test_all_are_aligned_with_the_certificate_and_replay_comes_to_the_same(users: CommandLine, lamp: Path) -> None:
    results = aligned(users, lamp, "a1", "--concurrency", "3")
    assert len(results) == USERS
    for each in results:
        [decision] = each["alignment"]["decisions"]
        assert (decision["change"]["kind"], decision["outcome"]) == ("weights", "live")
        assert decision["evidence"]["n"] == 2 and decision["evidence"]["mean"] > 0
        assert [version["status"] for version in each["versions"]] == ["live"]
    before = asked(users)
    for run in ("a1", "a2"):
        if run == "a2":
            aligned(users, lamp, "a2")
            before = asked(users)
        replayed = done(users("replay", run, "--json")).json
        assert replayed["same"] is True
        assert replayed["calls"] > 0
    assert asked(users) == before


def test_an_alignment_shows_its_decisions(users: CommandLine, lamp: Path) -> None:
    certificate = ("--certificate", lamp.parent / "certificate.json")
    shown = done(users("align", "--user", "u1", "--n", "2", *certificate, *users.lm)).out
    [row] = [line for line in shown.splitlines() if line.startswith("│ weights")]
    assert "answer weights: LM" in row
    assert "live" in row and "certified" in row
    answered = done(users("ask", "--user", "u1", "Made-up film?", *users.lm)).out
    assert answered.strip() == "classic", "the LM says comedy"


@pytest.mark.slow
def test_without_a_certificate_nothing_goes_live_before_it_has_proved_itself(
    personaagent: CommandLine, lamp: Path
) -> None:
    done(personaagent("ingest", "--lamp", lamp))
    first, second = (
        done(personaagent("align", "--all", "--n", "2", *personaagent.lm, "--json")).json for _ in range(2)
    )
    decisions = [each["alignment"]["decisions"] for each in (*first, *second)]
    assert all(decisions)
    assert {decision["outcome"] for known in decisions for decision in known} == {"shadow"}


def test_an_evaluation_takes_weights_from_the_certificate(users: CommandLine, lamp: Path) -> None:
    before = asked(users)
    certificate = ("--certificate", lamp.parent / "certificate.json")
    method = ("--method", "prompt:weights=user")
    evaluated = done(users("evaluate", lamp, "--task", "LaMP-2M", *method, *certificate, *users.lm, "--json")).json
    assert evaluated["methods"]["prompt:weights=user"]["n"] == USERS
    assert asked(users) - before == USERS * 3, "of another form: it is calibrated anew"
    own = ("--method", "personaagent:without=lines")
    done(users("evaluate", lamp, "--task", "LaMP-2M", *own, *certificate, *users.lm, "--json"))
    assert asked(users) - before == USERS * 4, "the certificate's weights are taken"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ((), "--user NAME"),
        (("--all", "--user", "u1"), "--user NAME"),
        (("--all",), "no user has an interaction with a ground truth"),
        (("--all", "--iterations", "2"), "add --mode paper"),
    ],
)
def test_what_cannot_be_aligned_is_said(personaagent: CommandLine, options: tuple[str, ...], problem: str) -> None:
    refused = personaagent("align", *options, *personaagent.lm)
    assert refused.code == 2
    assert problem in refused.err


def test_what_is_no_certificate_is_refused(personaagent: CommandLine, lamp: Path) -> None:
    done(personaagent("ingest", "--lamp", lamp))
    for file, problem in ((lamp.parent / "none.json", "cannot be read"), (lamp / "outputs.json", "is no certificate")):
        refused = personaagent("align", "--all", "--certificate", file, *personaagent.lm)
        assert refused.code == 2 and problem in refused.err


@pytest.mark.slow
def test_the_demo_shows_who_said_what_and_what_went_live(personaagent: CommandLine, lamp: Path) -> None:
    done(certifying(personaagent, lamp))
    certificate = ("--certificate", lamp.parent / "certificate.json")
    shown = done(personaagent("demo", *certificate, *personaagent.lm)).out
    assert "live: weights" in shown
    assert "the LM alone" in shown and "with weights" in shown
    assert "prove nothing" in shown
