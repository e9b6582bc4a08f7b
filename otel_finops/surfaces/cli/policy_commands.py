"""`policies import` and `policies export`: a set of policies is a file, which the operations behind them are handed as text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import POLICY_FILE_BYTES_MAX
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.surfaces.cli.generated import JsonOption, KeyOption, finish, run_operation
from otel_finops.surfaces.cli.runtime import guarded


@guarded
def policies_import(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="YAML or JSON as `policies export` writes it; - for standard input.", metavar="FILE")],
    replace: Annotated[bool, typer.Option("--replace", help="Take away all other policies that one may change.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would be done; nothing is stored.")] = False,
    as_json: JsonOption = False,
    idempotency_key: KeyOption = None,
) -> None:
    """Make a set of policies stand, all of it or nothing."""
    one = OPERATIONS.named("policies.import")
    given = one.input.model_validate({"document": _text(file), "replace": replace, "dry_run": dry_run})
    finish(one, run_operation(context, one, given, idempotency_key), as_json)


@guarded
def policies_export(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only those for calls of this tenant alone.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write all policies as YAML, in the order in which they are asked."""
    one = OPERATIONS.named("policies.export")
    answer = run_operation(context, one, one.input.model_validate({} if tenant is None else {"tenant": tenant}))
    if as_json:
        finish(one, answer, as_json)
    else:
        sys.stdout.write(answer["document"])


def _text(path: str) -> str:
    try:
        if path == "-":
            content = sys.stdin.buffer.read(POLICY_FILE_BYTES_MAX + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(POLICY_FILE_BYTES_MAX + 1)
        return content.decode()
    except OSError as fault:
        raise BadInput(f"{path}: cannot be read: {fault.strerror or type(fault).__name__}") from fault
    except UnicodeDecodeError:
        raise BadInput(f"{path}: no text in UTF-8") from None
