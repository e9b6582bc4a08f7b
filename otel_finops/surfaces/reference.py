"""The reference pages of docs/, made from the declarations: `python -m otel_finops.surfaces.reference docs`.

A test fails while one of them is stale.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from otel_finops.base.limits import (
    API_BODY_MIB_MAX,
    API_GZIP_BYTES_MIN,
    API_JSON_CONTAINERS_MAX,
    API_URL_BYTES_MAX,
    HEAVY_AT_ONCE_MAX,
    IDEMPOTENCY_KEY_HOURS,
)
from otel_finops.identity.roles import ROLES
from otel_finops.ledger import quarantine
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.faults import KINDS
from otel_finops.operations.registry import Operation
from otel_finops.operations.requests import PREFIX
from otel_finops.otlp.batch import REASONS
from otel_finops.otlp.log_batch import LOG_REASONS
from otel_finops.otlp.status import NO_SUCH_PATH, TABLE, WRONG_METHOD, WRONG_TYPE
from otel_finops.settings.features import Features
from otel_finops.settings.reference import markdown as settings_page
from otel_finops.surfaces.api.app import openapi
from otel_finops.surfaces.api.problems import METHOD, UNEXPECTED
from otel_finops.surfaces.api.routes import HEAVY
from otel_finops.surfaces.cli.table import ALIASES, command_table

_WRITTEN: Final = "<!-- Written by `python -m otel_finops.surfaces.reference docs` from the declarations; do not edit. -->"


def pages() -> dict[str, str]:
    """Every generated page by its file name."""
    written = {"settings.md": settings_page(), "api.md": api_page(), "cli.md": cli_page(), "errors.md": errors_page()}
    return {**written, "openapi.json": openapi_file()}


def openapi_file() -> str:
    """The API's description with everything switched on, laid out so that its changes can be read line by line."""
    return json.dumps(openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def api_page() -> str:
    """All routes, their parameters, roles and problems."""
    return "\n".join([_API_HEAD, *_roles(), *(line for one in OPERATIONS for line in _route(one)), *_problems(), ""])


def _route(one: Operation) -> Iterator[str]:
    yield f"## {one.name}"
    yield ""
    also = ", or `POST` with the parameters as a JSON body" if one.by_body else ""
    yield f"`{one.method} {PREFIX}/{one.path}`{also}: {one.summary}"
    yield ""
    yield f"Permission {one.permission}{f', feature `{one.feature}`' if one.feature else ''}."
    yield ""
    yield from _inputs(one, lambda name: f"`{name}`")
    yield "Answers a file (docs/exports.md)." if one.streams else f"Answers {_fields(one.output.model_json_schema())}."
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


def errors_page() -> str:
    """What senders of spans are answered, and why spans are refused."""
    return "\n".join([_ERRORS_HEAD, *_faults(), "", _REASONS_HEAD, *_reasons(), "", _LOG_REASONS_HEAD, *_table_of(LOG_REASONS), ""])


def _faults() -> Iterator[str]:
    yield from ("| fault | gRPC | HTTP | send it again? |", "|---|---|---|---|")
    for fault in TABLE:
        again = "yes, after the delay" if fault.retryable else "no"
        yield f"| `{fault.name}` | {fault.code.name} | {fault.http} | {again} |"
    for fault in (NO_SUCH_PATH, WRONG_METHOD, WRONG_TYPE):
        yield f"| `{fault.name}` | | {fault.http} | no |"


def _reasons() -> Iterator[str]:
    return _table_of({**REASONS, quarantine.REASON: quarantine.MESSAGE, quarantine.PRUNED: quarantine.PRUNED_MESSAGE})


def _table_of(reasons: Mapping[str, str]) -> Iterator[str]:
    yield from ("| reason | message |", "|---|---|")
    yield from (f"| `{reason}` | {message} |" for reason, message in reasons.items())


def cli_page() -> str:
    """All commands of this room, with their options."""
    named = {one.words: one for one in OPERATIONS}
    table = command_table(Features())
    return "\n".join([_CLI_HEAD, *(line for words in sorted(table) for line in _told(words, table, named)), ""])


def _told(words: tuple[str, ...], table: Mapping[tuple[str, ...], Any], named: Mapping[tuple[str, ...], Operation]) -> Iterator[str]:
    """A command in full, or for what other one it is a further name."""
    if words in ALIASES:
        same = " ".join(OPERATIONS.named(ALIASES[words]).words)
        yield from (f"## otel-finops {' '.join(words)}", "", f"Another name of `otel-finops {same}`, with the same options.", "")
    else:
        yield from _command(words, table[words], named.get(words))


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
        yield from (f"| `{_flags(option) or option.metavar}` | {option.help}{_must(parameter, option)} |" for parameter, option in options)
        yield ""


def _must(parameter: inspect.Parameter, option: Any) -> str:
    return " Required." if _flags(option) and parameter.default is inspect.Parameter.empty else ""


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


_ERRORS_HEAD: Final = f"""# Errors

{_WRITTEN}

The API's problems stand in `api.md`, the command line's exit codes in `cli.md`, the reasons for which a call is unpriced in `ledger.md`.

## What senders of spans are answered

A request is answered OK only when its spans are durable. `busy` and `unavailable` carry a delay: over HTTP as `Retry-After`, over gRPC as
`RetryInfo` in the trailers `grpc-status-details-bin` and `google.rpc.retryinfo-bin`. Everything that is not the sender's fault is
`unavailable`, because stock exporters drop a batch on any other status.
"""
_REASONS_HEAD: Final = """## Why single spans are refused

The others of their request are kept; the answer is a partial success with the number of refused spans and these messages. Each
reason is a label of `finops_rejected_spans_total`.
"""
_LOG_REASONS_HEAD: Final = """## Why single log records are refused

As with spans; each reason is a label of `finops_rejected_log_records_total`. Records of events that show no model call are
never refused for their time.
"""
_API_HEAD: Final = f"""# HTTP API

{_WRITTEN}

Everything stands under `{PREFIX}`. Answers are JSON; money is a plain decimal string in USD; instants are RFC 3339 in UTC. The whole is
described as OpenAPI 3.1, by a running service at `{PREFIX}/openapi.json` (what is switched on) and in `docs/openapi.json` (everything).
That file is the promise to clients: a test compares it with the declarations, prints what was added, removed or changed, and fails
until the change is meant and written down by `python -m otel_finops.surfaces.reference docs`.

## Asking

With `auth.mode` token a request shows `Authorization: Bearer TOKEN`: without a known one it is answered 401, without the role 403, and what
belongs to tenants of others is not found (404). What is switched off (`features.*`) is not found either. How tokens are made, what each
role may do, and how an application's own credentials are taken: docs/security.md.

What reads is a GET with its parameters in the query: whole numbers as digits, switches as `true` or `false`. What changes is a POST with
its parameters as a JSON object and `Content-Type: application/json`; values have their JSON types, `"5"` is no number. A parameter that
does not exist is refused, and so is one that is given twice, in the query as in the body. HEAD answers like GET without the body, OPTIONS
with the methods of a path in `Allow`.

A change may bear an `Idempotency-Key`, e.g. a UUID made for it: who repeats the request with the same key gets the stored answer, with
`Idempotent-Replayed: true`, and nothing is changed again. The same key with another input is refused (422), and while the first request
runs it is answered 409. Keys are remembered for {IDEMPOTENCY_KEY_HOURS} hours.

## Lists

Lists are answered a page at a time: `limit` rows, and `next_cursor`, which is given as `cursor` to get the page after; it is null on the
last page. A cursor stands for a place in a fixed order, so that rows which come meanwhile neither repeat nor shift others; it belongs to
the operation and the `sort` that made it, and is refused elsewhere. `sort` takes the words that its description names, nothing else.

## Limits

| limit | answer | setting |
|---|---|---|
| requests a second of one principal, or of one address where there is none | 429 with `Retry-After` | `http.rate_per_s`, `http.burst` |
| size of a body | 413 | `http.body_mib_max`, at most {API_BODY_MIB_MAX} |
| bytes of path and query | 414 | {API_URL_BYTES_MAX} |
| objects and lists in a body | 413 | {API_JSON_CONTAINERS_MAX} |
| long operations at a time in one process: runs, {", ".join(f"`{name}`" for name in sorted(HEAVY))} | 503 with `Retry-After` \
| {HEAVY_AT_ONCE_MAX} |

Requests are counted before their parameters are looked at; `/healthz` and `/readyz` are not counted. Behind a proxy all callers without a
token share the proxy's address.

## Answers

Every answer bears `X-Request-Id`: the caller's own, when it is 1 to 64 letters, digits, dots, dashes or underscores, else one of ours.
The log holds one line for each request with this id, its route, status, size, time and principal: at `log.level` info for changes and
refusals, at debug for all others; never a query, a body or a token. Answers of {API_GZIP_BYTES_MIN} bytes and more are compressed for
callers who send `Accept-Encoding: gzip`.

Faults are RFC 9457 problem documents (`application/problem+json`): `type` and `status` for programs, `title` and `detail` for people, the
detail says how to mend it, and `instance` bears the request id. The kinds stand at the end of this page. `/healthz` says that the process
lives, `/readyz` whether all its parts are well, both to everybody unless `http.open_probes` is off.
"""
_CLI_HEAD: Final = f"""# Command line

{_WRITTEN}

`otel-finops [OPTIONS] COMMAND`. Whatever the API can do has a command of the same name, with the same input, answer and rules. Results go
to standard output alone, everything else to standard error. `--json` prints what the API answers; without it people get tables, as wide
as their screen. A word that is no command is answered with the nearest ones.

| option | environment | meaning |
|---|---|---|
| `--config FILE` | `OTEL_FINOPS_CONFIG` | YAML file with settings (settings.md). |
| `--database URL` | `OTEL_FINOPS_DATABASE__URL` | The ledger to work on, above all settings. |
| `--url URL` | `OTEL_FINOPS_URL` | Ask this service instead of a database of this machine. |
| `--token-file FILE` | `OTEL_FINOPS_TOKEN`, `OTEL_FINOPS_TOKEN_FILE` | Where the token for the service comes from. |
| `--ca-file FILE` | `OTEL_FINOPS_CA_FILE` | Authorities to trust at the service instead of the system's, PEM. |
| `--plain-http` | `OTEL_FINOPS_PLAIN_HTTP` | Send the token over `http://` beyond this machine. |

## On this machine, or at a service

Without `--url` a command works on the database that the settings name, as its owner: whoever may read the file may see all of it.

With `--url https://finops.example.org` (or `OTEL_FINOPS_URL`) the same command asks that service, with the same answers, tables and exit
codes. The service decides by the token what it shows. What was said on the command line counts before the environment: `--database` works
locally although `OTEL_FINOPS_URL` is set.

The token is never an option, where other users of the machine could read it: it comes from `OTEL_FINOPS_TOKEN`, from the file of
`--token-file`, or is asked for, unseen, when the service wants one and a person sits at the terminal. It is sent to the service alone, no
redirect is followed, certificates are always checked, and over `http://` it goes no further than this machine unless `--plain-http` says
that the network is trusted.

A request is sent again, four times at most, when the service answers 429 or 503 and says when (`Retry-After`, up to 30 seconds), and when
the connection broke before the answer came. What changes something bears an idempotency key, so that it is done once all the same; long
runs (`ledger reprice` and the like) are not sent again, because they go on. Numbers and texts of `--json` are the service's own.

Imports (`--from FILE` of `bills`, `fx`, `prices` and `quality`) send the file of this machine, as far as the service takes bodies of its
size (`http.body_mib_max`).

`serve`, `demo`, `ingest`, `price`, `resolve`, `ledger head`, `audit head` and `db` work on this machine's files and cannot be asked of a
service: they say so. `serve` and `demo` are services themselves and start although `OTEL_FINOPS_URL` is set.

## Exit codes

| exit code | meaning |
|---|---|
| 0 | the command did its work |
| 1 | a check failed: `ledger verify`, `audit verify`, `health`, or the chain of a copy in `db restore` |
| 2 | wrong usage, wrong settings, something that does not exist or is not allowed, or input that cannot be read |
| 3 | the ledger is busy, or it or the service is away; try again |
| 130 | interrupted (Ctrl-C) |
| 141 | the reader of the output has gone |

## Terminals

On a terminal long work (ingest, verify, reprice, estimate, export, backup) shows a bar on standard error, which goes away with it.
Colours are left out when `NO_COLOR` is set, and characters beyond ASCII where the terminal's encoding has none. Control characters in
what senders named are shown by their code and never reach the terminal. In a pipe rows stay on one line and no bar is shown.

## Completion

`otel-finops --install-completion` installs the completion of commands, options and values for the shell that runs it (bash, zsh, fish,
PowerShell); `otel-finops --show-completion` prints it instead. Words like sort orders, kinds and the keys of `--group-by` and `--by` are
completed too.

## otel-finops serve

Run the service: OTLP receivers, ledger, start page, API and metrics. A SQLite database is created, or upgraded after a copy; PostgreSQL
waits for `db upgrade`. SIGINT or SIGTERM ends it within ten seconds: requests that run are finished, what is not settled yet settles
after the next start. A second signal ends it at once.

## otel-finops demo

Run the service with realistic traffic: three agent applications with stock instrumentations and a provider on this machine (extra
`demo`). Its ledger is `otel-finops-demo.db` unless a database is set.

With `--history` six weeks of a made-up company are written into that ledger first, which must be empty: four tenants, six applications with
agents and tools, a loop that ran away and was stopped, budgets, policies, approvals, credits, alerts and a bill. All of it bears the
environment `demo`. It needs no extra; the traffic that goes on behind it does, and stays away without.

| option | meaning |
|---|---|
| `--rate` | Runs a second, all three applications together. |
| `--seconds` | End by itself after this time; 0 runs until it is stopped. |
| `--history` | First write six weeks of a made-up company into the empty ledger. |

## otel-finops ingest FILE...

Take in OTLP files (`.binpb`, `.json`, `.jsonl`) and settle them. Taking in the same files again changes nothing. It waits up to 30 seconds
for a ledger that another process settles.

| option | meaning |
|---|---|
| `--signal` | What the files hold: `traces`, `logs` or `metrics`. Traces and logs are priced; metrics are ignored. |
| `--json` | Print the result as JSON. |
"""

if __name__ == "__main__":
    for name, page in pages().items():
        Path(sys.argv[1], name).write_text(page, encoding="utf-8")
