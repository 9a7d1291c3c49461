"""`personaagent keys`: who may ask a server. It may be running: only the store's database is opened."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .context import Json, Limits, grouped, open_journal, print_result, warn

if TYPE_CHECKING:
    from ..data.api_key import ApiKey

app = typer.Typer(help="Create, list and revoke the API keys of a server.", no_args_is_help=True)


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
    with open_journal(context) as store:
        key, token = store.keys.create(role, tenant=tenant, user_id=user, limits=limits.of_key())
    if not as_json:
        warn(f"key {key.key_id} is shown this once: keep it now")
    result = {"key": token, "key_id": key.key_id, "role": role, "user": user, "tenant": tenant}
    print_result(result, [token], as_json=as_json)


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the keys, revoked ones too, oldest first."""
    with open_journal(context) as store:
        keys = store.keys.all()
    print_result([_fields(key) for key in keys], map(_line, keys), as_json=as_json)


@app.command()
def revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(help="Which key (see `keys list`).")],
    as_json: Json = False,
) -> None:
    """Let a key open nothing from now on, in a running server too."""
    with open_journal(context) as store:
        store.keys.revoke(key_id)
    print_result({"key_id": key_id}, [f"revoked {key_id}"], as_json=as_json)


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
