"""Commands made from operations: required fields are arguments, the others options, and `--json` gives the API's answer.

A switch (`bool`, False by default) is a flag; a required field that says `json_schema_extra=NAMED` is an option that must be given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from otel_finops.identity.principals import LOCAL
from otel_finops.operations.fields import NAMED
from otel_finops.operations.registry import Input, Json, Operation, invoke
from otel_finops.surfaces.cli.runtime import guarded, settings_of, write_json

JsonOption = Annotated[bool, typer.Option("--json", help="Print the API's JSON answer.")]


def run_operation(context: typer.Context, one: Operation, given: Input) -> Json:
    """Invoke an operation on the local database, as its owner."""
    from otel_finops.operations.local import open_room  # noqa: PLC0415 - `--help` must not load the database rooms

    with open_room(settings_of(context)) as room:
        return invoke(one, room.context, LOCAL, given, origin="cli")


def print_answer(one: Operation, answer: Json, as_json: bool) -> None:
    """Print an answer as JSON, or for people."""
    if as_json:
        write_json(answer)
        return
    from otel_finops.surfaces.cli.render import show  # noqa: PLC0415 - `--help` does not need tables

    show(one.name, answer)


def command_of(one: Operation) -> Callable[..., None]:
    """The function behind an operation's command."""

    @guarded
    def command(context: typer.Context, as_json: bool, **values: Any) -> None:
        given = one.input.model_validate({name: value for name, value in values.items() if value is not None})
        print_answer(one, run_operation(context, one, given), as_json)

    fields = one.input.model_fields.items()
    described = [(name, *_parameter(name, field)) for name, field in sorted(fields, key=lambda item: not item[1].is_required())]
    parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind) for name, kind, default in described
    ]
    parameters.append(inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__name__ = one.name.replace(".", "_")
    command.__doc__ = one.summary
    return command


def _parameter(name: str, field: FieldInfo) -> tuple[Any, Any]:
    """Annotation and default; all values but switches are texts that the operation's model reads, as in a query."""
    help_text = field.description or ""
    flag = "--" + (field.alias or name).replace("_", "-")
    if field.annotation is bool and field.default is False:
        return Annotated[bool, typer.Option(flag, help=help_text)], False
    if field.json_schema_extra == NAMED:
        return Annotated[str, typer.Option(flag, help=help_text)], inspect.Parameter.empty
    if field.is_required():
        return Annotated[str, typer.Argument(help=help_text, metavar=name.upper())], inspect.Parameter.empty
    if field.default not in (None, ""):
        help_text = f"{help_text} [default: {field.default}]"
    return Annotated[str | None, typer.Option(flag, help=help_text)], None
