"""Commands that prove: walks through the chains of the ledger and of the trail, and the signed heads to hold them against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import MIB
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.surfaces.cli.generated import AlwaysJson, JsonOption, finish, run_operation
from otel_finops.surfaces.cli.runtime import guarded, settings_of, write_json

_HEAD_FILE_BYTES_MAX: Final = MIB
PublicKey = Annotated[str | None, typer.Option("--public-key", help="Hex of the key that must have signed the head.")]
SigningKey = Annotated[Path, typer.Option("--key", help="Ed25519 key file; made when it does not exist.")]
_KEY: Final = Path("otel-finops-head.key")


@guarded
def ledger_verify(
    context: typer.Context,
    head: Annotated[Path | None, typer.Option("--head", help="File with a signed head that `ledger head` printed earlier.")] = None,
    public_key: PublicKey = None,
    as_json: JsonOption = False,
) -> None:
    """Walk the chain of blocks and name the first block or row that was changed; exit code 1 when something is wrong."""
    one = OPERATIONS.named("ledger.verify")
    given = one.input.model_validate({"head": None if head is None else _text_of(head), "public_key": public_key})
    finish(one, run_operation(context, one, given), as_json)


@guarded
def audit_verify(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's chain; *: that of the whole service.")] = None,
    head: Annotated[Path | None, typer.Option("--head", help="File with a signed head that `audit head` printed earlier.")] = None,
    public_key: PublicKey = None,
    as_json: JsonOption = False,
) -> None:
    """Walk the trail of changes and name the first entry that was changed, lost or inserted; exit code 1 when something is wrong."""
    one = OPERATIONS.named("audit.verify")
    said = {"tenant": tenant, "head": None if head is None else _text_of(head), "public_key": public_key}
    given = one.input.model_validate({name: value for name, value in said.items() if value is not None})
    finish(one, run_operation(context, one, given), as_json)


def _text_of(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_HEAD_FILE_BYTES_MAX)
    except (OSError, ValueError) as fault:
        raise BadInput(f"{path}: cannot be read as text") from fault


@guarded
def ledger_head(context: typer.Context, key: SigningKey = _KEY, as_json: AlwaysJson = True) -> None:
    """Print the signed head of the chain, to be kept where the ledger's owner cannot change it."""
    from otel_finops.ledger.head import export_head  # noqa: PLC0415 - `--help` must not load the database rooms
    from otel_finops.operations.local import open_room, signing_key  # noqa: PLC0415

    with open_room(settings_of(context)) as room:
        signed_by = signing_key(room, key)
        with room.store.read() as transaction:
            write_json(export_head(transaction, signed_by, room.clock))


@guarded
def audit_head(context: typer.Context, key: SigningKey = _KEY, as_json: AlwaysJson = True) -> None:
    """Print the signed head of the trail of changes, to be kept where the ledger's owner cannot change it."""
    from otel_finops.audit.head import export_head  # noqa: PLC0415 - `--help` must not load the database rooms
    from otel_finops.operations.local import open_room, signing_key  # noqa: PLC0415

    with open_room(settings_of(context)) as room:
        signed_by = signing_key(room, key)
        with room.store.read() as transaction:
            write_json(export_head(transaction, signed_by, room.clock))
