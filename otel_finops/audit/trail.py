"""The hook through which every changing operation is put on record. So far it writes to the service's log and nowhere else."""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple, Protocol

from otel_finops.base.times import format_ns

log = logging.getLogger(__name__)


class Change(NamedTuple):
    """One change.

    Attributes:
        who: the principal's name.
        what: the operation, e.g. `budgets.create`.
        before, after: JSON values of what was changed; None for what did not exist. Secrets are never among them.
        at_ns: when, nanoseconds.
        origin: from where: `cli`, or the API client's address.
    """

    who: str
    what: str
    before: Any
    after: Any
    at_ns: int
    origin: str


class Trail(Protocol):
    """Where changes are put on record.

    Raises:
        Unavailable: the record could not be made; the change must not stand then.
    """

    def record(self, change: Change, /) -> None:
        """Put one change on record."""
        ...


class LogTrail:
    """A trail in the service's log, one line of JSON a change."""

    def record(self, change: Change, /) -> None:
        """Write the line."""
        line = {**change._asdict(), "at": format_ns(change.at_ns)}
        del line["at_ns"]
        log.info("change %s", json.dumps(line, sort_keys=True, default=str))
