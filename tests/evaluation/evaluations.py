"""Evaluations of made-up users by the command line in processes of their own, which may be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from personaagent.data.store.journal import Journal
from personaagent.journal.recorder import LOST

from ..journal.deterministic_lm import hash_of, received

LATENCY_SECONDS = 0.2
METHODS = ("prompt", "rag")
USERS, QUESTIONS = 5, 3

_TAGS = ("comedy", "classic", "action")
_LONGEST_SECONDS = 120


class Outcome(NamedTuple):
    """What an evaluation came to, and what it asked for that."""

    fingerprint: str
    rows: Counter[tuple[str, str, str, str | None]]
    """How many rows there are of each method and question, with what became of it."""
    asked: Counter[str]
    """How often each request reached the LM."""


@dataclass(frozen=True)
class Evaluations:
    """Evaluations of the same data, asking one LM."""

    folder: Path
    api_base: str
    log: Path
    """The LM's."""
    environment: Mapping[str, str]

    @property
    def asked(self) -> Counter[str]:
        """How often each request reached the LM until now."""
        return Counter(request.said for request in received(self.log))

    def begun(self, run_id: str, *options: str) -> "subprocess.Popen[str]":
        """Begin an evaluation, or take it up again."""
        command = [sys.executable, "-m", "personaagent", "--home", str(self.folder / "home"), "evaluate"]
        methods = [part for method in METHODS for part in ("--method", method)]
        lm = ("--lm", "openai/made-up", "--api-base", self.api_base)
        kept = ("--run", run_id, "--out", str(self.folder / run_id), "--json")
        return subprocess.Popen(
            [*command, str(self.folder / "LaMP-2M"), "--task", "LaMP-2M", *methods, *lm, *kept, *options],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finished(self, process: "subprocess.Popen[str]", asked_before: Counter[str]) -> Outcome:
        """Wait for the end of an evaluation."""
        out, err = process.communicate(timeout=_LONGEST_SECONDS)
        assert process.returncode == 0, err
        said: dict[str, Any] = json.loads(out)
        lines = [json.loads(line) for line in Path(said["rows"]).read_text(encoding="utf-8").splitlines()]
        rows = Counter((row["method"], row["question_id"], row["status"], row["message"]) for row in lines)
        return Outcome(said["fingerprint"], rows, self.asked - asked_before)

    def whole(self, run_id: str, *options: str) -> Outcome:
        """Evaluate without interruption."""
        before = self.asked
        return self.finished(self.begun(run_id, *options), before)

    def killed_in_the_middle(self, run_id: str, *options: str) -> Outcome:
        """Begin an evaluation, kill its process when a third of the requests has come, and give the same command."""
        before = self.asked
        process = self.begun(run_id, *options)
        self.wait_for_requests(len(METHODS) * USERS * QUESTIONS // 3, before, process)
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate()
        assert process.returncode == -signal.SIGKILL, err
        assert (self.folder / run_id / "rows.jsonl").exists()
        return self.finished(self.begun(run_id, *options), before)

    def wait_for_requests(self, number: int, before: Counter[str], process: "subprocess.Popen[str]") -> None:
        """Return when so many more requests have reached the LM."""
        deadline = time.monotonic() + _LONGEST_SECONDS
        while (self.asked - before).total() < number:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "the LM was not asked"
            time.sleep(0.02)


def write_users(folder: Path) -> None:
    """Write LaMP files of made-up users."""
    folder.mkdir()
    asked = [(f"u{user}", number) for user in range(USERS) for number in range(QUESTIONS)]
    past = [{"id": f"p{day}", "tag": _TAGS[day % 3], "description": f"Made-up past {day}"} for day in range(4)]
    questions = [
        {
            "id": f"{user}-{number}",
            "user_id": user,
            "input": "Which tag does this movie relate to among the following tags? Just answer with the tag name "
            f"without further explanation. tags: [{', '.join(_TAGS)}] description: Made-up film {user} {number}",
            "profile": [{**item, "id": f"{user}{item['id']}"} for item in past],
        }
        for user, number in asked
    ]
    golds = [{"id": f"{user}-{number}", "output": _TAGS[number % 3]} for user, number in asked]
    (folder / "questions.json").write_text(json.dumps(questions), encoding="utf-8")
    (folder / "outputs.json").write_text(json.dumps({"task": "LaMP_2", "golds": golds}), encoding="utf-8")


def lost(journal: Journal, run_id: str) -> Counter[str]:
    """Return the requests of a run whose answer nobody saw, with how often that was so."""
    keys = Counter(
        attempt.key
        for attempt in journal.all_attempts(run_id)
        if attempt.failure is not None and attempt.failure.kind == LOST
    )
    requests = {call.key: json.loads(call.request) for call in journal.calls(run_id)}
    return Counter({_said(requests[key]): number for key, number in keys.items()})


def check(killed: Outcome, whole: Outcome, lost_calls: Counter[str]) -> None:
    """Assert that a kill has changed nothing, and that only calls that it lost were made again."""
    assert killed.rows == whole.rows
    assert set(killed.rows.values()) == {1}
    assert killed.fingerprint == whole.fingerprint
    assert set(killed.asked) == set(whole.asked)
    assert killed.asked - whole.asked <= lost_calls


def _said(request: dict[str, Any]) -> str:
    parts = [message["parts"] for message in request["messages"]]
    return hash_of([request["system"], *("".join(part["text"] for part in of_message) for of_message in parts)])
