"""The hook through which every change is put on record: who, what, before, after, when, from where."""

from __future__ import annotations

import getpass
import os
import socket
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from otel_finops.base.protocols import ANY_TENANT

Outcome: TypeAlias = Literal["begun", "done", "unchanged", "failed"]
"""done: a change that was made. Of runs: begun is the intent; done, unchanged and failed are how it ended."""


class Change(NamedTuple):
    """One change.

    Attributes:
        who: the principal's name.
        what: the operation, e.g. `budgets.create`.
        before, after: JSON values of what was changed; None for what did not exist.
        at_ns: when, nanoseconds.
        origin: from where: the surface, the client's address, the request's id.
        tenant: whose thing it is, in whose chain it stands; `*`: the whole service's.
        outcome: what came of it.
        began: of a run's outcome: the number of its intent in the same chain.
    """

    who: str
    what: str
    before: Any
    after: Any
    at_ns: int
    origin: str
    tenant: str = ANY_TENANT
    outcome: Outcome = "done"
    began: int | None = None


def origin(surface: str) -> str:
    """From where a change of this machine comes: what made it, who runs it, and the host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        user = f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return f"{surface} {user}@{socket.gethostname()}"


class Trail(Protocol):
    """Where changes are put on record.

    Raises:
        Unavailable: the record could not be made; the change must not stand then.
    """

    def together(self) -> AbstractContextManager[None]:
        """Make one of all that is written to the database inside the block and of what is recorded in it: both stand, or neither."""
        ...

    def record(self, change: Change, /) -> int:
        """Put one change on record; returns its number in the tenant's chain."""
        ...
