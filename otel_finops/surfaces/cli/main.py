"""Puts the command line together."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final

import typer

from otel_finops.base.errors import StartRefused
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.settings import load
from otel_finops.settings.tree import Features
from otel_finops.surfaces.cli.commands import HAND_WRITTEN
from otel_finops.surfaces.cli.generated import command_of
from otel_finops.surfaces.cli.runtime import Options

Command = Callable[..., None]

GROUPS: Final = {
    "traces": "What traces cost.",
    "spend": "Spend reports.",
    "usage": "The ledger's rows.",
    "coverage": "Calls that are unpriced, estimated or merged.",
    "ledger": "Export, proof and corrections of the ledger.",
    "periods": "Months of the ledger, and closing them.",
    "prices": "The price book.",
    "fx": "Exchange rates.",
    "subscriptions": "Flat fees, and the calls that they cover.",
    "pricing": "What a call costs and why, models without a price, and house rules.",
    "quarantine": "Spans that cannot be recorded.",
    "db": "The database.",
}
"""What `--help` says of each group; every operation's room is one."""
ALIASES: Final = {("trace",): "traces.show"}
"""Further names of operations."""


def build_cli(commands: Mapping[str, Command] | None = None, features: Features | None = None) -> typer.Typer:
    """The whole command line.

    Args:
        commands: further top-level commands by name (`serve`, `ingest`, `demo`); functions as typer takes them, the help text
            is their docstring. `runtime.guarded` and `runtime.settings_of(context)` serve them too.
        features: the switches; what is off has no command.
    """
    app = typer.Typer(
        name="otel-finops", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, help=_options.__doc__
    )
    app.callback()(_options)
    groups: dict[str, typer.Typer] = {}
    for name, command in (commands or {}).items():
        app.command(name)(command)
    for words, command in command_table(features or Features()).items():
        _place(app, groups, words).command(words[-1])(command)
    return app


def command_table(features: Features) -> dict[tuple[str, ...], Command]:
    """Every command of this room by its words: hand-written ones, aliases and those made from operations."""
    table: dict[tuple[str, ...], Command] = {
        words: command for words, (command, feature) in HAND_WRITTEN.items() if feature is None or getattr(features, feature)
    }
    switched_on = {one.name: one for one in OPERATIONS.switched_on(features)}
    for words, name in ALIASES.items():
        if name in switched_on:
            table[words] = command_of(switched_on[name])
    for one in switched_on.values():
        if one.words not in table:
            table[one.words] = command_of(one)
    return table


def _place(app: typer.Typer, groups: dict[str, typer.Typer], words: Sequence[str]) -> typer.Typer:
    if len(words) == 1:
        return app
    name = words[0]
    if name not in groups:
        groups[name] = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=GROUPS[name])
        app.add_typer(groups[name], name=name)
    return groups[name]


def _options(
    context: typer.Context,
    config: Annotated[str | None, typer.Option("--config", help="YAML file with settings (docs/settings.md).", metavar="FILE")] = None,
    database: Annotated[str | None, typer.Option("--database", help="Database URL, above all settings.", metavar="URL")] = None,
) -> None:
    """Price every model call in OpenTelemetry spans once, keep it in a ledger that can be proved, and see what it cost."""
    context.obj = Options(config, database)


def main(commands: Mapping[str, Command] | None = None, argv: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with the exit codes of docs/cli.md."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    build_cli(commands, _features(arguments))(args=arguments, prog_name="otel-finops")


def _features(arguments: Sequence[str]) -> Features:
    """The switches; settings with faults are told of when a command reads them, `--help` works with them too."""
    try:
        return load(_config_of(arguments), os.environ).features
    except StartRefused:
        return Features()


def _config_of(arguments: Sequence[str]) -> str | None:
    for index, argument in enumerate(arguments):
        if argument.startswith("--config="):
            return argument.partition("=")[2]
        if argument == "--config" and index + 1 < len(arguments):
            return arguments[index + 1]
    return None
