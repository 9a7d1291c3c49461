"""`personaagent keys`: who may ask a server. It may be running: only the store's database is opened."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..data.errors import InputError
from .context import Json, echo, grouped, print_result, settings, warn

if TYPE_CHECKING:
    from ..data.api_key import ApiKey, KeyLimits

app = typer.Typer(help="Create, list and revoke the API keys of a server.", no_args_is_help=True)


@dataclass(frozen=True)
class Limits:
    """What a key may use; an option that is not given leaves it to the server."""

    calls_per_minute: Annotated[
        int | None, typer.Option(help="Questions, and alignments asked for, in any 60 seconds.", min=0)
    ] = None
    calls_per_day: Annotated[
        int | None, typer.Option(help="Calls to the LM on a day (UTC), those of alignments included.", min=0)
    ] = None
    dollars_per_day: Annotated[
        float | None, typer.Option(help="Dollars on a day (UTC); the price must be known.", min=0)
    ] = None
    requests_per_minute: Annotated[int | None, typer.Option(help="Requests of any kind in any 60 seconds.", min=0)] = (
        None
    )

    def of_key(self) -> "KeyLimits":
        """Return them as a key holds them.

        Raises:
            InputError: The dollars are not a number.
        """
        from ..data.api_key import KeyLimits

        if self.dollars_per_day is not None and not isfinite(self.dollars_per_day):
            raise InputError(f"--dollars-per-day is {self.dollars_per_day}: give a number")
        return KeyLimits(**asdict(self))


@app.command()
@grouped
def create(
    context: typer.Context,
    *,
    user: Annotated[str | None, typer.Option(help="Whose key it is.")] = None,
    tenant: Annotated[str, typer.Option(help="The tenant, or the one whose user it is.")] = "",
    role: Annotated[Literal["user", "tenant", "admin"], typer.Option(help="Whom it may ask for.")] = "user",
    limits: Limits,
    as_json: Json = False,
) -> None:
    """Make a key and print it, this once: only its hash is stored."""
    from ..home import open_journal_store

    with open_journal_store(settings(context)) as store:
        key, token = store.keys.create(role, tenant=tenant, user_id=user, limits=limits.of_key())
    if not as_json:
        warn(f"key {key.key_id} is shown this once: keep it now")
    result = {"key": token, "key_id": key.key_id, "role": role, "user": user, "tenant": tenant}
    print_result(result, [token], as_json=as_json)


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the keys, revoked ones too, oldest first."""
    from ..home import open_journal_store

    with open_journal_store(settings(context)) as store:
        keys = store.keys.all()
    print_result([_fields(key) for key in keys], map(_line, keys), as_json=as_json)


@app.command()
def revoke(context: typer.Context, key_id: Annotated[str, typer.Argument(help="Which key (see `keys list`).")]) -> None:
    """Let a key open nothing from now on, in a running server too."""
    from ..home import open_journal_store

    with open_journal_store(settings(context)) as store:
        store.keys.revoke(key_id)
    echo(f"revoked {key_id}")


def _fields(key: "ApiKey") -> dict[str, Any]:
    fields = key.model_dump(mode="json", include={"key_id", "role", "tenant", "limits", "created_at", "revoked_at"})
    return {**fields, "user": key.user}


def _line(key: "ApiKey") -> str:
    columns = [
        key.key_id,
        key.role,
        " of ".join(name for name in (key.user, key.tenant) if name) or "everyone",
        f"{key.created_at:%Y-%m-%d %H:%M}",
        *(f"{name.replace('_', ' ')}: {limit}" for name, limit in key.limits if limit is not None),
        *([f"revoked {key.revoked_at:%Y-%m-%d %H:%M}"] if key.revoked_at else []),
    ]
    return "  ".join(columns)
