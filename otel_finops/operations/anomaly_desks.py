"""What the operations on anomalies ask of the rooms below."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from otel_finops.trees.queries import Tenants, TraceSummary

if TYPE_CHECKING:  # these rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.insight.anomaly_desk import Compared
    from otel_finops.insight.anomaly_scan import Looked, Times
    from otel_finops.insight.anomaly_store import Finding, Mute, Note, Wanted
    from otel_finops.insight.anomaly_watch import Outcome
    from otel_finops.ledger.spend import Question


class Anomalies(Protocol):
    """Days and hours of spend that stand out, and what people say of them.

    Raises:
        NotFound: there is none such for these tenants.
        Busy, Unavailable: the store cannot answer now.
    """

    def run(self, days: int | None, hours: int | None, *, dry_run: bool) -> Outcome:
        """Look at the last days and hours, as many as by the clock for None; raises Busy while somebody else looks."""
        ...

    def page(self, wanted: Wanted) -> tuple[Sequence[Finding], Sequence[Mute]]:
        """Anomalies, newest first, and all mutes that hold."""
        ...

    def find(self, no: int, tenants: Tenants) -> tuple[Finding, Sequence[Note], Sequence[Mute]]:
        """One of them, what was said of it, oldest first, and all mutes that hold."""
        ...

    def traces(self, one: Finding, limit: int) -> Sequence[TraceSummary]:
        """Its dearest traces."""
        ...

    def note(self, no: int, tenants: Tenants, said: Note, *, dry_run: bool) -> tuple[Finding, Finding]:
        """Acknowledge it, or take that back; before and after, the same where it was so already."""
        ...

    def mutes(self, tenants: Tenants) -> Sequence[Mute]:
        """The mutes that hold, of these tenants and of all, oldest first."""
        ...

    def mute(self, mute: Mute, *, dry_run: bool) -> Mute:
        """Mute from now on; raises BadInput when there are too many."""
        ...

    def unmute(self, no: int, tenants: Tenants, *, who: str, dry_run: bool) -> Mute:
        """End a mute; as it was."""
        ...

    def course(self, tenants: Tenants, filters: Mapping[str, Collection[str]], times: Times) -> Sequence[Looked]:
        """Any group's last pieces of time, judged."""
        ...

    def compare(self, question: Question, span: tuple[int, int], against: tuple[int, int]) -> Compared:
        """What drives the difference between two times of any group."""
        ...
