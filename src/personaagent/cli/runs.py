"""`personaagent spend|replay|export-run|import-run`: what was paid for, and doing it again without paying."""

from pathlib import Path
from typing import Annotated

import typer

from .context import Json, open_journal, print_result, settings

RunId = Annotated[str, typer.Argument(help="The run, as `spend` names it.")]


def spend(
    context: typer.Context,
    user: Annotated[str | None, typer.Option(help="Only this user's calls.")] = None,
    run: Annotated[str | None, typer.Option(help="Only this run's calls.")] = None,
    as_json: Json = False,
) -> None:
    """Show what was spent, by run, user, role and model."""
    from ..data.call import as_written
    from ..data.store import user_key
    from ..journal import note_names
    from .terminal import ledger_table

    with open_journal(context) as store:
        if run is not None:
            store.journal.run(run)
        lines = store.journal.ledger(run_id=run, user_key=None if user is None else user_key(user))
        for run_id in {line.run_id for line in lines}:
            if (recorded := store.journal.find(run_id)) is not None:
                note_names(recorded)
    lines = tuple(line.model_copy(update={"model": as_written(line.model)}) for line in lines)
    print_result(lines, [ledger_table(lines)], as_json=as_json)


def replay(
    context: typer.Context,
    run: RunId,
    data: Annotated[Path | None, typer.Option(help="Where an evaluation's data lie now.")] = None,
    as_json: Json = False,
) -> None:
    """Do an alignment or evaluation again with no LM and no network, and see that it comes to the same."""
    from ..replay import replay as replay_run

    with open_journal(context) as store:
        replayed = replay_run(store, run, settings(context), folder=data)
    same = replayed.fingerprint == replayed.recorded
    verdict = "the same result" if same else f"not the recorded result, which is {replayed.recorded}"
    line = f"{replayed.calls} calls from the journal, none made; result {replayed.fingerprint}: {verdict}"
    print_result({**replayed._asdict(), "same": same}, [line], as_json=as_json)
    if not same:
        raise typer.Exit(1)


def export_run(
    context: typer.Context,
    run: RunId,
    file: Annotated[Path, typer.Argument(help="To write.")],
    as_json: Json = False,
) -> None:
    """Write a run to one portable file: prompts and answers are in it, keys are not."""
    from ..portable import export_run as export

    with open_journal(context) as store:
        calls = export(store.journal, run, file)
    result = {"run": run, "calls": calls, "file": str(file)}
    print_result(result, [f"run {run}: {calls} calls written to {file}"], as_json=as_json)


def import_run(
    context: typer.Context, file: Annotated[Path, typer.Argument(help="From export-run.")], as_json: Json = False
) -> None:
    """Record a run from a file, to replay it here."""
    from ..portable import import_run as import_

    with open_journal(context) as store:
        run = import_(store.journal, file)
    line = f"run {run.run_id} is recorded: personaagent replay {run.run_id}"
    print_result({"run": run.run_id}, [line], as_json=as_json)
