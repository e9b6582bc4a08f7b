"""What other distributions add to the product, declared as entry points."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, TypeGuard, TypeVar

from otel_finops.base.errors import StartRefused


class Named(Protocol):
    """What is known by a name."""

    @property
    def name(self) -> str:
        """Short and stable."""
        ...


Plugin = TypeVar("Plugin", bound=Named)


def load_plugins(group: str, is_one: Callable[[object], TypeGuard[Plugin]], what: str, needs: str) -> dict[str, Plugin]:
    """The plug-ins of a group by the names they give themselves, in the order of their entry points' names.

    Args:
        is_one: whether what an entry point names is a plug-in of this group.
        what: what one is, for the operator, e.g. `price source`.
        needs: what is told of one that is none, e.g. `no PriceSource: it needs name and read`.

    Raises:
        StartRefused: an entry point cannot be loaded, or is none; the message names every such one.
    """
    faults: list[str] = []
    plugins: dict[str, Plugin] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        value, fault = _loaded(point)
        if fault is None and is_one(value):
            plugins[value.name] = value
        else:
            faults.append(f"{what} {point.name!r} ({point.value}) {fault or f'is {needs}'}")
    if faults:
        raise StartRefused("; ".join(faults))
    return plugins


def _loaded(point: EntryPoint) -> tuple[object, str | None]:
    """What an entry point names, and what is wrong with it."""
    try:
        return point.load(), None
    except Exception as error:  # noqa: BLE001 - a plug-in may fail in any way; the operator must learn which and how
        return None, f"cannot be loaded: {type(error).__name__}: {error}"
