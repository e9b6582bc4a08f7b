"""The reference pages of docs/, made from the declarations: `python -m otel_finops.surfaces.reference docs`.

A test fails while one of them is stale.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from otel_finops.identity.roles import ROLES
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.registry import Operation
from otel_finops.settings.reference import markdown as settings_page
from otel_finops.settings.tree import Features
from otel_finops.surfaces.api.problems import KINDS, METHOD, UNEXPECTED
from otel_finops.surfaces.api.routes import PREFIX
from otel_finops.surfaces.cli.main import ALIASES, command_table

_WRITTEN: Final = "<!-- Written by `python -m otel_finops.surfaces.reference docs` from the declarations; do not edit. -->"


def pages() -> dict[str, str]:
    """Every generated page by its file name."""
    return {"settings.md": settings_page(), "api.md": api_page(), "cli.md": cli_page()}


def api_page() -> str:
    """All routes, their parameters, roles and problems."""
    return "\n".join([_API_HEAD, *_roles(), *(line for one in OPERATIONS for line in _route(one)), *_problems(), ""])


def _route(one: Operation) -> Iterator[str]:
    yield f"## {one.name}"
    yield ""
    yield f"`{'POST' if one.changes else 'GET'} {PREFIX}/{one.path}`: {one.summary}"
    yield ""
    yield f"Permission {one.permission}{f', feature `{one.feature}`' if one.feature else ''}."
    yield ""
    yield from _inputs(one, lambda name: f"`{name}`")
    yield f"Answers {_fields(one.output.model_json_schema())}."
    yield ""


def _fields(schema: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in schema["properties"])


def _inputs(one: Operation, spelled: Any) -> Iterator[str]:
    rows = [
        f"| {spelled(field.alias or name)} | {'required' if field.is_required() else _default(field.default)} | {field.description} |"
        for name, field in one.input.model_fields.items()
    ]
    if rows:
        yield from ("| parameter | default | meaning |", "|---|---|---|", *rows, "")


def _default(value: Any) -> str:
    return "" if value in (None, "") else f"`{value}`"


def _roles() -> Iterator[str]:
    yield from ("## Roles", "", "| role | permissions |", "|---|---|")
    for role, permissions in ROLES.items():
        yield f"| {role} | {', '.join(sorted(permissions))} |"
    yield ""


def _problems() -> Iterator[str]:
    yield from ("## Problems", "", "| `type` | status | title |", "|---|---|---|")
    for kind in dict.fromkeys((*KINDS.values(), METHOD, UNEXPECTED)):
        yield f"| `urn:otel-finops:problem:{kind.slug}` | {kind.status} | {kind.title} |"


def cli_page() -> str:
    """All commands of this room, with their options."""
    named = {one.words: one for one in OPERATIONS} | {words: OPERATIONS.named(name) for words, name in ALIASES.items()}
    table = command_table(Features())
    return "\n".join([_CLI_HEAD, *(line for words in sorted(table) for line in _command(words, table[words], named.get(words))), ""])


def _command(words: Iterable[str], command: Any, one: Operation | None) -> Iterator[str]:
    parameters = list(inspect.signature(command).parameters.values())
    options = [(parameter, parameter.annotation.__metadata__[0]) for parameter in _evaluated(command, parameters)]
    required = "".join(f" {option.metavar or parameter.name.upper()}" for parameter, option in options if not _flags(option))
    yield f"## otel-finops {' '.join(words)}{required}"
    yield ""
    yield f"{inspect.getdoc(command)}{f' Operation `{one.name}`.' if one else ''}"
    yield ""
    if options:
        yield from ("| option | meaning |", "|---|---|")
        yield from (f"| `{_flags(option) or option.metavar}` | {option.help} |" for _, option in options)
        yield ""


def _flags(option: Any) -> str:
    """The option's long form; "" for an argument. Within `Annotated` typer takes the first declaration for the default."""
    return next((flag for flag in (option.default, *(option.param_decls or ())) if str(flag).startswith("--")), "")


def _evaluated(command: Any, parameters: Iterable[inspect.Parameter]) -> Iterator[inspect.Parameter]:
    """Parameters but the context, with annotations that were written as text evaluated."""
    hints = inspect.get_annotations(inspect.unwrap(command), eval_str=True)
    for parameter in parameters:
        if parameter.name != "context":
            written = isinstance(parameter.annotation, str)
            yield parameter.replace(annotation=hints[parameter.name]) if written else parameter


_API_HEAD: Final = f"""# HTTP API

{_WRITTEN}

Everything stands under `{PREFIX}` and is described as OpenAPI 3.1 at `{PREFIX}/openapi.json`. Answers are JSON; money is a
plain decimal string in USD; instants are RFC 3339 in UTC. Faults are RFC 9457 problem documents (`application/problem+json`) whose
`detail` says how to mend them and whose `instance` bears the request id, which is also in the header `X-Request-Id` and in the log.

With `auth.mode` token a request shows `Authorization: Bearer TOKEN`: without a known one it is answered 401, without the role 403, and what
belongs to tenants of others is not found (404). A parameter that does not exist is refused, and so is one given twice. What is switched off
(`features.*`) is not found. `/healthz` says that the process lives, `/readyz` whether all its parts are well; both are open.
"""
_CLI_HEAD: Final = f"""# Command line

{_WRITTEN}

`otel-finops [--config FILE] [--database URL] COMMAND`. `serve`, `ingest` and `demo` are told of in the README. Results go to standard
output alone, everything else to standard error. `--json` prints what the API answers. Commands work on the database that the
settings name, with all rights.

| exit code | meaning |
|---|---|
| 0 | the command did its work |
| 1 | a check failed (`ledger verify`) |
| 2 | wrong usage, wrong settings, something that does not exist, or input that cannot be read |
| 3 | the ledger is busy or away; try again |
| 141 | the reader of the output has gone |
"""

if __name__ == "__main__":
    for name, page in pages().items():
        Path(sys.argv[1], name).write_text(page, encoding="utf-8")
