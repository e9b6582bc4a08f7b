"""What a log event says of a model call, as a table like a dialect's; the coding tools' events stand in their spans' dialects."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from otel_finops.base.span import WantedKeys
from otel_finops.genai.dialect import KeyTable, Reader, Refinement, ScopeTraits, TableDialect
from otel_finops.genai.outcome import error_of

_BETWEEN: Final = " of "
_ENDINGS: Final = (
    ("timeout", re.compile(r"time.?d?.?out|deadline", re.IGNORECASE)),
    ("aborted", re.compile(r"abort|cancel|interrupt", re.IGNORECASE)),
    ("connection", re.compile(r"connect|network|socket|fetch failed", re.IGNORECASE)),
)


@dataclass(frozen=True)
class LogEvent:
    """A kind of log record that shows one model call; a `Dialect` for the span that is made of it.

    Attributes:
        event: its full name, which is hashed into span ids: it never changes.
        table: see `KeyTable`.
        name: of the dialect that it belongs to.
        refine: looks at values; sets the kind to `other` on records that show no call.
        traits_of_all: of all its records; the rank is `RANK_LOG`.
        counts: the attributes that tell two calls of one moment apart, hashed into span ids in this order: the list never changes.
        attribution: see `Dialect`.
        short_name: a second name with the beginning of the scopes under which it means this event; None for none.
    """

    event: str
    table: KeyTable
    name: str
    refine: Refinement | None
    traits_of_all: ScopeTraits
    counts: tuple[str, ...] = ()
    attribution: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    short_name: tuple[str, str] | None = None

    @property
    def wanted(self) -> WantedKeys:
        """The attributes of the table, of the attribution and those that are hashed."""
        read = self._table_dialect().wanted
        return WantedKeys(read.exact | set(self.counts), read.prefixes)

    def scope(self, scope: str) -> str:
        """The scope of its sightings: one of its own, since one call may be seen by a span and several events of one scope."""
        return f"{self.event}{_BETWEEN}{scope}"

    def means(self, name: str, scope: str) -> bool:
        """Whether a record of this name and scope is one."""
        return name == self.event or (self.short_name is not None and name == self.short_name[0] and scope.startswith(self.short_name[1]))

    def reader(self, keys: Collection[str], scope: str) -> Reader | None:
        """See `Dialect.reader`."""
        return self._table_dialect().reader(keys, scope)

    def traits(self, scope: str) -> ScopeTraits:
        """See `Dialect.traits`."""
        return self.traits_of_all

    def _table_dialect(self) -> TableDialect:
        beginning = self.scope("")
        return TableDialect(
            self.name, self.table, lambda _, scope: scope.startswith(beginning), attribution=self.attribution, refine=self.refine
        )


def ended_by(http_status: int | None, message: object) -> str:
    """The error of a request that failed: its HTTP status, else one word for what the message, which is not kept, tells."""
    if http_status is not None and http_status >= 400:
        return error_of(None, None, False, http_status) or "error"
    text = message if isinstance(message, str) else ""
    return next((word for word, pattern in _ENDINGS if pattern.search(text)), "error")
