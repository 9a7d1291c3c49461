"""`personaagent demo`: watch a made-up user's history become a persona, and alignment change it.

The user's taste is unlike the general opinion. Beside each answer stands what the LM, the user's habits and the user's
memory each said.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from .context import AskingCertified, Json, Spending, echo, grouped, paying, print_result, settings

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from ..data.alignment import Alignment, Spend
    from ..data.answer_weights import Distribution, Experts
    from ..data.interaction import Interaction
    from ..data.lamp import LampUser
    from ..home import Home
    from ..journal import OpenRun
    from ..journal.plan import Plan
    from ..programs import PersonaAgent

_BATCH = 2
"""Interactions that are simulated."""
_TASK = "LaMP-2M"
_NO_ANSWER = "(no tag)"


@dataclass(frozen=True)
class Answer:
    """One question, and what was said to it."""

    question: str
    lm: str
    """What the LM alone says, in the same call."""
    habits: str
    """What the user answers most often."""
    memory: str
    """What the user answered to questions like this one."""
    response: str
    """The answer that is given."""
    gold: str
    """What the user really said."""


@dataclass(frozen=True)
class Answers:
    """What was answered, in the order of the questions."""

    answers: tuple[Answer, ...]
    spend: "Spend"

    @property
    def right(self) -> int:
        """How many responses are right."""
        return sum(answer.response == answer.gold for answer in self.answers)

    @property
    def right_alone(self) -> int:
        """How many the LM alone had right."""
        return sum(answer.lm == answer.gold for answer in self.answers)

    @property
    def reading(self) -> str:
        """What these numbers can and cannot show."""
        return (
            f"The LM alone had {self.right_alone} of {len(self.answers)} right, the agent {self.right}. So few "
            "questions of one made-up user prove nothing: they show how an answer comes about. `personaagent evaluate` "
            "on real users says what it is worth."
        )


@grouped
def demo(context: typer.Context, asking: AskingCertified, spending: Spending, as_json: Json = False) -> None:
    """Build one made-up user's memory and persona, align it, answer later questions, and show who said what."""
    from ..home import Home
    from ..journal import new_run

    started = time.perf_counter()
    configured = settings(context, asking)
    run = new_run("demo", run_id=spending.run)
    with TemporaryDirectory(prefix="personaagent-") as scratch:
        folder = configured.home / (scratch if spending.dry_run else f"demo-{run.run_id}")
        with (
            Home(configured.model_copy(update={"home": folder})) as home,
            paying(home.store.journal, run, configured, spending) as opened,
        ):
            alignment, answers = _align_made_up_user(home, opened, quiet=as_json or spending.dry_run)
            if spending.dry_run:
                return
            lines = [
                _questions_table(answers),
                _spend_table(alignment, answers),
                f"\nMLflow page: personaagent --home {home.folder} ui",
                f"This home folder: {home.folder}",
                f"\n{answers.reading} ({time.perf_counter() - started:.0f} s in all)",
            ]
            print_result(_fields(alignment, answers, home), lines, as_json=as_json)


def _align_made_up_user(home: "Home", opened: "OpenRun | Plan", *, quiet: bool) -> "tuple[Alignment, Answers]":
    from ..journal import LOSS, REVISION
    from ..optimizers import PersonaAlignment
    from ..personas import live_persona, program
    from ..progress import progress_bar
    from .terminal import decisions_table, diff_text

    made_up = made_up_user(home.folder / "LaMP-2M")
    home.store.ingest({made_up.user_id: made_up.history})
    user = home.store.user(made_up.user_id)
    show: Callable[[object], None] = (lambda _shown: None) if quiet else echo
    show(_heading("1. Memory", f": {len(made_up.history)} past interactions of {made_up.user_id}"))
    first = program(user, next(iter(user.personas.versions()), None) or live_persona(user))
    show(_heading(f"\n2. Persona v{first.persona_version}", ", from what is older than the latest interactions\n"))
    show(first.persona.text)
    optimizer = PersonaAlignment(n=_BATCH, loss_lm=opened.lm(LOSS), revision_lm=opened.lm(REVISION))
    alignment, _ = home.align(user, optimizer, f"demo-{user.key}")
    opened.stopped = alignment.stopped
    aligned = home.agent(user)
    live = _live_kinds(alignment)
    outcome = f"live: {live}" if live else alignment.stopped or "nothing went live"
    show(_heading("\n3. Alignment", f" with the latest {_BATCH} interactions: {outcome}\n"))
    show(decisions_table(alignment.decisions) if alignment.decisions else "no change was proposed")
    show(diff_text(alignment.base, alignment.persona))
    show(_heading("\n4. Later questions", f" under persona v{aligned.persona_version}, one call each"))
    with progress_bar() as progress:
        bar = progress.add_task("answering", total=len(made_up.questions))
        answers = answer_all(aligned, made_up.questions, lambda: progress.advance(bar))
    return alignment, answers


def _heading(title: str, rest: str) -> "Text":
    from rich.text import Text

    return Text.assemble((title, "bold"), rest)


def _live_kinds(alignment: "Alignment") -> str:
    return ", ".join(sorted({decision.change.kind for decision in alignment.decisions if decision.outcome == "live"}))


def _questions_table(answers: Answers) -> "Table":
    from rich.table import Table

    table = Table("question", "the LM alone", "habits", "memory", "answer", "the user said")
    for answer in answers.answers:
        table.add_row(answer.question, answer.lm, answer.habits, answer.memory, answer.response, answer.gold)
    return table


def _spend_table(alignment: "Alignment", answers: Answers) -> "Table":
    from rich.table import Table

    table = Table("", "right", "calls", "tokens", "seconds", title="One made-up user")
    asked, live = len(answers.answers), _live_kinds(alignment)
    with_changes = f"with {live}" if live else "as answered (nothing went live)"
    table.add_row("alignment", "", *_spent(alignment.spend))
    table.add_row("answers, the LM alone", f"{answers.right_alone}/{asked}", *_spent(answers.spend))
    table.add_row(f"answers, {with_changes}", f"{answers.right}/{asked}", "the same")
    return table


def _spent(spend: "Spend") -> tuple[str, str, str]:
    return str(spend.calls), str(spend.prompt_tokens + spend.completion_tokens), f"{spend.seconds:.0f}"


def _fields(alignment: "Alignment", answers: Answers, home: "Home") -> dict[str, object]:
    return {
        "alignment": alignment,
        "answers": [asdict(answer) for answer in answers.answers],
        "right": answers.right,
        "right_alone": answers.right_alone,
        "spend": answers.spend,
        "reading": answers.reading,
        "home": str(home.folder),
        "tracking_uri": home.tracking_uri,
    }


def write_lamp_files(folder: Path) -> Path:
    """Write the made-up user as LaMP's question and output files into `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("questions.json", "outputs.json"):
        copyfile(Path(__file__).parents[1] / f"made_up_{name}", folder / name)
    return folder


def made_up_user(folder: Path) -> "LampUser":
    """Write the made-up user's files into `folder` and load them as any LaMP data is loaded."""
    from ..data.lamp import load
    from ..data.task import task_named

    [user] = load(write_lamp_files(folder), task_named(_TASK)).users
    return user


def answer_all(
    agent: "PersonaAgent", questions: "Sequence[Interaction]", answered: Callable[[], None] = lambda: None
) -> Answers:
    """Let `agent` answer every question; `answered` is called after each."""
    from ..programs.scope import measure

    answers: list[Answer] = []
    with measure() as meter:
        for question in questions:
            answers.append(_answer(agent, question))
            answered()
    return Answers(tuple(answers), meter.spend)


def _answer(agent: "PersonaAgent", question: "Interaction") -> Answer:
    import dspy

    from ..data.answer_weights import best_answer, uniform
    from ..data.errors import AnswerError
    from ..programs.weighing import decided

    task = agent.task
    try:
        prediction = agent(query=question.query)
    except AnswerError:
        prediction = dspy.Prediction(response=_NO_ANSWER, lm_probabilities=None, experts=None)
    of_the_lm: Distribution | None = prediction.lm_probabilities
    experts: Experts = prediction.experts or _experts(agent, question, of_the_lm or uniform(task.labels))
    return Answer(
        question=task.content(question.query),
        lm=decided(task, of_the_lm, {}).response if of_the_lm else prediction.response,
        habits=best_answer(experts.prior, task.rewards),
        memory=best_answer(experts.memory, task.rewards),
        response=prediction.response,
        gold=question.ground_truth or "",
    )


def _experts(agent: "PersonaAgent", question: "Interaction", of_the_lm: "Distribution") -> "Experts":
    """Return what the experts say where no weights are live, so that only the LM is listened to."""
    from ..data.answer_weights import AnswerWeights, uniform
    from ..programs.weighing import experts_of

    evenly = uniform(agent.task.labels)
    weights = AnswerWeights(lm="", task=agent.task.name, form=agent.settings.form, leaning=evenly, base_rate=evenly)
    recalled = agent.recall_memory(query=agent.task.content(question.query), memory=agent.memory)
    return experts_of(of_the_lm, weights, recalled.answered)
