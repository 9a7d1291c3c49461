"""What a user states, and why a persona is as it is, on the command line."""

from pathlib import Path

import pytest

from personaagent.cli.demo import write_lamp_files

from .command_line import CommandLine, done

MAYA = "maya (made up)"


@pytest.fixture
def maya(personaagent: CommandLine, tmp_path: Path) -> CommandLine:
    done(personaagent("ingest", "--lamp", write_lamp_files(tmp_path / "LaMP-2M")))
    return personaagent


@pytest.mark.slow
def test_a_statement_is_told_listed_replaced_and_deleted(maya: CommandLine) -> None:
    first = done(maya("memory", "tell", "--user", MAYA, "I am vegetarian", "--json")).json
    assert first["version"]["reason"] == "the user said so"
    assert "- I am vegetarian" in done(maya("persona", "show", "--user", MAYA)).out
    told = done(maya("memory", "tell", "--user", MAYA, "I am not vegetarian")).out.splitlines()
    assert told[0].endswith("; persona v3 is live")
    assert told[1] == f"it replaces {first['statement']['statement_id']}: I am vegetarian (--also would have kept it)"
    older, newer = done(maya("memory", "said", "--user", MAYA)).out.splitlines()
    assert ("replaced by" in older, "holds" in newer) == (True, True)
    [_, statement] = done(maya("memory", "said", "--user", MAYA, "--json")).json
    done(maya("memory", "untell", "--user", MAYA, statement["statement_id"]))
    assert "- I am vegetarian" in done(maya("persona", "show", "--user", MAYA)).out


def test_a_new_user_can_begin_with_a_statement(personaagent: CommandLine) -> None:
    done(personaagent("memory", "tell", "--user", "new", "I am vegetarian"))
    answered = done(personaagent("ask", "--user", "new", "What shall I cook?", *personaagent.lm))
    assert answered.out.strip()
    assert "I am vegetarian" in str(personaagent.server.received[-1])


def test_what_is_no_statement_is_refused_on_one_line(maya: CommandLine) -> None:
    refused = maya("memory", "tell", "--user", MAYA, "one\ntwo")
    assert (refused.code, refused.out) == (2, "")
    assert "not one line of text" in " ".join(refused.err.split())
    unknown = maya("memory", "untell", "--user", MAYA, "nothing")
    assert unknown.code == 2
    assert "unknown statement" in unknown.err


def test_each_line_says_why_it_is_there(maya: CommandLine) -> None:
    done(maya("memory", "tell", "--user", MAYA, "I am vegetarian"))
    blamed = done(maya("persona", "blame", "--user", MAYA, "--json")).json
    assert [(line["kind"], line["state"]) for line in blamed] == [("statement", "live"), ("said", "live")]
    assert len(blamed[0]["causes"]) == 21
    shown = done(maya("persona", "blame", "--user", MAYA)).out
    assert "because of 21 interactions" in shown
    assert "and 16 more" in shown
    assert "live  said  I am vegetarian" in shown
    assert len(done(maya("persona", "blame", "--user", MAYA, "--version", "1", "--json")).json) == 1


def test_a_forgotten_interaction_is_counted_no_more(maya: CommandLine) -> None:
    done(maya("memory", "tell", "--user", MAYA, "I am vegetarian"))
    [counts, _] = done(maya("persona", "blame", "--user", MAYA, "--json")).json
    name = counts["causes"][0]["interaction_id"]
    assert "persona v3 is live" in done(maya("memory", "forget", "--user", MAYA, name)).out
    [left, _] = done(maya("persona", "blame", "--user", MAYA, "--json")).json
    assert len(left["causes"]) == 20
    assert left["text"].startswith("Of 20 questions")
