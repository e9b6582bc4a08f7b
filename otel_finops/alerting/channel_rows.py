"""Definitions of channels and routes as rows: how they are read, and followed by every process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias, TypeVar

import orjson

from otel_finops.alerting.routes import Channel, Route, Routing
from otel_finops.base.clock import Clock
from otel_finops.governance.followed import Followed
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

Kind: TypeAlias = Literal["channel", "route"]
Defined = TypeVar("Defined", Channel, Route)

_REVISION: Final = "SELECT COALESCE(MAX(revision), 0) FROM channel_definitions"
_COLUMNS: Final = "revision, kind, no, action, tenant, name, definition, who, at_ns, of_all"
_SINCE: Final = f"SELECT {_COLUMNS} FROM channel_definitions WHERE revision > ? ORDER BY revision"
_HISTORY: Final = f"SELECT {_COLUMNS} FROM channel_definitions WHERE kind = ? AND no = ? ORDER BY revision"
_NEXT_NO: Final = "SELECT COALESCE(MAX(no), 0) + 1 FROM channel_definitions WHERE kind = ?"
_INSERT: Final = (
    "INSERT INTO channel_definitions (kind, no, action, tenant, name, definition, who, at_ns, of_all) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING revision"
)
FIELDS: Final[dict[Kind, tuple[str, ...]]] = {
    "channel": ("type", "enabled", "host", "to", "options"),
    "route": ("channels", "rules", "kinds", "min_severity", "labels", "resolved", "enabled"),
}
"""What a definition holds, name and tenant aside."""
_LISTS: Final = ("to", "channels", "rules", "kinds")


def followed_routing(store: Store, clock: Clock) -> Followed[Routing]:
    """All channels and routes that stand, for those who have something to tell."""
    return Followed("the channels", store, clock, Routing(0), revision_of, _read_on)


def revision_of(transaction: Transaction) -> int:
    """The last revision of any definition; 0 where there is none."""
    return int(transaction.execute(_REVISION)[0][0])


def next_no(transaction: Transaction, kind: Kind) -> int:
    """A number that no channel, or no route, ever had."""
    return int(transaction.execute(_NEXT_NO, (kind,))[0][0])


def insert(transaction: Transaction, action: str, one: Channel | Route, who: str, now_ns: int) -> int:
    """Add a definition; its revision."""
    kind = kind_of(one)
    said = {name: getattr(one, name) for name in FIELDS[kind]}
    row = (kind, one.no, action, one.tenant or "", one.name, orjson.dumps(said).decode(), who, now_ns, one.of_all)
    return int(transaction.execute(_INSERT, row)[0][0])


def history(transaction: Transaction, kind: Kind, no: int) -> list[tuple[Channel | Route, bool]]:
    """Every definition of a number, newest first, and whether that revision took it away."""
    found: list[tuple[Channel | Route, bool]] = []
    for row in transaction.execute(_HISTORY, (kind, no)):
        found.append((_defined(row, found[-1][0] if found else None), row[3] == "delete"))
    return found[::-1]


def kind_of(one: Channel | Route) -> Kind:
    """What it is."""
    return "channel" if isinstance(one, Channel) else "route"


def _read_on(transaction: Transaction, held: Routing) -> Routing:
    """What stands by now, from what stood at an earlier revision."""
    standing: dict[tuple[str, int], Channel | Route] = {(kind_of(one), one.no): one for one in _all(held)}
    revision = held.revision
    for row in transaction.iterate(_SINCE, (held.revision,)):
        revision, key = int(row[0]), (row[1], int(row[2]))
        if row[3] == "delete":
            standing.pop(key, None)
        else:
            standing[key] = _defined(row, standing.get(key))
    channels = [one for one in standing.values() if isinstance(one, Channel)]
    return Routing(revision, channels, [one for one in standing.values() if isinstance(one, Route)])


def _all(held: Routing) -> Iterable[Channel | Route]:
    yield from held.channels.values()
    yield from held.routes.values()


def _defined(row: Row, former: Channel | Route | None) -> Channel | Route:
    revision, kind, no, _, tenant, name, definition, who, at_ns, of_all = row
    said: dict[str, Any] = {name: tuple(value) if name in _LISTS else value for name, value in orjson.loads(definition).items()}
    made = {
        "of_all": bool(of_all), "revision": int(revision), "changed_ns": int(at_ns), "changed_by": who,
        "made_ns": int(at_ns) if former is None else former.made_ns, "made_by": who if former is None else former.made_by,
    }  # fmt: skip
    whole: dict[str, Any] = {"no": int(no), "name": name, "tenant": tenant or None, **said, **made}
    return Channel(**whole) if kind == "channel" else Route(**whole)
