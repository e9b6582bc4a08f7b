"""Commands made from operations: required fields are arguments, the others options, and `--json` gives the API's answer.

A switch (`bool`, False by default) is a flag; a required field that says `json_schema_extra=NAMED` is an option that must be given, an
optional one that says `PLACED` an argument that may be left out.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from otel_finops.operations.fields import NAMED, PLACED
from otel_finops.operations.registry import Input, Json, Operation
from otel_finops.operations.streams import Streamed
from otel_finops.surfaces.cli.progress import shown
from otel_finops.surfaces.cli.runtime import CHECK_FAILED, guarded, write_json
from otel_finops.surfaces.cli.streams import write_stream
from otel_finops.surfaces.cli.transport import transport_of

JsonOption = Annotated[bool, typer.Option("--json", help="Print the API's JSON answer.")]
AlwaysJson = Annotated[bool, typer.Option("--json", help="It is JSON in any case.")]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key", help="A text made for this one change: given again within a day, the stored answer is printed.", metavar="KEY"
    ),
]
Completion = Callable[[str], list[str]]

CHECKS: Final = ("audit.verify", "health", "ledger.verify")
"""Operations that check something: when their `ok` is false, the command ends with exit code 1."""


def run_operation(context: typer.Context, one: Operation, given: Input, key: str | None = None) -> Json:
    """Run an operation where the command line says: on the local database as its owner, or at a service.

    Args:
        key: idempotency key of a change.
    """
    transport = transport_of(context)
    with shown(one.name, waits=one.is_run(given) or one.name in CHECKS):
        return transport.run(one, given, key)


def finish(one: Operation, answer: Json, as_json: bool) -> None:
    """Print an answer as JSON, or for people; a check that failed ends with exit code 1.

    Raises:
        typer.Exit: a check failed.
    """
    if as_json:
        write_json(answer)
    else:
        from otel_finops.surfaces.cli.render import show  # noqa: PLC0415 - `--help` does not need tables

        show(one.name, answer)
    if one.name in CHECKS and not answer["ok"]:
        raise typer.Exit(CHECK_FAILED)


def command_of(one: Operation) -> Callable[..., None]:
    """The function behind an operation's command."""

    @guarded
    def command(context: typer.Context, as_json: bool, idempotency_key: str | None = None, **values: Any) -> None:
        aliases = {name: field.alias or name for name, field in one.input.model_fields.items()}  # faults name what was written
        given = one.input.model_validate({aliases[name]: value for name, value in values.items() if value not in (None, False)})
        if isinstance(given, Streamed):
            write_stream(context, one, given, as_json=as_json)
        else:
            finish(one, run_operation(context, one, given, idempotency_key), as_json)

    fields = [(name, field) for name, field in one.input.model_fields.items() if name != "idempotency_key"]
    described = [
        (name, *_parameter(name, field))
        for name, field in sorted(fields, key=lambda item: (not item[1].is_required(), not _says(item[1], PLACED)))
    ]
    parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind) for name, kind, default in described
    ]
    if one.changes:
        parameters.append(inspect.Parameter("idempotency_key", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=KeyOption))
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
    completion = completion_of(name, field)
    if field.annotation is bool and field.default is False:
        return Annotated[bool, typer.Option(flag, help=help_text)], False
    if _says(field, NAMED):
        return Annotated[str, typer.Option(flag, help=help_text, autocompletion=completion)], inspect.Parameter.empty
    if field.is_required():
        return Annotated[str, typer.Argument(help=help_text, metavar=name.upper(), autocompletion=completion)], inspect.Parameter.empty
    if _says(field, PLACED):
        return Annotated[str | None, typer.Argument(help=help_text, metavar=name.upper(), autocompletion=completion)], None
    if (default := field.get_default(call_default_factory=True, validated_data={})) not in (None, "", (), [], {}):
        help_text = f"{help_text} [default: {default}]"
    return Annotated[str | None, typer.Option(flag, help=help_text, autocompletion=completion)], None


def _says(field: FieldInfo, extra: dict[str, Any]) -> bool:
    return isinstance(field.json_schema_extra, dict) and extra.items() <= field.json_schema_extra.items()


# --- completion of values --------------------------------------------------------------------------------------------


def completion_of(name: str, field: FieldInfo) -> Completion | None:
    """What completes a value of this field in a shell: the words that it takes, where they are few; None for any text."""
    if name == "group_by":
        return complete_keys
    words = tuple(_words(field.annotation))
    return (lambda incomplete: [word for word in words if word.startswith(incomplete)]) if words else None


def complete_keys(incomplete: str) -> list[str]:
    """Keys of a comma-separated list of groupings, each once."""
    from otel_finops.ledger.spend import SPEND_KEYS  # noqa: PLC0415 - only while a value is completed

    return completed_list(incomplete, list(SPEND_KEYS))


def completed_list(incomplete: str, words: Sequence[str]) -> list[str]:
    """The last word of a comma-separated list completed, those in front of it kept and not offered again."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{word}" for word in words if word.startswith(last) and word not in before.split(",")]


def _words(annotation: Any) -> Iterator[str]:
    """The values of a `Literal`, also of an optional one."""
    origin = get_origin(annotation)
    if origin is Literal:
        yield from map(str, get_args(annotation))
    elif origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _words(part)
    elif origin is Annotated:
        yield from _words(get_args(annotation)[0])
