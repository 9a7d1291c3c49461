"""`personaagent certify`: which kinds of change help many users, for `align --certificate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..data.errors import writing
from .context import Asking, Concurrency, Json, Spending, grouped, paying, print_result, settings

if TYPE_CHECKING:
    from ..evaluation.agent_methods import PersonaAgentMethod
    from ..evaluation.calibration import Certification
    from ..evaluation.run import EvaluationJob
    from ..journal import OpenRun
    from ..journal.plan import Plan
    from ..settings import Settings


@dataclass(frozen=True)
class Certified:
    """Whose past interactions are asked again."""

    folder: Annotated[Path, typer.Argument(help="Files of LaMP, of OPPU or your own, as for evaluate.")]
    task: Annotated[str, typer.Option(help="LaMP-2M, ..., open, or that of task.json.")]
    out: Annotated[Path, typer.Option(help="The certificate to write.")]
    users: Annotated[int | None, typer.Option(help="Draw N users.", min=1)] = None
    seed: Annotated[int, typer.Option(help="Decides which are drawn.")] = 0
    k: Annotated[int, typer.Option(help="Episodes recalled for a query.", min=1)] = 4
    older: Annotated[
        int, typer.Option(help="Older interactions asked too, to find rules (not of embedded LMs); a call each.", min=0)
    ] = 0


@grouped
def certify(
    context: typer.Context,
    certified: Certified,
    asking: Asking,
    spending: Spending,
    concurrency: Concurrency = 1,
    as_json: Json = False,
) -> None:
    """Ask each user's latest 3 past interactions again, and write down which kinds of change prove to help."""
    from ..evaluation.agent_methods import PersonaAgentMethod
    from ..evaluation.run import EvaluationJob
    from ..home import open_journal_store
    from ..journal import new_run
    from .terminal import certification_table

    configured = settings(context, asking)
    method = PersonaAgentMethod(k=certified.k)
    job = EvaluationJob(
        folder=certified.folder,
        tasks=(certified.task,),
        methods=(method.name,),
        users=certified.users,
        seed=certified.seed,
    )
    job.check()
    run = new_run("certify", {**job.model_dump(mode="json"), "older": certified.older}, spending.run)
    with (
        open_journal_store(configured) as store,
        paying(store.journal, run, configured, spending) as opened,
    ):
        found = _certification(job, method, configured, opened, older=certified.older, concurrency=concurrency)
        opened.result = found.certificate.fingerprint
    if spending.dry_run:
        return
    with writing(certified.out):
        certified.out.write_text(found.certificate.to_json() + "\n", encoding="utf-8")
    lines = [
        certification_table(found.certificate, found.tested),
        f"certificate: {certified.out} (run {run.run_id}); use it: align --certificate",
    ]
    result = {"certificate": found.certificate, "tested": found.tested, "run": run.run_id}
    print_result(result, lines, as_json=as_json)


def _certification(
    job: "EvaluationJob",
    method: "PersonaAgentMethod",
    configured: "Settings",
    opened: "OpenRun | Plan",
    *,
    older: int,
    concurrency: int,
) -> "Certification":
    import asyncio

    from ..evaluation.calibration import certify as certify_users
    from ..evaluation.resources import Resources
    from ..programs.scope import within
    from ..progress import progress_bar

    [task] = job.tasks
    data = job.data(task)
    with within(task), Resources(data.task, configured, opened.lms.get) as resources, progress_bar() as progress:
        bar = progress.add_task("asking again", total=2 * len(data.users))
        work = certify_users(
            data, method, resources, older=older, concurrency=concurrency, done=lambda: progress.advance(bar)
        )
        return asyncio.run(work)
