"""Confusions: where the agent says one answer and the user another, again and again."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from ...data.change import Change
from ...data.interaction import Interaction
from ...data.persona import PersonaLine
from ...data.task import Task
from .proposing import Case, Seen

LEAST_CASES = 2
MOST_LINES = 3
MOST_WORDS = 3
"""Words that are named of those that the cases share."""
_WORD = re.compile(r"[^\W\d_]{4,}")


class ProposeConfusions:
    """Proposes a line for each pair of answers that the agent confused in at least `LEAST_CASES` interactions.

    The line says when it holds: it names what the cases share and the user's other interactions do not. Cases that
    share nothing make no line. A rating that is off has no line either: answer weights set it right.
    """

    simulates = False

    def applies(self, task: Task) -> bool:
        """Whether answers are labels."""
        return task.kind == "label"

    def propose(self, case: Case) -> Sequence[Change]:
        """Return at most `MOST_LINES` lines, those with the most cases first."""
        if not self.applies(case.task):
            return ()
        confused: dict[tuple[str, str], list[Interaction]] = defaultdict(list)
        for said, truth, interaction in _mistakes(case.seen):
            confused[said, truth].append(interaction)
        often = sorted((pair for pair in confused.items() if len(pair[1]) >= LEAST_CASES), key=_most_cases_first)
        changes = (_change(case, said, truth, cases) for (said, truth), cases in often)
        held = {line.line_id for line in case.persona.lines}
        new = (change for change in changes if change and change.line and change.line.line_id not in held)
        return tuple(new)[:MOST_LINES]


def _mistakes(seen: Sequence[Seen]) -> list[tuple[str, str, Interaction]]:
    return [
        (one.response, one.interaction.ground_truth, one.interaction)
        for one in seen
        if one.response and one.interaction.ground_truth and one.response != one.interaction.ground_truth
    ]


def _most_cases_first(pair: tuple[tuple[str, str], list[Interaction]]) -> tuple[int, tuple[str, str]]:
    return -len(pair[1]), pair[0]


def _change(case: Case, said: str, truth: str, cases: Sequence[Interaction]) -> Change | None:
    words = _shared_words(cases, case.history, case.task)
    if not words:
        return None
    causes = tuple(one.interaction_id for one in cases)
    text = f'If it is about {", ".join(words)} and looks like "{said}": this user answers "{truth}".'
    line = PersonaLine(section="preferences", text=text, causes=causes, kind="confusion")
    return Change(kind="confusion", action="add", line=line, causes=causes)


def _shared_words(cases: Sequence[Interaction], history: Sequence[Interaction], task: Task) -> list[str]:
    """Return words of at least two cases that are rarer in the rest of the history, the most telling first."""
    of_cases = Counter(word for one in cases for word in _words(one, task))
    ids = {one.interaction_id for one in cases}
    others = [one for one in history if one.interaction_id not in ids]
    of_others = Counter(word for one in others for word in _words(one, task))

    def told(word: str) -> float:
        return of_cases[word] / len(cases) - of_others[word] / max(len(others), 1)

    shared = [word for word, count in of_cases.items() if count >= LEAST_CASES and told(word) >= 1 / 2]
    return sorted(shared, key=lambda word: (-told(word), word))[:MOST_WORDS]


def _words(interaction: Interaction, task: Task) -> set[str]:
    return set(_WORD.findall(task.content(interaction.query).casefold()))
