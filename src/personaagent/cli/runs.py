"""`personaagent spend|replay|export-run|import-run`: what was paid for, and doing it again without paying."""

from pathlib import Path
from typing import Annotated

import typer

from .context import Json, out, print_json, settings
from .grouped import grouped
from .show import ledger_table

RunId = Annotated[str, typer.Argument(help="The run, as `spend` names it.")]


@grouped
def spend(
    context: typer.Context,
    user: Annotated[str | None, typer.Option(help="Only this user's calls.")] = None,
    run: Annotated[str | None, typer.Option(help="Only this run's calls.")] = None,
    as_json: Json = False,
) -> None:
    """Show what was spent, by run, user, role and model."""
    from ..data.call import as_written
    from ..data.store import user_key
    from ..evaluation.run import open_journal_store
    from ..journal import note_names

    with open_journal_store(settings(context)) as store:
        if run is not None:
            store.journal.run(run)
        lines = store.journal.ledger(run_id=run, user_key=None if user is None else user_key(user))
        for run_id in {line.run_id for line in lines}:
            if (recorded := store.journal.find(run_id)) is not None:
                note_names(recorded)
    lines = tuple(line.model_copy(update={"model": as_written(line.model)}) for line in lines)
    if as_json:
        print_json([line.model_dump(mode="json") for line in lines])
    else:
        out.print(ledger_table(lines))


@grouped
def replay(
    context: typer.Context,
    run: RunId,
    data: Annotated[Path | None, typer.Option(help="Where an evaluation's data lie now.")] = None,
    as_json: Json = False,
) -> None:
    """Do an alignment or evaluation again with no LM and no network, and see that it comes to the same."""
    from ..evaluation.run import open_journal_store
    from ..replay import replay as replay_run

    with open_journal_store(settings(context)) as store:
        replayed = replay_run(store, run, settings(context), folder=data)
    same = replayed.fingerprint == replayed.recorded
    if as_json:
        print_json({**replayed._asdict(), "same": same})
    else:
        verdict = "the same result" if same else f"not the recorded result, which is {replayed.recorded}"
        out.print(f"{replayed.calls} calls from the journal, none made; result {replayed.fingerprint}: {verdict}")
    if not same:
        raise typer.Exit(1)


@grouped
def export_run(context: typer.Context, run: RunId, file: Annotated[Path, typer.Argument(help="To write.")]) -> None:
    """Write a run to one portable file: prompts and answers are in it, keys are not."""
    from ..evaluation.run import open_journal_store
    from ..journal.portable import export_run as export

    with open_journal_store(settings(context)) as store:
        calls = export(store.journal, run, file)
    out.print(f"run {run}: {calls} calls written to {file}", markup=False)


@grouped
def import_run(context: typer.Context, file: Annotated[Path, typer.Argument(help="From export-run.")]) -> None:
    """Record a run from a file, to replay it here."""
    from ..evaluation.run import open_journal_store
    from ..journal.portable import import_run as import_

    with open_journal_store(settings(context)) as store:
        run = import_(store.journal, file)
    out.print(f"run {run.run_id} is recorded: personaagent replay {run.run_id}", markup=False)
