"""`/metrics`: the ledger's counters and the service's own, in the Prometheus text format or OpenMetrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as Sample

from otel_finops.base.errors import Unavailable
from otel_finops.base.limits import SERIES_MAX
from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.genai.usage import PROMPT_UNITS
from otel_finops.metrics import catalog
from otel_finops.metrics.series_guard import LabelValues, SeriesGuard, safe_label

_log: Final = logging.getLogger(__name__)

TOKEN_TYPES: Final = (*PROMPT_UNITS, "output")
"""The usage keys that do not overlap; parts such as `reasoning` would be counted twice in a sum over types."""

_INF_BUCKET: Final = "+Inf"


class Exemplar(NamedTuple):
    """One entry that a counter can be explained by.

    Attributes:
        trace_id: 32 digits of lower-case hex.
        value_pico: the entry's cost, pico-USD.
        at_ns: when it was recorded, Unix nanoseconds.
    """

    trace_id: str
    value_pico: int
    at_ns: int


class CounterRow(NamedTuple):
    """What the ledger has counted for one set of dimensions, positive and negative amounts apart; nothing ever goes down.

    Attributes:
        dimensions: by name: provider, model, operation, cost_method, unpriced_reason, tenant, agent, cost_center; absent
            and "" both stand for "not known". Further names are ignored.
        cost_pico, reversed_pico: exact pico-USD of any size, both positive.
        calls, reversed_calls, unpriced_calls: counts.
        tokens, reversed_tokens: by usage key; absent is zero.
        exemplar: the newest charge; None when there is none.
    """

    dimensions: Mapping[str, str]
    cost_pico: int = 0
    reversed_pico: int = 0
    calls: int = 0
    reversed_calls: int = 0
    unpriced_calls: int = 0
    tokens: Mapping[str, int] = {}
    reversed_tokens: Mapping[str, int] = {}
    exemplar: Exemplar | None = None


class Counters(NamedTuple):
    """Everything that `/metrics` says about the ledger, read at one moment.

    Attributes:
        rows: in the order in which their dimensions first appeared in the ledger. It is the same order in every answer, new
            dimensions come last, and no row ever leaves: the cap on series relies on it.
        conflicts: spans that were sent again with other content.
        pending_pico: quotes of what is not settled yet.
        price_book_age_s: seconds since the price snapshot was made; None when it bears no date.
        decisions: on calls, by action and whether they were only observed (`true`, `false`).
        policy_failures: conditions that could not be evaluated.
    """

    rows: Iterable[CounterRow]
    conflicts: int
    pending_pico: int
    price_book_age_s: float | None
    decisions: Mapping[tuple[str, str], int] = {}
    policy_failures: int = 0


class CounterSource(Protocol):
    """Where the counters come from.

    Raises:
        Unavailable: the store is away.
    """

    def __call__(self) -> Counters:
        """Everything counted so far, read in one snapshot."""
        ...


class Exposition(NamedTuple):
    """An answer of `/metrics`: body and content type."""

    body: bytes
    content_type: str


class _Tally:
    """What is added up for one series."""

    __slots__ = ("calls", "cost_pico", "exemplar", "reversed_calls", "reversed_pico", "reversed_tokens", "tokens", "unpriced_calls")

    def __init__(self) -> None:
        self.cost_pico = self.reversed_pico = 0
        self.calls = self.reversed_calls = self.unpriced_calls = 0
        self.tokens = dict.fromkeys(TOKEN_TYPES, 0)
        self.reversed_tokens = dict.fromkeys(TOKEN_TYPES, 0)
        self.exemplar: Exemplar | None = None

    def add(self, row: CounterRow) -> None:
        self.cost_pico += row.cost_pico
        self.reversed_pico += row.reversed_pico
        self.calls += row.calls
        self.reversed_calls += row.reversed_calls
        self.unpriced_calls += row.unpriced_calls
        _add_tokens(self.tokens, row.tokens)
        _add_tokens(self.reversed_tokens, row.reversed_tokens)
        if row.exemplar and (self.exemplar is None or _newness(row.exemplar) > _newness(self.exemplar)):
            self.exemplar = row.exemplar

    @property
    def counted(self) -> bool:
        """Anything at all was added: what begins at zero and stays there is no series."""
        return bool(self.cost_pico or self.reversed_pico or self.calls or self.reversed_calls)


def _add_tokens(sums: dict[str, int], counts: Mapping[str, int]) -> None:
    for unit, count in counts.items():
        if unit in sums:
            sums[unit] += count


def _newness(exemplar: Exemplar) -> tuple[int, str]:
    return exemplar.at_ns, exemplar.trace_id


def _usd(pico: int) -> float:
    """The nearest floating point number; division of integers is correctly rounded whatever their size."""
    return pico / PICO_PER_USD


def _cost_sample(tally: _Tally) -> Sample | None:
    return _sample(tally.exemplar, _usd(tally.exemplar.value_pico)) if tally.exemplar else None


def _call_sample(tally: _Tally) -> Sample | None:
    return _sample(tally.exemplar, 1.0) if tally.exemplar else None


def _no_sample(_: _Tally) -> None:
    return None


def _sample(exemplar: Exemplar, value: float) -> Sample:
    return Sample({"trace_id": exemplar.trace_id}, value, exemplar.at_ns / NS_PER_SECOND)


def _tallies(rows: Sequence[CounterRow], dimensions: Sequence[str], capacity: int) -> SeriesGuard[_Tally]:
    guard = SeriesGuard(len(dimensions), capacity, _Tally)
    for row in rows:
        guard.series(tuple(safe_label(row.dimensions.get(name) or "") for name in dimensions)).add(row)
    return guard


def _counter(metric: catalog.Metric, extra: Sequence[str], samples: Iterable[tuple[LabelValues, float, Sample | None]]) -> Family:
    names = _label_names(metric, extra)
    family = Family(metric.name, metric.meaning, "counter")
    for values, value, exemplar in samples:
        family.add_sample(f"{metric.name}_total", dict(zip(names, values, strict=True)), value, exemplar=exemplar)
    return family


def _label_names(metric: catalog.Metric, extra: Sequence[str]) -> tuple[str, ...]:
    """The metric's own labels and the opted-in ones, `type` and its like last, where the values of a tally end."""
    own = metric.labels
    if own[-1:] in {("type",), ("gen_ai_token_type",)}:
        return (*own[:-1], *extra, own[-1])
    return (*own, *extra)


class LedgerCollector(Collector):
    """The ledger's metrics (`catalog.LEDGER_METRICS`).

    Args:
        source: asked once a scrape.
        labels: opted-in labels, out of `catalog.OPT_IN_LABELS`.
        genai_labels: fixed labels on the `gen_ai_*` names.
        series_max: most series of one metric.
    """

    def __init__(
        self,
        source: CounterSource,
        *,
        labels: Sequence[str] = (),
        genai_labels: Mapping[str, str] | None = None,
        series_max: int = SERIES_MAX,
    ) -> None:
        unknown = set(labels) - set(catalog.OPT_IN_LABELS)
        if unknown:
            raise ValueError(f"no such metric labels: {', '.join(sorted(unknown))}; there are {', '.join(catalog.OPT_IN_LABELS)}")
        self._source = source
        self._extra = tuple(name for name in catalog.OPT_IN_LABELS if name in labels)
        self._fixed = dict(genai_labels or {})
        self._series_max = series_max

    def collect(self) -> Iterator[Family]:
        """All families of one reading; the ledger's own only while the store answers."""
        try:
            counters = self._source()
            rows = list(counters.rows)
        except Unavailable as fault:
            _log.warning("metrics of the ledger are left out of this scrape: %s", fault)
            yield GaugeMetricFamily(catalog.LEDGER_READABLE.name, catalog.LEDGER_READABLE.meaning, value=0)
            return
        yield GaugeMetricFamily(catalog.LEDGER_READABLE.name, catalog.LEDGER_READABLE.meaning, value=1)
        yield from self._gauges(counters)
        yield from self._counters(rows)
        yield from self._token_counters(rows)
        yield self._unpriced(rows)
        yield from self._genai(rows)

    def _gauges(self, counters: Counters) -> Iterator[Family]:
        yield CounterMetricFamily(catalog.CONFLICTS.name, catalog.CONFLICTS.meaning, value=counters.conflicts)
        decided = CounterMetricFamily(catalog.DECISIONS.name, catalog.DECISIONS.meaning, labels=catalog.DECISIONS.labels)
        for labels, count in sorted(counters.decisions.items()):
            decided.add_metric(list(labels), count)
        yield decided
        yield CounterMetricFamily(catalog.POLICY_FAILURES.name, catalog.POLICY_FAILURES.meaning, value=counters.policy_failures)
        yield GaugeMetricFamily(catalog.PENDING.name, catalog.PENDING.meaning, value=_usd(counters.pending_pico))
        if counters.price_book_age_s is not None:
            yield GaugeMetricFamily(catalog.PRICE_AGE.name, catalog.PRICE_AGE.meaning, value=counters.price_book_age_s)

    def _counters(self, rows: Sequence[CounterRow]) -> Iterator[Family]:
        tallies = _tallies(rows, (*catalog.DEFAULT_LABELS, *self._extra), self._series_max)
        readings: tuple[tuple[catalog.Metric, Callable[[_Tally], float], Callable[[_Tally], Sample | None]], ...] = (
            (catalog.COST, lambda tally: _usd(tally.cost_pico), _cost_sample),
            (catalog.CALLS, lambda tally: tally.calls, _call_sample),
            (catalog.REVERSED_COST, lambda tally: _usd(tally.reversed_pico), _no_sample),
            (catalog.REVERSED_CALLS, lambda tally: tally.reversed_calls, _no_sample),
        )
        for metric, read, sample in readings:
            yield _counter(metric, self._extra, ((values, read(tally), sample(tally)) for values, tally in tallies if tally.counted))

    def _token_counters(self, rows: Sequence[CounterRow]) -> Iterator[Family]:
        capacity = max(1, self._series_max // len(TOKEN_TYPES))
        tallies = _tallies(rows, (*catalog.DEFAULT_LABELS, *self._extra), capacity)
        used = [
            ((*values, unit), tally.tokens[unit], tally.reversed_tokens[unit])
            for values, tally in tallies
            for unit in TOKEN_TYPES
            if tally.tokens[unit] or tally.reversed_tokens[unit]
        ]
        yield _counter(catalog.TOKENS, self._extra, ((values, gross, None) for values, gross, _ in used))
        yield _counter(catalog.REVERSED_TOKENS, self._extra, ((values, reversed_, None) for values, _, reversed_ in used))

    def _unpriced(self, rows: Sequence[CounterRow]) -> Family:
        unpriced = [row for row in rows if row.dimensions.get("unpriced_reason")]
        tallies = _tallies(unpriced, ("provider", "model", "unpriced_reason", *self._extra), self._series_max)
        samples = ((values, tally.unpriced_calls, None) for values, tally in tallies if tally.unpriced_calls)
        return _counter(catalog.UNPRICED, self._extra, samples)

    def _genai(self, rows: Sequence[CounterRow]) -> Iterator[Family]:
        names = ("operation", "provider", "model", *self._extra)
        cost = HistogramMetricFamily(catalog.GENAI_COST.name, catalog.GENAI_COST.meaning)
        for values, tally in _tallies(rows, names, self._series_max):
            priced_calls = tally.calls - tally.unpriced_calls
            if priced_calls or tally.cost_pico:
                self._observe(cost, values, None, priced_calls, _usd(tally.cost_pico), _cost_sample(tally))
        yield cost
        tokens = HistogramMetricFamily(catalog.GENAI_TOKENS.name, catalog.GENAI_TOKENS.meaning)
        for values, tally in _tallies(rows, names, max(1, self._series_max // 2)):
            prompt = sum(tally.tokens[unit] for unit in PROMPT_UNITS)
            for token_type, count in (("input", prompt), ("output", tally.tokens["output"])):
                if count:
                    self._observe(tokens, values, token_type, tally.calls, count, None)
        yield tokens

    def _observe(
        self, family: HistogramMetricFamily, values: LabelValues, token_type: str | None, count: int, total: float, exemplar: Sample | None
    ) -> None:
        operation, provider, model, *extra = values
        labels = {
            **self._fixed,
            "gen_ai_operation_name": operation,
            "gen_ai_provider_name": provider,
            "gen_ai_system": provider,
            "gen_ai_request_model": model,
            "gen_ai_response_model": model,
            **dict(zip(self._extra, extra, strict=True)),
        }
        if token_type:
            labels["gen_ai_token_type"] = token_type
        family.add_sample(f"{family.name}_bucket", {**labels, "le": _INF_BUCKET}, count, exemplar=exemplar)
        family.add_sample(f"{family.name}_count", labels, count)
        family.add_sample(f"{family.name}_sum", labels, total)


class MetricsPage:
    """Renders `/metrics` out of collectors; safe to be called from several threads.

    Args:
        collectors: the ledger's, the service's own, and whatever later rooms add.
        process: also the process's CPU time, memory and open files.
    """

    def __init__(self, *collectors: Collector, process: bool = True) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in collectors:
            self._registry.register(collector)
        if process:
            ProcessCollector(registry=self._registry)

    def render(self, accept: str | None) -> Exposition:
        """The page in the format that the Accept header prefers; the Prometheus text format when there is none."""
        encode, content_type = choose_encoder(accept or "")
        return Exposition(encode(self._registry), content_type)
