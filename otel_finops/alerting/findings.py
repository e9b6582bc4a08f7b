"""What rules find at a check, and who finds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from otel_finops.alerting.notices import Severity
from otel_finops.alerting.rules import Rule


class Finding(NamedTuple):
    """One thing that a rule is about, as it stands at a check.

    Attributes:
        key: the same at every check for as long as it is the same thing.
        tenant: whom it is about; "": all together.
        title: one line.
        text: a sentence or two with the figures.
        labels: short names, to route and group by.
        figures: decimal strings by name, money in USD.
        level: how far it has gone, where it goes further in steps: a higher one than was told is told again.
        severity: how bad it is; None: as the rule says.
        since_ns: since when it holds; None: since it was first found.
        link: path of the page that shows it; "" for none.
        lasting: it holds until it is gone, which is told; False: it happened, and nobody is told of its end.
    """

    key: str
    tenant: str
    title: str
    text: str
    labels: Mapping[str, str] = {}
    figures: Mapping[str, str] = {}
    level: int = 0
    severity: Severity | None = None
    since_ns: int | None = None
    link: str = ""
    lasting: bool = True


class Feed(Protocol):
    """Who knows of the things that rules of one kind are about."""

    def __call__(self, rule: Rule, now_ns: int, since_ns: int) -> Sequence[Finding]:
        """What holds now; and what came and went since the last check, once.

        Args:
            since_ns: of the rule's last check that found out; of a rule that was never checked, now.

        Raises:
            FinopsError: it cannot be told now; nothing is taken to be over for that.
        """
        ...
