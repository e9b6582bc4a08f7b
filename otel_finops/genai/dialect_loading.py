"""Where dialects come from: the packaged ones, and those that other distributions declare as entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from otel_finops.base.errors import StartRefused
from otel_finops.genai.dialect import Dialect
from otel_finops.genai.dialects import BUILTIN

GROUP: Final = "otel_finops.dialects"


def load_dialects() -> tuple[Dialect, ...]:
    """All dialects in the order in which they are asked: installed plug-ins by name, then the packaged ones.

    A plug-in with the name of a packaged dialect replaces it.

    Raises:
        StartRefused: an entry point cannot be imported or is no dialect; the message names every such one.
    """
    faults: list[str] = []
    plugins: dict[str, Dialect] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        loaded = _load(point)
        if isinstance(loaded, str):
            faults.append(loaded)
        else:
            plugins[loaded.name] = loaded
    if faults:
        raise StartRefused("; ".join(faults))
    return (*plugins.values(), *(dialect for dialect in BUILTIN if dialect.name not in plugins))


def _load(point: EntryPoint) -> Dialect | str:
    """The dialect of an entry point, or what is wrong with it."""
    try:
        value = point.load()
    except Exception as error:  # noqa: BLE001 - a plug-in may fail in any way; the operator must learn which and how
        return f"dialect plug-in {point.name!r} ({point.value}) cannot be loaded: {type(error).__name__}: {error}"
    if not isinstance(value, Dialect):
        return f"dialect plug-in {point.name!r} ({point.value}) is no Dialect: it needs name, wanted, attribution, reader and traits"
    return value
