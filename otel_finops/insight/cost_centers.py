"""Cost centres and the rules by which costs are shared among them: what they say, and what cannot be said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import COST_CENTER_DEPTH_MAX, NAME_CHARS_MAX, SHARE_TARGETS_MAX
from otel_finops.base.money import PICO_MAX
from otel_finops.base.times import NS_PER_DAY, month_end_ns, month_start_ns, parse_ns
from otel_finops.insight.allocation import CELL_KEYS, METHODS, WEIGHTS, WHOLE, Entity, Method, Sharing, Weight

PERCENT: Final = WHOLE // 100
"""One percent in millionths."""


class CostCenter(NamedTuple):
    """A cost centre.

    Attributes:
        code: as spans bear it in `finops.cost_center`.
        parent: code of the one that it is a part of; None for none.
        tenant: whose it is; None: of all tenants, for every call with that code but of tenants who have one of their own.
        of_all: who made it sees all tenants: nobody who is bound to some changes it.
    """

    no: int
    code: str
    name: str = ""
    owner: str | None = None
    department: str | None = None
    parent: str | None = None
    tenant: str | None = None
    revision: int = 0
    made_ns: int = 0
    made_by: str = ""
    changed_ns: int = 0
    changed_by: str = ""
    of_all: bool = True

    @property
    def entity(self) -> Entity:
        """Under what it stands in reports."""
        return self.tenant or "", self.code

    def checked(self) -> CostCenter:
        """Itself; raises BadInput for what is none."""
        _check_texts(code=self.code, name=self.name, owner=self.owner, department=self.department, parent=self.parent)
        return self


class Rule(NamedTuple):
    """A rule by which costs are shared (`allocation.Sharing` says what its fields mean).

    Attributes:
        amount: pico-USD, a fee positive and a credit negative, of a rule that brings one; None for a rule that shares what calls cost.
        monthly: the amount falls due on the first day of every month, else once, on its first day.
        from_day, to_day: when it holds, days as YYYY-MM-DD (UTC), the last one exclusive; None for open ends. A report takes a rule that
            holds on its first day.
        place: rules are asked in this order, then by number.
        tenant: whose it is; None: it takes from all tenants and gives to cost centres of all.
    """

    no: int
    name: str
    tenant: str | None = None
    source: Mapping[str, str] | None = None
    amount: int | None = None
    monthly: bool = False
    method: Method = "proportional"
    weight: Weight = "cost"
    targets: tuple[str, ...] = ()
    shares: Mapping[str, int] = {}
    tag: str | None = None
    values: Mapping[str, str] = {}
    from_day: str | None = None
    to_day: str | None = None
    place: int = 100
    enabled: bool = True
    revision: int = 0
    made_ns: int = 0
    made_by: str = ""
    changed_ns: int = 0
    changed_by: str = ""
    of_all: bool = True

    def checked(self) -> Rule:
        """Itself; raises BadInput for what contradicts itself."""
        _check_texts(name=self.name)
        if (self.source is None) == (self.amount is None):
            raise BadInput("source, amount: a rule shares what calls cost (source) or an amount of its own; give one of them")
        self._check_source()
        self._check_method()
        self._check_time()
        return self

    def _check_source(self) -> None:
        for name in self.source or ():
            if name not in CELL_KEYS:
                raise BadInput(f"source.{name[:NAME_CHARS_MAX]}: there is no such dimension; use {', '.join(CELL_KEYS)}")
        if self.source is not None and not self.source:
            raise BadInput("source: name at least one dimension, e.g. cost_center=platform, or cost_center= for what is not allocated")
        said = (self.source or {}).get("tenant")
        if said is not None and self.tenant is not None and said != self.tenant:
            raise BadInput(f"source.tenant: the rule is {self.tenant}'s and takes from no other tenant")
        if self.amount is not None and not 0 < abs(self.amount) <= PICO_MAX:
            raise BadInput("amount: not 0, and below 9 million USD; negative for a credit")
        if self.monthly and self.amount is None:
            raise BadInput("monthly: goes with an amount; what calls cost is shared in every report")

    def _check_method(self) -> None:
        if self.method not in METHODS or self.weight not in WEIGHTS:
            raise BadInput(f"method, weight: use one of {', '.join(METHODS)}, and one of {', '.join(WEIGHTS)}")
        given = {"shares": self.shares, "tag": self.tag, "values": self.values}
        belong = {"fixed": {"shares"}, "tag": {"tag", "values"}}.get(self.method, set())
        for name, value in given.items():
            if value and name not in belong:
                raise BadInput(f"{name}: does not go with the method {self.method}")
        if self.method == "fixed":
            self._check_shares()
        if self.method == "even" and not self.targets:
            raise BadInput("targets: an even rule names those who bear it")
        if self.method == "tag" and (self.source is None or not self.tag):
            raise BadInput("tag: a rule by tag names the tag's key, and shares what calls cost (source)")
        if max(len(self.targets), len(self.shares), len(self.values)) > SHARE_TARGETS_MAX:
            raise BadInput(f"targets: more than {SHARE_TARGETS_MAX}")

    def _check_shares(self) -> None:
        if self.targets:
            raise BadInput("targets: fixed shares name them already")
        if not self.shares or any(share <= 0 for share in self.shares.values()) or sum(self.shares.values()) > WHOLE:
            raise BadInput("shares: percents above 0 by code, at most 100 together; what is left stays where it was")

    def _check_time(self) -> None:
        if self.amount is not None and self.from_day is None:
            raise BadInput("from: an amount says from which day it is due")
        if self.from_day is not None and self.to_day is not None and self.to_day <= self.from_day:
            raise BadInput("to: lies before `from`, or on that day")

    @property
    def codes(self) -> Iterator[str]:
        """Every cost centre that it names as bearing something."""
        yield from self.targets
        yield from self.shares
        yield from self.values.values()

    def holds_at(self, instant_ns: int) -> bool:
        """Whether it shares what calls cost in a report that begins then."""
        return self.enabled and _start(self.from_day) <= instant_ns and (self.to_day is None or instant_ns < _start(self.to_day))

    def due(self, from_ns: int, to_ns: int) -> int:
        """How often its amount falls due in [from_ns, to_ns)."""
        if self.amount is None or not self.enabled:
            return 0
        first, end = _start(self.from_day), min(to_ns, _start(self.to_day) if self.to_day is not None else to_ns)
        if not self.monthly:
            return int(from_ns <= first < end)
        due, count = month_start_ns(max(first, from_ns)), 0
        while due < end:
            count += due >= max(from_ns, first)
            due = month_end_ns(due)
        return count


class Book:
    """All cost centres and rules at one revision; never changed.

    Attributes:
        revision: the last change that is in it; 0: there never was one.
    """

    def __init__(self, revision: int, centers: Iterable[CostCenter], rules: Iterable[Rule]) -> None:
        self.revision = revision
        self.centers: Mapping[int, CostCenter] = {one.no: one for one in centers}
        self.rules: Mapping[int, Rule] = {one.no: one for one in rules}
        self.by_entity: Mapping[Entity, CostCenter] = {one.entity: one for one in self.centers.values()}

    def of(self, tenant: str | None, code: str) -> CostCenter | None:
        """What a code stands for in a tenant, or among those of all (None)."""
        return self.by_entity.get((tenant or "", code)) or self.by_entity.get(("", code))

    def parent_of(self, one: CostCenter) -> CostCenter | None:
        """The one that it is a part of."""
        return None if one.parent is None else self.of(one.tenant, one.parent)

    def above(self, one: CostCenter) -> list[CostCenter]:
        """Those that it is a part of, nearest first."""
        found: dict[int, CostCenter] = {}
        parent = self.parent_of(one)
        while parent is not None and parent.no != one.no and parent.no not in found:
            found[parent.no] = parent
            parent = self.parent_of(parent)
        return list(found.values())

    def within(self, one: CostCenter) -> list[CostCenter]:
        """Those that are directly a part of it."""
        return [other for other in self.centers.values() if (parent := self.parent_of(other)) is not None and parent.no == one.no]

    def naming(self, one: CostCenter) -> list[Rule]:
        """Rules that give something to it."""
        return [rule for rule in self.rules.values() if any(self.of(rule.tenant, code) == one for code in rule.codes)]

    def narrowed(self, tenants: Iterable[str]) -> Book:
        """What belongs to these tenants alone."""
        own = set(tenants)
        return Book(
            self.revision,
            (one for one in self.centers.values() if one.tenant in own),
            (one for one in self.rules.values() if one.tenant in own),
        )

    def sharings(self, from_ns: int, to_ns: int) -> list[Sharing]:
        """The rules that say something about a time, in the order in which they are asked."""
        found = []
        for rule in sorted(self.rules.values(), key=lambda one: (one.place, one.no)):
            due = rule.due(from_ns, to_ns)
            if due or (rule.amount is None and rule.holds_at(from_ns)):
                found.append(self._sharing(rule, due))
        return found

    def _sharing(self, rule: Rule, due: int) -> Sharing:
        targets = rule.targets
        if rule.method == "tag" and not targets:
            targets = tuple(one.code for one in self.centers.values() if one.tenant in (None, rule.tenant))
        return Sharing(
            rule.no, rule.name, rule.tenant, rule.source, rule.method, rule.weight, targets, rule.shares, rule.tag, rule.values,
            (rule.amount or 0,) * due,
        )  # fmt: skip


def check_place(book: Book, one: CostCenter) -> None:
    """Refuse a cost centre that cannot stand among the others.

    Raises:
        BadInput: the code is taken, the parent is none, or it would be a part of itself, or of too many others.
    """
    other = book.by_entity.get(one.entity)
    if other is not None and other.no != one.no:
        raise BadInput(f"code: there is a cost centre of this code already ({other.name or other.code})")
    if one.parent is None:
        return
    parent = book.of(one.tenant, one.parent)
    if parent is None or (one.tenant is None and parent.tenant is not None):
        raise BadInput(f"parent: there is no cost centre {one.parent[:NAME_CHARS_MAX]}; make it first")
    above = [parent, *book.above(parent)]
    if any(higher.no == one.no for higher in above):
        raise BadInput(f"parent: {one.parent} is a part of this cost centre")
    if len(above) + _depth(book, one) > COST_CENTER_DEPTH_MAX:
        raise BadInput(f"parent: at most {COST_CENTER_DEPTH_MAX} cost centres one within the other")


def check_rule(book: Book, rule: Rule) -> None:
    """Refuse a rule that cannot stand among the others.

    Raises:
        BadInput: its name is taken, or it gives to what is no cost centre.
    """
    for other in book.rules.values():
        if other.no != rule.no and (other.tenant, other.name) == (rule.tenant, rule.name):
            raise BadInput(f"name: rule {other.no} is called so already")
    for code in rule.codes:
        if book.of(rule.tenant, code) is None:
            raise BadInput(f"there is no cost centre {code[:NAME_CHARS_MAX]} for this rule; make it first")


def _depth(book: Book, one: CostCenter) -> int:
    """Of how many levels the cost centre and those within it are."""
    lines = ([higher.no for higher in book.above(other)] for other in book.centers.values())
    return 1 + max((line.index(one.no) + 1 for line in lines if one.no in line), default=0)


def _check_texts(**texts: str | None) -> None:
    for name, text in texts.items():
        if text is not None and (len(text) > NAME_CHARS_MAX or text != text.strip() or (not text and name in ("code", "parent"))):
            raise BadInput(f"{name}: 1 to {NAME_CHARS_MAX} characters without blanks around them")


def _start(day: str | None) -> int:
    return 0 if day is None else parse_ns(day) // NS_PER_DAY * NS_PER_DAY
