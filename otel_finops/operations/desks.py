"""What operations change and ask for, as protocols, by the desk that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

from otel_finops.settings.tree import ApiToken, SenderToken
from otel_finops.trees.queries import Tenants

if TYPE_CHECKING:  # these rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.governance.kill_switches import Attempt, Switch, Target
    from otel_finops.identity.desk import Made, Rotated
    from otel_finops.identity.stored import StoredToken, TokenDraft
    from otel_finops.ledger.correction_runs import CorrectionRun
    from otel_finops.ledger.corrections import Corrected, Selection
    from otel_finops.ledger.fee_spread import Coverage, Spread
    from otel_finops.ledger.fx_store import CurrencySpan, Imported
    from otel_finops.ledger.periods import Period
    from otel_finops.ledger.price_refresh import Given, Refreshed
    from otel_finops.ledger.price_rules import Draft, Rule
    from otel_finops.ledger.price_store import Activation, StoredList
    from otel_finops.ledger.price_watches import Watch
    from otel_finops.ledger.pruned import PrunedMonth
    from otel_finops.ledger.quarantine import Held, Retried
    from otel_finops.ledger.subscription_windows import SubscriptionWindow
    from otel_finops.ledger.unpriced import Unpriced, UnpricedQuery, UnpricedTotals
    from otel_finops.operations.money_desk import DayRate
    from otel_finops.operations.price_lists import Book, Compared, Contested
    from otel_finops.operations.pricing_desk import Ruled
    from otel_finops.operations.watch_desk import Watched
    from otel_finops.pricing.cascade import Cascade
    from otel_finops.pricing.diff import Diff
    from otel_finops.pricing.engine import PriceEngine
    from otel_finops.settings.money import SubscriptionRule


class Prices(Protocol):
    """The active price book, and the lists that make it.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    def status(self) -> Book:
        """What it is and how old, its lists, and the last refresh."""
        ...

    def show(self, provider: str | None, model: str, at_ns: int) -> Mapping[str, Any] | None:
        """The row that a call of this model would be priced by, as `{key, match, provider, mode, rates, prices,
        version, retired}`; None when
        there is none.
        """
        ...

    def models(
        self, search: str | None, provider: str | None, source: str | None, start: int, limit: int, at_ns: int
    ) -> tuple[Sequence[Mapping[str, Any]], int]:
        """A page of the book's rows by key, live ones first, and how many there are: part of the key, provider family, source."""
        ...

    def history(self, provider: str | None, model: str, now_ns: int) -> Sequence[Mapping[str, Any]]:
        """What a model is priced by from one change to the next, oldest first, those that are announced included: `{from_ns, to_ns, kind,
        key, version, retired, prices}`; a key of None where it has no price.
        """
        ...

    def differences(self) -> Contested:
        """The prices on which the list and the second source differ; the list's hold."""
        ...

    def fetched(self, origin: str | None, sha256: str | None, *, who: str) -> tuple[bytes, str]:
        """The bytes of a list and how its place may be named; None: the place that the settings name.

        Raises:
            BadInput, TooLarge: a place from which nothing is fetched, or where nothing is.
        """
        ...

    def refresh(self, given: Given, *, who: str, dry_run: bool) -> Refreshed:
        """Make a list part of the book; raises BadInput or TooLarge when it is refused, the book is unchanged then."""
        ...

    def diff(self, before: str | None, after: str | None, given: Given | None) -> Compared:
        """What changes between two stored lists, by their versions, or from the active one to a list that is given.

        Raises:
            NotFound: there is no such list.
            BadInput, TooLarge: the given list cannot be read.
        """
        ...

    def lists(self) -> Sequence[tuple[StoredList, Sequence[Activation]]]:
        """All stored lists, oldest first, each with its activations."""
        ...

    def activate(self, version: str, valid_from_ns: int | None, *, who: str) -> tuple[Activation | None, StoredList, Diff]:
        """Make a stored list the active one of its source, None when it is so already; raises NotFound when there is no such list."""
        ...


class Watches(Protocol):
    """Models whose prices somebody watches.

    Attributes:
        days: how many days are looked at when nobody says.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    days: int

    def add(self, tenant: str, provider: str | None, model: str, *, who: str) -> tuple[Watch, bool]:
        """Watch a model, False: it is watched so already; raises BadInput when there are too many watches."""
        ...

    def end(self, no: int, tenants: Tenants, *, who: str) -> tuple[Watch, bool]:
        """End a watch, False: it was ended already; raises NotFound when there is none of this number for these tenants."""
        ...

    def all(self, tenants: Tenants) -> Sequence[Watch]:
        """The watches of these tenants and of everybody, oldest first."""
        ...

    def changes(self, tenants: Tenants, days: int, no: int | None) -> Sequence[Watched]:
        """Changes of the last days and those announced, latest first, with what the calls of these days would have cost."""
        ...


class Pricing(Protocol):
    """House rules, and the questions people ask of prices.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    def engine(self) -> PriceEngine:
        """The price book of this moment, with all rules."""
        ...

    def money_rules(self) -> Cascade:
        """Accounts, discounts and flat fees of this moment."""
        ...

    def lately(self) -> tuple[PriceEngine, Cascade]:
        """Both as they were some seconds ago at most: for those who must not wait for the store. Raises only as long as it never
        answered.
        """
        ...

    def rules(self) -> Sequence[Rule]:
        """Every rule ever set, oldest first."""
        ...

    def set_rule(self, draft: Draft, *, who: str, why: str, repricing: bool, dry_run: bool) -> Ruled:
        """Set a rule and, when asked to, reprice the calls without a price that it gives one; a dry run writes nothing.

        Raises:
            BadInput: another rule says something of the same name at the same time.
        """
        ...

    def end_rule(self, no: int, at_ns: int | None, *, who: str, why: str, dry_run: bool) -> Rule:
        """End a rule at an instant, or (None) withdraw it; raises NotFound, and BadInput when it holds no longer then anyway."""
        ...

    def unpriced(self, query: UnpricedQuery) -> tuple[Sequence[Unpriced], UnpricedTotals]:
        """A page of models without a price, and the sums over all pages; raises BadInput for a window that ends before it begins."""
        ...

    def nearest(self, name: str, provider: str | None) -> Sequence[str]:
        """Price keys that look like the name, best first: suggestions for people, never prices."""
        ...


class Money(Protocol):
    """Exchange rates and flat fees.

    Raises:
        Busy, Unavailable: the store cannot answer now.
        MissingRate: there is no exchange rate for a day that is asked for; the message says what to import.
    """

    @property
    def today(self) -> str:
        """The day (UTC) by our clock."""
        ...

    def fetched(self, origin: str, *, pinned: bool) -> tuple[bytes, str]:
        """The bytes of a file or URL and how its place may be named; raises BadInput where none may be read.

        `pinned`: the digest that it must have is known, so that plain http will do.
        """
        ...

    def import_rates(self, content: bytes, origin: str, who: str, sha256: str | None) -> Imported:
        """Store a file's rates; raises BadInput or TooLarge when it is refused, nothing is stored then."""
        ...

    def currencies(self) -> Sequence[CurrencySpan]:
        """The currencies that have rates."""
        ...

    def rate(self, currency: str, day: str) -> DayRate:
        """What one US dollar is in a currency on a day."""
        ...

    def coverages(self) -> Sequence[Coverage]:
        """Every begun period of every subscription with what it covered."""
        ...

    def windows(self) -> Sequence[SubscriptionWindow]:
        """Every flat fee that was ever stored, oldest first."""
        ...

    def add_window(self, rule: SubscriptionRule, *, who: str, why: str, dry_run: bool) -> SubscriptionWindow:
        """Store a flat fee; raises BadInput when its id is taken, or there are too many."""
        ...

    def end_window(
        self, name: str, at_ns: int | None, *, who: str, why: str, dry_run: bool
    ) -> tuple[SubscriptionWindow, SubscriptionWindow]:
        """End a stored flat fee at an instant, or (None) withdraw it; as it stood and as it stands. Raises NotFound and BadInput."""
        ...

    def spread(self, who: str, why: str) -> Spread:
        """Spread the fees of all periods that are over."""
        ...


class Corrections(Protocol):
    """Correcting what is booked, and closing months.

    Raises:
        Busy: somebody else appends for too long; of a correction, what was done so far stands.
        Unavailable: the store cannot answer now.
    """

    def reprice(self, selection: Selection, *, who: str, why: str, dry_run: bool) -> Corrected:
        """Book what calls cost by today's prices more or less than what stands; a dry run comes to the same numbers."""
        ...

    def estimate(self, selection: Selection, *, who: str, why: str, dry_run: bool) -> Corrected:
        """Charge calls without usage by what such calls used to take."""
        ...

    def allowances(self, selection: Selection, *, who: str, why: str, dry_run: bool) -> Corrected:
        """Book the searches that free allowances cover, over all tenants."""
        ...

    def runs(self, before_no: int | None, limit: int) -> Sequence[CorrectionRun]:
        """A page of runs that corrected something, newest first; `before_no` is the last number of the page before."""
        ...

    def run_of(self, shard: int, block_seq: int) -> CorrectionRun | None:
        """The run that wrote a block."""
        ...

    def periods(self, tenants: Tenants) -> Sequence[Period]:
        """The months, newest first, with the sums of these tenants."""
        ...

    def close(self, month: str, *, who: str, why: str, dry_run: bool) -> Sequence[str]:
        """Close a month and those before it; returns which, in a dry run only that. Raises BadInput for one not over or closed already."""
        ...


class Switches(Protocol):
    """Kill switches.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    def all(self) -> Sequence[Switch]:
        """Those that are set: the settings' first, then by scope and name."""
        ...

    def history(self, tenants: Tenants, before_no: int | None, limit: int) -> Sequence[Switch]:
        """A page of switchings that concern these tenants, newest first; `before_no` is the last number of the page before."""
        ...

    def set(self, target: Target, *, who: str, why: str, tenants: Tenants = None, dry_run: bool = False) -> tuple[Switch, Switch | None]:
        """Stop calls; returns the switch and the one that stood in its place. `tenants` are those whom who switches sees.

        Raises BadInput for too many, Forbidden where it would take the place of one that only who sees all tenants may change.
        """
        ...

    def clear(self, target: Target, *, who: str, why: str, tenants: Tenants = None, dry_run: bool = False) -> Switch:
        """Let calls pass again; returns what was set. `tenants` are those whom who switches sees.

        Raises NotFound when it was not set, BadInput for a switch of the settings, Forbidden as `set`.
        """
        ...

    def stopping(self, call: Attempt) -> Sequence[Switch]:
        """The switches that stop a call now."""
        ...


class Quarantined(Protocol):
    """Spans that cannot be recorded; whose they are is an argument of all of it: those of the tenants' own realms, None for all.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    def held(self, tenants: Tenants, *, realm: str | None = None, before_no: int | None = None, limit: int) -> Sequence[Held]:
        """A page, newest first, of one realm or of all; `before_no` is the last number of the page before."""
        ...

    def retry(self, tenants: Tenants, no: int | None) -> Retried:
        """Record one, or (None) all, once more; raises NotFound when there is no such span for these tenants."""
        ...

    def drop(self, tenants: Tenants, no: int | None) -> Sequence[Held]:
        """Forget one, or (None) all; raises NotFound when there is no such span for these tenants."""
        ...


class Tokens(Protocol):
    """Stored tokens of one kind; whose they are is an argument: those that reach nobody but these tenants, None for all.

    Attributes:
        settings: the tokens of the settings, which only the settings take back.

    Raises:
        NotFound: there is no stored token of this number for these tenants.
        Busy, Unavailable: the store cannot answer now.
    """

    @property
    def settings(self) -> Sequence[ApiToken | SenderToken]:
        """Tokens of the settings."""
        ...

    def page(self, tenants: Tenants, before_no: int | None, limit: int, prefix: str = "") -> Sequence[StoredToken]:
        """A page, newest first, of those that begin so; `before_no` is the last number of the page before."""
        ...

    def find(self, no: int, tenants: Tenants) -> StoredToken:
        """The token of this number."""
        ...

    def create(self, draft: TokenDraft, *, who: str, dry_run: bool) -> Made:
        """Make a token; raises BadInput when there are too many."""
        ...

    def rotate(self, no: int, tenants: Tenants, *, expires_ns: int | None, overlap_ns: int, who: str, dry_run: bool) -> Rotated:
        """Make a successor; the former token ends after the overlap. Raises BadInput for one that holds no longer, or has a successor."""
        ...

    def revoke(self, no: int, tenants: Tenants, *, who: str) -> tuple[StoredToken, StoredToken]:
        """Before and after; the same twice when it was revoked already."""
        ...

    def may_make_the_first(self) -> bool:
        """Whether there never was a stored token for an admin of all tenants. With True others wait until this thread's change is over."""
        ...


class Keyed(NamedTuple):
    """A change that was asked for under a key.

    Attributes:
        holder: digest of the principal; keys of others are other keys.
        key: digest of what the client sent.
        operation: its name.
        given: digest of its input.
    """

    holder: str
    key: str
    operation: str
    given: str


class Replayed(dict[str, Any]):
    """An answer that was stored when the change was made, given once more."""


class Answers(Protocol):
    """Stored answers of changes that were asked for under a key.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    def claim(self, asked: Keyed, /) -> Replayed | None:
        """Take the key for this change (None), or give the answer that is stored under it.

        Raises:
            KeyReused: the key belongs to another operation or input.
            Conflict: the change was begun and is not done yet.
        """
        ...

    def keep(self, asked: Keyed, answer: Mapping[str, Any], /) -> None:
        """Store the answer under the key that was claimed."""
        ...

    def release(self, asked: Keyed, /) -> None:
        """Give the key up: the change was not made, or goes on when it is asked for again."""
        ...


ClassOfData: TypeAlias = Literal[
    "entries", "journal", "skeletons", "quarantine", "audit", "idempotency_keys", "correction_runs", "price_refreshes", "decisions",
    "reservations", "approvals", "approval_uses", "guardrail_rulings", "outcomes", "deliveries", "delivery_attempts",
]  # fmt: skip
CLASSES: Final[tuple[ClassOfData, ...]] = get_args(ClassOfData)
"""What retention tells apart."""


class ClassPruned(NamedTuple):
    """What a pruning took of a class of data, or would take.

    Attributes:
        hours: for how long rows are kept; 0 for ever.
        rows: entries, spans, or whatever the class has.
        oldest_ns, newest_ns: the times of the first and last of them; None without any.
        traces, spans: of entries and journal, how many traces went or were emptied, with how many spans.
        months: of entries, number and sum of their money (pico-USD) by month.
        held: of entries and journal, traces with something old that stay, by why.
        finished: False when it was stopped before its end.
    """

    name: ClassOfData
    hours: float
    rows: int = 0
    oldest_ns: int | None = None
    newest_ns: int | None = None
    traces: int = 0
    spans: int = 0
    months: Mapping[str, tuple[int, int]] = {}
    held: Mapping[str, int] = {}
    finished: bool = True


class Retention(Protocol):
    """How long data is kept, and taking away what is older.

    Raises:
        Busy: somebody else appends for too long; what was done so far stands.
        Unavailable: the store cannot answer now.
    """

    def hours(self, name: ClassOfData) -> float:
        """For how long a class of data is kept; 0 for ever."""
        ...

    def months(self) -> Sequence[PrunedMonth]:
        """The months that were pruned, oldest first."""
        ...

    def until_ns(self) -> int:
        """The instant before which months are pruned; 0 when none is."""
        ...

    def prune(self, name: ClassOfData | None, days: int | None, *, who: str, dry_run: bool) -> Sequence[ClassPruned]:
        """Take, or in a dry run count, what is older than the settings say, or than `days` of one class (`entries` when None)."""
        ...

    def free_bytes(self) -> int | None:
        """Room inside a SQLite file that is free to be used again; None where the server looks after that."""
        ...
