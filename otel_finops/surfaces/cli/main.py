"""Puts the command line together. What `--help` needs stands here; commands and their rooms are loaded when one of them is asked for."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from otel_finops.surfaces.cli.lazy import Command, Listed, first_sentence, group_class
from otel_finops.surfaces.cli.runtime import URL_VARIABLE, Options

if TYPE_CHECKING:
    from otel_finops.settings.features import Features

GROUPS: Final = {
    "traces": "What traces cost.",
    "runs": "What single runs of agents did and cost.",
    "sessions": "What conversations cost.",
    "spend": "Spend reports.",
    "usage": "The ledger's rows.",
    "bills": "Providers' bills.",
    "reconcile": "Whether the ledger agrees with providers' bills, and the gap by cause.",
    "coverage": "Calls that are unpriced, estimated or merged.",
    "ledger": "Export, proof and corrections of the ledger.",
    "periods": "Months of the ledger, and closing them.",
    "prices": "The price book.",
    "anomalies": "Days and hours of spend that stand out, and what drives them.",
    "fx": "Exchange rates.",
    "footprint": "Electricity and CO2e of calls.",
    "forecast": "What budgets and calls will come to, and how well that would have been known.",
    "subscriptions": "Flat fees, and the calls that they cover.",
    "pricing": "What a call costs and why, models without a price, and house rules.",
    "quarantine": "Spans that cannot be recorded.",
    "retention": "How long data is kept, and pruning what is older.",
    "budgets": "Limits of spend, tokens or calls, and how they stand.",
    "approvals": "Requests for approval, and giving or refusing it.",
    "decisions": "Whether calls may be made, and what was decided.",
    "reservations": "What is held for calls until they are booked.",
    "credits": "Prepaid pools that pay for calls, and their money.",
    "policies": "What is done with calls of some kind, and guards against loops that run away.",
    "guardrails": "What guardrails flagged and blocked.",
    "focus": "What calls cost in the form of the FinOps Open Cost and Usage Specification.",
    "cost-centers": "Who bears what calls cost: codes with owners, one within the other.",
    "allocations": "Rules for shared costs, fees and credits.",
    "chargeback": "What each cost centre bears, with what is not allocated.",
    "outcomes": "How work came out, and what each success cost.",
    "unit-costs": "What a call, a trace, a session, a user, a success cost.",
    "waste": "What was spent for nothing, and what would have stopped it.",
    "whatif": "What recorded calls would have cost by another model, provider, tier or cache-hit rate.",
    "routing": "Which model is the cheapest that is good enough.",
    "quality": "Quality scores of models.",
    "replay": "What budgets and policies would have done with calls of the past.",
    "kill-switch": "Stopping calls at once.",
    "alerts": "What holds that is worth telling, and what became of it.",
    "alert-rules": "What is worth telling, how bad it is, and when people want to hear of it.",
    "jobs": "What is done by the clock, and doing it now.",
    "channels": "How notices reach people and machines: webhooks, chats, mail, SMS, Alertmanager.",
    "alert-routes": "Which notices go to which channels.",
    "deliveries": "What became of notices: what waits, arrived, or was given up.",
    "settings": "What is set, and from where.",
    "diagnostics": "What a call would cost and whether it would be let through.",
    "dashboard": "Key figures with their change, their course, and what costs most.",
    "audit": "The trail of changes: who changed what, and its proof.",
    "tokens": "Tokens for the API.",
    "senders": "Tokens with which spans are sent.",
    "db": "The database.",
}
"""What `--help` says of each group; every operation's room is one."""
SINGLE: Final = {
    "report": "Show what was spent in the last days: sums, change, a curve, and what cost most.",
    "trace": "Show what every agent, step, tool and call of a trace cost.",
    "prune": "Take away data that is older than it is kept for: closed months of entries whole, with their sums and blocks left.",
    "health": "Say whether all parts of the service work.",
    "price": "Price records of standard input, one JSON object a line (docs/pricing.md).",
    "resolve": "Find the price row of every model of standard input, one JSON object a line.",
}
"""The same of each command of one word; what it says of itself."""
_CONFIG_VARIABLE: Final = "OTEL_FINOPS_CONFIG"
_SWITCHES: Final = "OTEL_FINOPS_FEATURES__"


def build_cli(commands: Mapping[str, Command] | None = None, features: Features | None = None) -> typer.Typer:
    """The whole command line.

    Args:
        commands: further top-level commands by name (`serve`, `ingest`, `demo`); functions as typer takes them, the help text
            is their docstring. `runtime.guarded` and `runtime.settings_of(context)` serve them too.
        features: the switches; what is off has no command. None for all on.
    """
    listed = functools.partial(_listed, commands or {}, features)
    app = typer.Typer(
        name="otel-finops",
        cls=group_class(functools.cache(listed)),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help=_options.__doc__,
    )
    app.callback()(_options)
    return app


def _listed(commands: Mapping[str, Command], features: Features | None) -> dict[str, Listed]:
    """What stands on the top level, in the order of `--help`."""
    table = functools.cache(lambda: _table(features))
    names = {**SINGLE, **GROUPS}
    if features is not None:
        names = {name: said for name, said in names.items() if any(words[0] == name for words in table())}
    return {
        **{name: Listed(first_sentence(command), functools.partial(_same, command)) for name, command in commands.items()},
        **{name: Listed(said, functools.partial(_below, table, name)) for name, said in names.items()},
    }


def _table(features: Features | None) -> dict[tuple[str, ...], Listed]:
    from otel_finops.settings.features import Features  # noqa: PLC0415 - `--help` must load neither settings nor operations
    from otel_finops.surfaces.cli.table import listed_commands  # noqa: PLC0415

    return listed_commands(Features() if features is None else features)


def _same(command: Command) -> Command:
    return command


def _below(table: Callable[[], Mapping[tuple[str, ...], Listed]], name: str) -> Command | Mapping[str, Listed]:
    """The command of this name, or those of this group in the order of their names."""
    commands = table()
    if name in SINGLE:
        return commands[(name,)].make()
    return {words[1]: commands[words] for words in sorted(commands) if words[0] == name}


def _options(
    context: typer.Context,
    config: Annotated[str | None, typer.Option("--config", help="YAML file with settings (docs/settings.md).", metavar="FILE")] = None,
    database: Annotated[str | None, typer.Option("--database", help="Database URL, above all settings.", metavar="URL")] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Ask this service instead of a local database; also OTEL_FINOPS_URL (docs/cli.md).", metavar="URL"),
    ] = None,
    token_file: Annotated[
        str | None, typer.Option("--token-file", help="File with the token for --url; also OTEL_FINOPS_TOKEN.", metavar="FILE")
    ] = None,
    ca_file: Annotated[
        str | None, typer.Option("--ca-file", help="Authorities to trust at --url instead of the system's, PEM.", metavar="FILE")
    ] = None,
    plain_http: Annotated[bool, typer.Option("--plain-http", help="Send the token to --url over http:// beyond this machine.")] = False,
) -> None:
    """Price every model call in OpenTelemetry spans once, keep it in a ledger that can be proved, and see what it cost."""
    context.obj = Options(config, database, url, token_file, ca_file, plain_http)


def main(commands: Mapping[str, Command] | None = None, argv: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with the exit codes of docs/cli.md."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    build_cli(commands, _features(arguments))(args=arguments, prog_name="otel-finops")


def _features(arguments: Sequence[str]) -> Features | None:
    """The switches of a local ledger; None (all on) where nothing can have set one, and for a service, which has its own.

    Settings with faults are told of when a command reads them; `--help` works with them too.
    """
    config = _given(arguments, "--config")
    asks_service = _given(arguments, "--url") is not None
    asks_service = asks_service or (bool(os.environ.get(URL_VARIABLE)) and config is None and _given(arguments, "--database") is None)
    switched = config or os.environ.get(_CONFIG_VARIABLE) or any(name.startswith(_SWITCHES) for name in os.environ)
    if asks_service or not switched:
        return None
    from otel_finops.base.errors import StartRefused  # noqa: PLC0415 - most runs of `--help` need no settings
    from otel_finops.settings import load  # noqa: PLC0415

    try:
        return load(config, os.environ).features
    except StartRefused:
        return None


def _given(arguments: Sequence[str], flag: str) -> str | None:
    for index, argument in enumerate(arguments):
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
        if argument == flag and index + 1 < len(arguments):
            return arguments[index + 1]
    return None
