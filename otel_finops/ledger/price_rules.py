"""The operator's price rules, as they were set and ended: who, why, when and for which time. Nothing is ever changed or taken away.

A rule is an override, a contract price, or an alias; a row of kind `end` ends one. What holds is worked out when the rules are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.limits import PRICE_RULES_MAX
from otel_finops.base.times import format_ns
from otel_finops.pricing.house_rules import Alias, HouseRules, Override
from otel_finops.pricing.rule_prices import plain_usd
from otel_finops.pricing.snapshot import Fields
from otel_finops.pricing.sources.source import short
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

RuleKind: TypeAlias = Literal["override", "contract", "alias"]
ALIAS: Final = "alias"
_END: Final = "end"
_LAST_NS: Final = 2**63

_COLUMNS: Final = "rule_no, kind, ends_no, provider, model, account, target, fields, valid_from_ns, valid_to_ns, who, why, recorded_ns"
_SELECT: Final = f"SELECT {_COLUMNS} FROM price_rules ORDER BY rule_no"
_INSERT: Final = (
    "INSERT INTO price_rules (kind, ends_no, provider, model, account, target, fields, valid_from_ns, valid_to_ns, who, why, recorded_ns) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING rule_no"
)
_LOCK: Final = "LOCK TABLE price_rules IN SHARE ROW EXCLUSIVE MODE"


class Draft(NamedTuple):
    """What a rule says.

    Attributes:
        kind: what it is.
        provider: the family that bills, None for any.
        model: the name that it speaks of, lower case.
        account: of a contract price: whose; None for all accounts.
        target: of an alias: the price key that the name stands for.
        fields: of the others: prices by the price list's field names, USD for one unit.
        from_ns, to_ns: from when (inclusive) to when (exclusive) it holds; None = open.
    """

    kind: RuleKind
    provider: str | None
    model: str
    account: str | None = None
    target: str | None = None
    fields: Fields | None = None
    from_ns: int | None = None
    to_ns: int | None = None

    @property
    def speaks_of(self) -> tuple[bool | str, str | None, str, str | None]:
        """What no two rules may share at one time: aliases and each layer of prices, provider, name and account."""
        return self.kind, self.provider, self.model, self.account


class Ending(NamedTuple):
    """How a rule was ended; `at_ns` None: it was withdrawn, as if it had never been."""

    no: int
    at_ns: int | None
    who: str
    why: str
    recorded_ns: int


class Rule(NamedTuple):
    """A rule as it stands.

    Attributes:
        no: its number, never given twice.
        said: what it says.
        who, why, recorded_ns: who set it, for what reason, when.
        ended: how it was ended; None when it was not.
    """

    no: int
    said: Draft
    who: str
    why: str
    recorded_ns: int
    ended: Ending | None = None

    @property
    def holds(self) -> tuple[int, int]:
        """From when to when (exclusive) it holds; empty when it was withdrawn."""
        begin, end = _span(self.said)
        if self.ended is None:
            return begin, end
        return begin, begin if self.ended.at_ns is None else max(begin, min(end, self.ended.at_ns))


class PriceRules:
    """The rules of one installation. Safe to use from many threads and processes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def all(self) -> list[Rule]:
        """Every rule ever set, oldest first."""
        with self._store.read() as transaction:
            return rules_of(transaction)

    def add(self, draft: Draft, *, who: str, why: str, dry_run: bool = False) -> Rule:
        """Set a rule; with `dry_run` only check that it could be set (its number is then that of the next rule, perhaps).

        Raises:
            BadInput: another rule says something of the same name at the same time, or there are too many rules.
        """
        now_ns = self._clock.now_ns()
        with self._store.write() as transaction:
            rules = _locked(transaction)
            _check_room(rules)
            _check_alone(draft, rules)
            rule = Rule(_next_no(rules), draft, who, why, now_ns)
            return rule if dry_run else rule._replace(no=_insert(transaction, _row_of(rule)))

    def end(self, no: int, at_ns: int | None, *, who: str, why: str, dry_run: bool = False) -> Rule:
        """End a rule at an instant, or (None) withdraw it; returns it as it stands then.

        Raises:
            NotFound: there is no such rule.
            BadInput: it holds no longer at that instant anyway.
        """
        with self._store.write() as transaction:
            rules = _locked(transaction)
            rule = next((rule for rule in rules if rule.no == no), None)
            if rule is None:
                raise NotFound(f"There is no rule {no}; `pricing.rules` lists them.")
            begin, end = rule.holds
            if begin == end or (at_ns is not None and at_ns >= end):
                over = "was withdrawn" if begin == end else f"ends at {format_ns(end)}"
                raise BadInput(f"rule {no} {over} already; there is nothing to end")
            _check_room(rules)
            ending = Ending(_next_no(rules), at_ns, who, why, self._clock.now_ns())
            if not dry_run:
                row = (_END, no, None, None, None, None, None, None, at_ns, who, why, ending.recorded_ns)
                ending = ending._replace(no=_insert(transaction, row))
            return rule._replace(ended=_earlier(rule.ended, ending))


def load(transaction: Transaction) -> HouseRules:
    """The rules that hold at some time, oldest first, as the price book takes them."""
    return as_house_rules(rules_of(transaction))


def as_house_rules(rules: Iterable[Rule]) -> HouseRules:
    """The same, of rules that were read."""
    holding = [rule for rule in rules if rule.holds[0] < rule.holds[1]]
    aliases = tuple(_alias(rule) for rule in holding if rule.said.kind == ALIAS)
    return HouseRules(tuple(_override(rule) for rule in holding if rule.said.kind != ALIAS), aliases)


def revision(transaction: Transaction) -> int:
    """A number that grows with every rule and every end of one; 0 while there are none."""
    return int(transaction.execute("SELECT COALESCE(MAX(rule_no), 0) FROM price_rules")[0][0])


def rules_of(transaction: Transaction) -> list[Rule]:
    """Every rule ever set, oldest first, with its end."""
    rules: dict[int, Rule] = {}
    for row in transaction.execute(_SELECT):
        no, kind, ends_no, *_, at_ns, who, why, recorded_ns = row
        if kind == _END:
            rule = rules[ends_no]
            rules[ends_no] = rule._replace(ended=_earlier(rule.ended, Ending(no, at_ns, who, why, recorded_ns)))
        else:
            rules[no] = Rule(no, _draft(row), who, why, recorded_ns)
    return list(rules.values())


def _draft(row: Row) -> Draft:
    _, kind, _, provider, model, account, target, fields, from_ns, to_ns, *_ = row
    prices = None if fields is None else _numbers(json.loads(fields))
    return Draft(kind, provider, model, account, target, prices, from_ns, to_ns)


def _row_of(rule: Rule) -> tuple[Any, ...]:
    said = rule.said
    fields = None if said.fields is None else json.dumps(_texts(said.fields), sort_keys=True)
    return (
        said.kind, None, said.provider, said.model, said.account, said.target, fields, said.from_ns, said.to_ns,
        rule.who, rule.why, rule.recorded_ns,
    )  # fmt: skip


def _texts(fields: Fields) -> dict[str, Any]:
    """Prices as plain decimal strings, digit for digit; what nests stays nested."""
    return {name: _texts(value) if isinstance(value, Mapping) else plain_usd(value) for name, value in fields.items()}


def _numbers(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _numbers(value) if isinstance(value, Mapping) else short(float(value)) for name, value in fields.items()}


def _insert(transaction: Transaction, row: Sequence[Any]) -> int:
    return int(transaction.execute(_INSERT, row)[0][0])


def _locked(transaction: Transaction) -> list[Rule]:
    """All rules, while nobody else can set one."""
    if transaction.engine_name == "postgresql":
        transaction.execute(_LOCK)  # SQLite has one writer anyway
    return rules_of(transaction)


def _next_no(rules: Sequence[Rule]) -> int:
    return max((no for rule in rules for no in (rule.no, rule.ended.no if rule.ended else 0)), default=0) + 1


def _check_room(rules: Sequence[Rule]) -> None:
    if len(rules) + sum(rule.ended is not None for rule in rules) >= PRICE_RULES_MAX:
        raise BadInput(f"there are {PRICE_RULES_MAX} price rules already; put prices for so many models into a price list (prices.refresh)")


def _check_alone(draft: Draft, rules: Iterable[Rule]) -> None:
    begin, end = _span(draft)
    for rule in rules:
        first, last = rule.holds
        if rule.said.speaks_of == draft.speaks_of and max(begin, first) < min(end, last):
            raise BadInput(
                f"rule {rule.no} ({rule.who}: {rule.why}) speaks of {draft.model!r} {_named_span(first, last)} already; end it first "
                f"(pricing.end {rule.no}, at the moment from which the new one shall hold), or choose `from` and `to` beside it"
            )


def _named_span(begin: int, end: int) -> str:
    start = f"from {format_ns(begin)}" if begin else ""
    stop = f"to {format_ns(end)}" if end != _LAST_NS else ""
    return " ".join(filter(None, (start, stop))) or "for all time"


def _span(draft: Draft) -> tuple[int, int]:
    return draft.from_ns or 0, _LAST_NS if draft.to_ns is None else draft.to_ns


def _earlier(before: Ending | None, ending: Ending) -> Ending:
    """Of two ends of a rule that which comes first; a withdrawal is the earliest."""
    if before is None or ending.at_ns is None:
        return ending
    return before if before.at_ns is None or before.at_ns <= ending.at_ns else ending


def _open(rule: Rule) -> tuple[int | None, int | None]:
    begin, end = rule.holds
    return begin or None, None if end == _LAST_NS else end


def _override(rule: Rule) -> Override:
    said = rule.said
    layer: Literal["override", "contract"] = "contract" if said.kind == "contract" else "override"
    return Override(str(rule.no), layer, said.provider, said.model, said.account, said.fields or {}, *_open(rule))


def _alias(rule: Rule) -> Alias:
    return Alias(str(rule.no), rule.said.provider, rule.said.model, rule.said.target or "", *_open(rule))
