"""`personaagent persona`: a user's persona versions. Works without MLflow; `sync` mirrors to it."""

from typing import TYPE_CHECKING, Annotated

import typer

from ..data.errors import InputError
from .context import Json, User, opened, out, print_json
from .show import diff_text

if TYPE_CHECKING:
    from ..blame import Blamed
    from ..data.persona import PersonaVersion
    from ..data.store import User as UserHandle

app = typer.Typer(help="List, show, explain, compare, roll back and mirror persona versions.", no_args_is_help=True)
_CAUSES = 5
"""Causes of a line that are listed."""
Number = Annotated[int | None, typer.Option(min=1)]


@app.command("list")
def list_(
    context: typer.Context,
    user: Annotated[str | None, typer.Option("--user", help="One user; by default all.")] = None,
    as_json: Json = False,
) -> None:
    """List the persona versions of one user, or the live one of every user."""
    with opened(context) as home:
        if user is not None:
            versions = [(user, version) for version in home.store.user(user).personas.versions()]
        else:
            lives = [(handle.user_id, handle.personas.live) for handle in home.store.users()]
            versions = [(user_id, live) for user_id, live in lives if live is not None]
    if as_json:
        print_json([{"user": user_id, **version.model_dump(mode="json")} for user_id, version in versions])
        return
    for user_id, version in versions:
        out.print(
            f"{user_id}  v{version.number}  {version.status}  {version.at:%Y-%m-%d %H:%M}  "
            f"{len(version.persona.lines)} lines  {version.reason}",
            markup=False,
        )


@app.command()
def show(context: typer.Context, user: User, version: Number = None, as_json: Json = False) -> None:
    """Show a persona (the live one, or --version N) as the LM gets it."""
    with opened(context) as home:
        shown = _version(home.store.user(user), version)
    if as_json:
        print_json({**shown.model_dump(mode="json"), "text": shown.persona.text})
    else:
        out.print(shown.persona.text, markup=False)


@app.command()
def diff(
    context: typer.Context,
    user: User,
    old: Annotated[int | None, typer.Option("--from", help="By default the parent of --to.", min=1)] = None,
    new: Annotated[int | None, typer.Option("--to", help="By default the live version.", min=1)] = None,
) -> None:
    """Show what changed between two persona versions."""
    with opened(context) as home:
        handle = home.store.user(user)
        after = _version(handle, new)
        if old is None and after.parent is None:
            raise InputError(f"persona v{after.number} has no parent to compare with: name one with --from")
        before = handle.personas.get(old or after.parent or 1)
    out.print(f"v{before.number} -> v{after.number}: {after.reason}", markup=False)
    out.print(diff_text(before.persona, after.persona))


@app.command()
def rollback(
    context: typer.Context,
    user: User,
    to: Annotated[int | None, typer.Option("--to", help="By default the parent of the live version.", min=1)] = None,
) -> None:
    """Make an older version live again. Nothing is deleted: rolling forward is the same command.

    What the user states (`memory said`) holds in every version.
    """
    from ..telling import roll_back

    with opened(context) as home:
        handle = home.store.user(user)
        target = to or _version(handle, None).parent
        if target is None:
            raise InputError("the live version has no parent to roll back to: name one with --to")
        version = roll_back(handle, target, f"rolled back to v{target}")
        home.mirror(handle)
    out.print(f"persona v{version.number} is live")


@app.command("blame")
def blame_(context: typer.Context, user: User, version: Number = None, as_json: Json = False) -> None:
    """Say of each line of a persona (the live one, or --version N) and of its weights why it is there."""
    from ..blame import blame

    with opened(context) as home:
        handle = home.store.user(user)
        blamed = blame(handle, _version(handle, version).number)
    if as_json:
        print_json([one.model_dump(mode="json") for one in blamed])
        return
    for one in blamed:
        out.print(f"{one.state}  {one.kind}  {one.text}", markup=False)
        out.print(f"    because of {one.because}{_found(one)}", markup=False)
        for cause in one.causes[:_CAUSES]:
            date = f"{cause.at:%Y-%m-%d}" if cause.at else "(undated)"
            out.print(f"    {cause.interaction_id}  {date}  {cause.words or '(forgotten)'}", markup=False)
        if len(one.causes) > _CAUSES:
            out.print(f"    and {len(one.causes) - _CAUSES} more: see --json", markup=False)


def _found(one: "Blamed") -> str:
    if one.evidence is None:
        return ""
    found = one.evidence
    return f"; scored {found.n} times, mean difference {found.mean:+.3f}, wealth {found.wealth:.2f}"


@app.command()
def sync(
    context: typer.Context,
    user: Annotated[str | None, typer.Option("--user", help="One user; by default all.")] = None,
) -> None:
    """Mirror to MLflow what it does not have yet."""
    with opened(context) as home:
        users = [home.store.user(user)] if user is not None else list(home.store.users())
        mirrored = sum(home.sync(handle) for handle in users)
        out.print(f"mirrored {mirrored} version(s) of {len(users)} user(s) to {home.tracking_uri}", markup=False)


def _version(user: "UserHandle", number: int | None) -> "PersonaVersion":
    if number is not None:
        return user.personas.get(number)
    if (live := user.personas.live) is None:
        raise InputError("this user has no persona yet: run `personaagent align` or `personaagent ask` first")
    return live
