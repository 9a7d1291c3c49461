"""`personaagent persona`: a user's persona versions. Works without MLflow; `sync` mirrors to it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ..data.errors import InputError, without_secrets
from .context import Json, OptionalUserId, UserId, open_home, print_result

if TYPE_CHECKING:
    from ..blame import Blamed
    from ..data.persona import PersonaVersion
    from ..data.store import User

app = typer.Typer(help="List, show, explain, compare, roll back and mirror persona versions.", no_args_is_help=True)
_CAUSES = 5
"""Causes of a line that are listed."""
Number = Annotated[int | None, typer.Option(min=1)]


@app.command("list")
def list_(context: typer.Context, user: OptionalUserId = None, as_json: Json = False) -> None:
    """List the persona versions of one user, or the live one of every user."""
    with open_home(context) as home:
        if user is not None:
            versions = [(user, version) for version in home.store.user(user).personas.versions()]
        else:
            lives = [(each.user_id, each.personas.live) for each in home.store.users()]
            versions = [(user_id, live) for user_id, live in lives if live is not None]
    lines = (
        f"{user_id}  v{version.number}  {version.status}  {version.at:%Y-%m-%d %H:%M}  "
        f"{len(version.persona.lines)} lines  {version.reason}"
        for user_id, version in versions
    )
    result = [{"user": user_id, **version.model_dump(mode="json")} for user_id, version in versions]
    print_result(result, lines, as_json=as_json)


@app.command()
def show(context: typer.Context, user: UserId, version: Number = None, as_json: Json = False) -> None:
    """Show a persona (the live one, or --version N) as the LM gets it."""
    with open_home(context) as home:
        shown = _version(home.store.user(user), version)
    text = shown.persona.text
    print_result({**shown.model_dump(mode="json"), "text": text}, [text], as_json=as_json)


@app.command()
def diff(
    context: typer.Context,
    user: UserId,
    old: Annotated[int | None, typer.Option("--from", help="By default the parent of --to.", min=1)] = None,
    new: Annotated[int | None, typer.Option("--to", help="By default the live version.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Show what changed between two persona versions."""
    from ..data.persona import persona_diff
    from .terminal import diff_text

    with open_home(context) as home:
        stored = home.store.user(user)
        after = _version(stored, new)
        if old is None and after.parent is None:
            raise InputError(f"persona v{after.number} has no parent to compare with: name one with --from")
        before = stored.personas.get(old or after.parent or 1)
    title = f"v{before.number} -> v{after.number}: {after.reason}"
    changed = persona_diff(before.persona, after.persona)
    result = {"from": before.number, "to": after.number, "reason": after.reason, "diff": changed}
    print_result(result, [title, diff_text(before.persona, after.persona)], as_json=as_json)


@app.command()
def rollback(
    context: typer.Context,
    user: UserId,
    to: Annotated[int | None, typer.Option("--to", help="By default the parent of the live version.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Make an older version live again. Nothing is deleted: rolling forward is the same command.

    What the user states (`memory said`) holds in every version.
    """
    from ..telling import roll_back

    with open_home(context) as home:
        stored = home.store.user(user)
        target = to or _version(stored, None).parent
        if target is None:
            raise InputError("the live version has no parent to roll back to: name one with --to")
        version = roll_back(stored, target, f"rolled back to v{target}")
        home.mirror(stored)
    print_result(version, [f"persona v{version.number} is live"], as_json=as_json)


@app.command("blame")
def blame_(context: typer.Context, user: UserId, version: Number = None, as_json: Json = False) -> None:
    """Say of each line of a persona (the live one, or --version N) and of its weights why it is there."""
    from ..blame import blame

    with open_home(context) as home:
        stored = home.store.user(user)
        blamed = blame(stored, _version(stored, version).number)
    print_result(blamed, (line for each in blamed for line in _lines(each)), as_json=as_json)


def _lines(blamed: "Blamed") -> Iterator[str]:
    found = f"; {blamed.evidence.text}" if blamed.evidence else ""
    yield f"{blamed.state}  {blamed.kind}  {blamed.text}"
    yield f"    because of {blamed.because}{found}"
    for cause in blamed.causes[:_CAUSES]:
        yield f"    {cause.interaction_id}  {cause.text}"
    if len(blamed.causes) > _CAUSES:
        yield f"    and {len(blamed.causes) - _CAUSES} more: see --json"


@app.command()
def sync(context: typer.Context, user: OptionalUserId = None, as_json: Json = False) -> None:
    """Mirror to MLflow what it does not have yet."""
    with open_home(context) as home:
        users = [home.store.user(user)] if user is not None else list(home.store.users())
        mirrored = sum(home.sync(each) for each in users)
        uri = without_secrets(home.tracking_uri)
    result = {"versions": mirrored, "users": len(users), "tracking_uri": uri}
    print_result(result, [f"mirrored {mirrored} version(s) of {len(users)} user(s) to {uri}"], as_json=as_json)


def _version(user: "User", number: int | None) -> "PersonaVersion":
    if number is not None:
        return user.personas.get(number)
    if (live := user.personas.live) is None:
        raise InputError("this user has no persona yet: run `personaagent align` or `personaagent ask` first")
    return live
