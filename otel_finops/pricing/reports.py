"""Which stated costs are booked: what the provider or gateway itself answered, if the computed price does not contradict it."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.money import PICO_PER_USD
from otel_finops.genai import reported
from otel_finops.pricing.selectors import PaidCall, Selector, UserRefs
from otel_finops.settings.money import Pricing, TrustedReports

Verdict: TypeAlias = Literal["stands", "outside_band", "not_trusted"]
"""`stands`: it is booked. `outside_band`: the computed price contradicts it and is booked. `not_trusted`: somebody only reckoned it."""

_ANSWERS: Final = frozenset({("openrouter", reported.OPENROUTER), ("perplexity", reported.PERPLEXITY), ("xai", reported.XAI)})
"""Who answers with what a call cost, and where it stands. A field of this name in anybody else's answer may mean anything."""
_SHORT_NAMES: Final = {"litellm": reported.LITELLM}


class TrustedSource(NamedTuple):
    """Sources that the operator believes, for the calls that are selected."""

    sources: frozenset[str]
    selector: Selector


class ReportRules(NamedTuple):
    """What is believed, and within which bounds.

    Attributes:
        trusted: besides the providers' answers.
        factor: the computed price divided and multiplied by it are the bounds.
        slack_pico: what the upper bound may be passed by: fees that spans do not show.
    """

    trusted: tuple[TrustedSource, ...] = ()
    factor: Fraction = Fraction(10)
    slack_pico: int = 2 * PICO_PER_USD // 100

    @classmethod
    def of(cls, settings: Pricing) -> ReportRules:
        """The rules that the settings describe."""
        factor, slack = Fraction(repr(settings.report_factor)), Fraction(repr(settings.report_slack))
        return cls(tuple(_sources(settings.trusted_reports)), factor, round(slack * PICO_PER_USD))

    def bound(self, refs: UserRefs) -> ReportRules:
        """See `Selector.bound`."""
        return self._replace(trusted=tuple([one._replace(selector=one.selector.bound(refs)) for one in self.trusted]))

    def verdict(self, call: PaidCall, computed_pico: int | None) -> Verdict | None:
        """What becomes of the call's stated cost beside its computed price (None: it has none); None without a stated cost."""
        if call.reported_pico is None:
            return None
        if not self._trusts(call):
            return "not_trusted"
        return "stands" if computed_pico is None or self._within(call.reported_pico, computed_pico) else "outside_band"

    def _trusts(self, call: PaidCall) -> bool:
        source = call.reported_source
        if (call.provider, source) in _ANSWERS:
            return True
        return any(source in one.sources and one.selector.fits(call) for one in self.trusted)

    def _within(self, stated: int, computed: int) -> bool:
        """Between computed / factor and computed * factor + slack, both included."""
        return stated * self.factor >= computed and stated <= computed * self.factor + self.slack_pico


BUILT_IN_REPORTS: Final = ReportRules()
"""The providers' answers, within the bounds that hold when nothing is set."""


def _sources(given: Iterable[str | TrustedReports]) -> Iterable[TrustedSource]:
    """A source's name may stand alone in the list."""
    for said in given:
        one = TrustedReports(source=said) if isinstance(said, str) else said
        yield TrustedSource(_SHORT_NAMES.get(one.source, frozenset({one.source})), Selector.of(one))
