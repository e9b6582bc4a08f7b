"""Where dialects come from: the packaged ones, and those that other distributions declare as entry points."""

from __future__ import annotations

from typing import Final, TypeGuard

from otel_finops.base.plugins import load_plugins
from otel_finops.genai.dialect import Dialect
from otel_finops.genai.dialects import BUILTIN

GROUP: Final = "otel_finops.dialects"


def load_dialects() -> tuple[Dialect, ...]:
    """All dialects in the order in which they are asked: installed plug-ins by name, then the packaged ones.

    A plug-in with the name of a packaged dialect replaces it.

    Raises:
        StartRefused: an entry point cannot be imported or is no dialect; the message names every such one.
    """
    needs = "no Dialect: it needs name, wanted, attribution, reader and traits"
    plugins = load_plugins(GROUP, _is_dialect, "dialect plug-in", needs)
    return (*plugins.values(), *(dialect for dialect in BUILTIN if dialect.name not in plugins))


def _is_dialect(value: object) -> TypeGuard[Dialect]:
    return isinstance(value, Dialect)
