"""What-if and routing over a store: what `operations.insight_desks.WhatIfs` and `Routing` promise."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput
from otel_finops.base.limits import QUALITY_FILE_BYTES_MAX, WHATIF_LOCAL_S_MAX, WHATIF_S_MAX
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import NS_PER_DAY
from otel_finops.insight.definitions import Definitions
from otel_finops.insight.quality import ModelOutcomes, Score, Wanted, from_outcomes, score_of
from otel_finops.insight.quality_store import QualityStore, standing_scores
from otel_finops.insight.repricing import Repriced, Repricings
from otel_finops.insight.routing import Assessment, Candidate, Priced, assess
from otel_finops.insight.traffic import Selection
from otel_finops.insight.whatif import Change, Compared, has_price
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.sources.fetch import fetch, shown_url
from otel_finops.settings.quality import Quality
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

OutcomeFeed = Callable[[Transaction, Selection], Sequence[ModelOutcomes]]
"""How the work of models came out, of the outcomes that a selection of calls stands for."""


class WhatIfDesk:
    """See `WhatIfs`. Safe to use from many threads.

    Args:
        local: somebody works on the database itself, whom no request waits for: reading may take longer.
    """

    def __init__(self, store: Store, clock: Clock, engine: Callable[[], PriceEngine], *, local: bool) -> None:
        self._repricings = Repricings(store, engine, WHATIF_LOCAL_S_MAX if local else WHATIF_S_MAX)
        self.scenarios = Definitions(store, clock, "scenario")

    @property
    def engine(self) -> PriceEngine:
        """See `WhatIfs.engine`."""
        return self._repricings.engine

    def run(self, selection: Selection, changes: Sequence[Change]) -> Repriced:
        """See `WhatIfs.run`."""
        return self._repricings.run(selection, changes)


class Simulated(NamedTuple):
    """What a routing rule comes to.

    Attributes:
        compared: the calls, by the candidates that the price book has.
        until_ns: up to when calls were read.
        assessment: all candidates, judged.
        numbers: of the candidates, by their place, which of the comparison's changes they are.
        score_of: the score that counts for a recorded provider and model.
    """

    compared: Compared
    until_ns: int
    assessment: Assessment
    numbers: Mapping[int, int]
    score_of: Callable[[str | None, str], Score | None]


class RoutingDesk:
    """See `Routing`. Safe to use from many threads.

    Args:
        outcomes: of the ledger; None where they are switched off.
        files: whoever asks may have files read and URLs fetched; otherwise scores come as bytes, or from where the settings say.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        engine: Callable[[], PriceEngine],
        settings: Quality,
        outcomes: OutcomeFeed | None,
        *,
        files: bool,
    ) -> None:
        self._store = store
        self._clock = clock
        self._repricings = Repricings(store, engine, WHATIF_LOCAL_S_MAX if files else WHATIF_S_MAX)
        self._settings = settings
        self._outcomes = outcomes
        self._files = files
        self.rules = Definitions(store, clock, "routing")
        self.quality = QualityStore(store, clock)

    def scores(self, tenants: Collection[str] | None) -> list[Score]:
        """See `Routing.scores`."""
        now_ns = self._clock.now_ns()
        own = next(iter(tenants)) if tenants is not None and len(tenants) == 1 else ANY_TENANT
        with self._store.read() as transaction:
            return self._scores(transaction, Selection(tenants, 0, now_ns + 1), own)

    def simulate(
        self, selection: Selection, candidates: Sequence[Candidate], wanted: Wanted, bar: Fraction, *, own: str, allow_unknown: bool
    ) -> Simulated:
        """See `Routing.simulate`."""
        engine = self._repricings.engine
        priced = [place for place, one in enumerate(candidates) if has_price(engine, one.provider, one.model)]
        changes = [Change(candidates[place].provider, candidates[place].model) for place in priced]
        with self._store.read() as transaction:
            scores = self._scores(transaction, selection, own)
            found = self._repricings.read(transaction, selection, changes)
        total = found.compared.total

        def score(provider: str | None, model: str) -> Score | None:
            return score_of(scores, provider, model, wanted, own)

        picos = dict(zip(priced, total.projected, strict=True))
        offered = [Priced(one, picos.get(place), score(one.provider, one.model)) for place, one in enumerate(candidates)]
        assessment = assess(offered, total.calls, bar, allow_unknown=allow_unknown)
        return Simulated(found.compared, found.until_ns, assessment, {place: number for number, place in enumerate(priced)}, score)

    def _scores(self, transaction: Transaction, selection: Selection, own: str) -> list[Score]:
        """Imported scores that may be seen, and those that the ledger's outcomes are."""
        scores = standing_scores(transaction, selection.tenants)
        if self._outcomes is None:
            return scores
        now_ns = self._clock.now_ns()
        lately = selection._replace(from_ns=max(0, now_ns - self._settings.outcome_days * NS_PER_DAY), to_ns=now_ns + 1)
        return [*scores, *from_outcomes(self._outcomes(transaction, lately), own)]

    def fetched(self, origin: str | None) -> tuple[bytes, str]:
        """See `Routing.fetched`."""
        wanted = origin or self._settings.import_from
        if not wanted:
            raise BadInput("give `from`, a file or URL, or `content`, the file itself in base64; or set quality.import_from")
        if not self._files and wanted != self._settings.import_from:
            raise BadInput("from: over the API scores are fetched from quality.import_from only; send the file itself as `content`")
        if "://" in wanted:
            return fetch(wanted, pinned=False, timeout_s=self._settings.timeout), shown_url(wanted)
        name = Path(wanted).name
        try:
            with Path(wanted).open("rb") as file:
                return file.read(QUALITY_FILE_BYTES_MAX + 1), name
        except (OSError, ValueError) as fault:
            raise BadInput(f"{name}: cannot be read: {getattr(fault, 'strerror', None) or type(fault).__name__}") from fault
