"""Every command that is made of operations or written beside them, by its words. Importing this loads all rooms' declarations."""

from __future__ import annotations

from functools import cache, partial
from typing import Final

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.settings.features import Features
from otel_finops.surfaces.cli.commands import HAND_WRITTEN
from otel_finops.surfaces.cli.generated import command_of
from otel_finops.surfaces.cli.lazy import Command, Listed, first_sentence

ALIASES: Final = {("trace",): "traces.show", ("prices", "capture"): "prices.refresh", ("prune",): "retention.prune"}
"""Further names of operations."""


def command_table(features: Features) -> dict[tuple[str, ...], Command]:
    """Every command of this room by its words: hand-written ones, aliases and those made from operations; what is off has none."""
    return {words: one.make() for words, one in listed_commands(features).items()}  # type: ignore[misc]


def listed_commands(features: Features) -> dict[tuple[str, ...], Listed]:
    """The same, each to be made when it is asked for: making all of them takes longer than any of them runs."""
    switched_on = {one.name: one for one in OPERATIONS.switched_on(features)}
    table = {
        words: Listed(first_sentence(command), partial(_written, command))
        for words, (command, feature) in HAND_WRITTEN.items()
        if feature is None or getattr(features, feature)
    }
    for one in switched_on.values():
        if one.words not in table:
            table[one.words] = Listed(one.summary, cache(partial(command_of, one)))
    for words, name in ALIASES.items():
        if name in switched_on:
            table[words] = table[switched_on[name].words]
    return table


def _written(command: Command) -> Command:
    return command
