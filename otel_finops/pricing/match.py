"""From a model's name to a row of the price book: exact hits after a fixed list of rewrites, the provider first.

Nothing is ever found by prefix, substring, likeness or size, and never in another provider's rows: a wrong price is worse
than none. A name that misses stays unpriced until somebody gives it a price. See docs/pricing.md for the rules in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple, TypeAlias

from otel_finops.base import limits
from otel_finops.pricing.book import LATEST_NS, PriceBook, PriceRow
from otel_finops.pricing.forms import is_free, overridden
from otel_finops.pricing.house_rules import Rulings
from otel_finops.pricing.names import PLACEHOLDERS, clean
from otel_finops.pricing.providers import (
    NAMING_GATEWAYS,
    PASSED_ON_VENDORS,
    VENDOR_GATEWAYS,
    canonical,
    families_of,
    is_known,
    key_prefixes,
    later_key_prefixes,
    own_names,
)
from otel_finops.pricing.snapshot import Fields

MatchKind: TypeAlias = Literal["override", "exact", "inferred"]


class Match(NamedTuple):
    """A row found for a name.

    Attributes:
        key: the row's key.
        kind: `override` (the operator's price or name), `exact` (the name itself, its path or its provider's prefix taken off) or
            `inferred` (a date or alias taken off, or the vendor's row for a gateway's model).
        row: the row.
    """

    key: str
    kind: MatchKind
    row: PriceRow


Find: TypeAlias = Callable[[str], PriceRow | None]
"""The row whose key equals a lower-case name, on one shelf at one moment."""


class Matcher:
    """Finds rows of one book. Answers are remembered, misses too, up to `limits.PRICE_MEMO_MAX` names."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._rulings = Rulings(book.rules)
        self._memo: dict[tuple[str | None, str, str | None, int, str | None], Match | None] = {}
        self.knows_accounts = self._rulings.knows_accounts
        """False when there are no contract prices, so that nobody asks who pays."""

    def find(
        self, provider: str | None, model: str, region: str | None = None, at_ns: int = LATEST_NS, account: str | None = None
    ) -> Match | None:
        """The row for `model` as billed by `provider` (any spelling, None when unknown) at a moment; a live row before a retired one.

        `region` is a Bedrock region: a row of the model in that very region comes before the model's common row.
        `account` is who pays, for contract prices.
        """
        if len(model) > limits.NAME_CHARS_MAX or len(provider or "") > limits.NAME_CHARS_MAX:
            return None
        if len(region or "") > limits.NAME_CHARS_MAX:
            region = None
        asked = (provider, model, region, self._book.epoch(at_ns), account if self.knows_accounts else None)
        if asked in self._memo:
            return self._memo[asked]
        if len(self._memo) >= limits.PRICE_MEMO_MAX:
            self._memo.clear()
        found = self._memo[asked] = self._look_up(provider or None, clean(model), region, at_ns, account)
        return found

    def _look_up(self, provider: str | None, name: str, region: str | None, at_ns: int, account: str | None) -> Match | None:
        if name in PLACEHOLDERS:
            return None
        if not self._rulings:
            return self._listed(provider, name, region, at_ns)
        biller, rest = self._biller(provider, name)
        families = families_of(biller) if biller else ()
        names = (name, *_forms(rest, families))
        if provider is not None and provider.strip():
            families = (*families, canonical(provider))  # a rule may speak of a gateway, or of a name that stands for several families
        said = (families, names)
        target = self._rulings.target(*said, at_ns)
        if target is None:
            found = self._listed(provider, name, region, at_ns)
        else:
            row = self._book.by_key(target, at_ns)
            found = None if row is None else Match(row.key, "override", row)
            said = families, (*said[1], target.lower())
        return self._priced_by_house(found, *said, at_ns, account)

    def _priced_by_house(
        self, found: Match | None, families: tuple[str, ...], names: tuple[str, ...], at_ns: int, account: str | None
    ) -> Match | None:
        """The match under the operator's prices: contracts first, overrides over them."""
        if found is not None:
            families, names = (*families, found.row.family), (*names, *own_names(found.row.family, found.key.lower()))
        for rule in self._rulings.prices(families, names, at_ns, account):
            key, fields = rule.model, _unlisted(rule.provider or "".join(families[:1]))
            if found is not None:
                key, fields = found.key, found.row.fields
            found = Match(key, "override", PriceRow(key, overridden(fields, rule.fields), version=f"rule:{rule.rule_id}"))
        return found

    # --- by the lists ------------------------------------------------------------------------------------------------

    def _listed(self, provider: str | None, name: str, region: str | None, at_ns: int) -> Match | None:
        """A live row of the first list that has one, a gateway's vendor's row, a model of the second source, a retired row."""
        lists: list[Find] = [partial(self._book.live, shelf, at_ns=at_ns) for shelf in self._book.shelves]
        for find in lists:
            found = self._on_shelf(find, provider, name, region)
            if found is not None:
                return found
        return (
            self._of_gateway(lists, provider, name)
            or self._of_second_source(provider, name)
            or self._on_shelf(partial(self._book.retired, at_ns=at_ns), provider, name, region)
        )

    def _on_shelf(self, find: Find, provider: str | None, name: str, region: str | None) -> Match | None:
        return self._named(find, name) if _speaks_for_itself(provider) else self._billed_by(find, provider or "", name, region)

    def _named(self, find: Find, name: str) -> Match | None:
        """The row of a name that comes without a provider: a key itself, or the rows of the provider that the name begins with."""
        row = find(name)
        if row is not None:
            return Match(row.key, "exact", row)
        split = self._own_provider(name)
        if split is not None:
            return self._billed_by(find, *split, None)
        return self._undated(find, name) if "/" not in name else None

    def _own_provider(self, name: str) -> tuple[str, str] | None:
        """The provider that a name without one begins with, and the rest; gateways that name a provider behind them are passed."""
        first, slash, rest = name.partition("/")
        while slash and first in NAMING_GATEWAYS:
            first, slash, rest = rest.partition("/")
        return (first, rest) if slash and (is_known(first) or first in self._book.families) else None

    def _biller(self, provider: str | None, name: str) -> tuple[str, str]:
        """Who bills and under which name: what the name begins with where nobody else said; ("", name) when nobody knows."""
        if provider and not _speaks_for_itself(provider):
            return provider, name
        return self._own_provider(name) or ("", name)

    def _undated(self, find: Find, name: str) -> Match | None:
        for variant in _inferred(name):
            row = find(variant)
            if row is not None:
                return Match(row.key, "inferred", row)
        return None

    def _billed_by(self, find: Find, provider: str, name: str, region: str | None) -> Match | None:
        families = families_of(provider)
        forms = _forms(name, families)
        for form in forms:
            row = self._row(find, families, form, region)
            if row is not None:
                return Match(row.key, "exact", row)
        if canonical(provider) in VENDOR_GATEWAYS:
            return None
        for form in forms:
            for variant in _inferred(form):
                row = self._row(find, families, variant, region)
                if row is not None:
                    return Match(row.key, "inferred", row)
        return None

    def _row(self, find: Find, families: tuple[str, ...], name: str, region: str | None) -> PriceRow | None:
        for family in families:
            for key in _keys(family, name, region):
                row = find(key)
                if row is not None and row.family == family:
                    return row
        return None

    def _of_gateway(self, lists: Sequence[Find], provider: str | None, name: str) -> Match | None:
        """The vendor's own live row for a gateway's `vendor/model`. What a vendor gives away a gateway may still sell."""
        gateway, name = self._biller(provider, name)
        if canonical(gateway) not in VENDOR_GATEWAYS:
            return None
        for form in _forms(name, families_of(gateway)):
            vendor, slash, model = form.partition("/")
            family = PASSED_ON_VENDORS.get(canonical(vendor)) if slash else None
            for find in lists if family is not None else ():
                found = self._billed_by(find, family or "", model, None)
                if found is not None and not is_free(found.row.fields):
                    return found._replace(kind="inferred")
        return None

    def _of_second_source(self, provider: str | None, name: str) -> Match | None:
        """A model that no list has and the second source knows by this very id."""
        biller, name = self._biller(provider, name)
        families = families_of(biller)
        for form in _forms(name, families) if biller else ():
            for family in families:
                row = self._book.second_row(family, form)
                if row is not None:
                    return Match(row.key, "exact", row)
        return None


def _unlisted(family: str) -> Fields:
    """A row of which the lists know nothing."""
    return {"litellm_provider": family}


def names_asked(provider: str | None, model: str) -> tuple[str, ...]:
    """The names by which a model is sought in the rows of its provider, in order: as it is, without paths, without dates and aliases."""
    families = () if _speaks_for_itself(provider) else families_of(provider or "")
    forms = _forms(clean(model[: limits.NAME_CHARS_MAX]), families)
    return tuple(dict.fromkeys((*forms, *(variant for form in forms for variant in _inferred(form)))))


def _speaks_for_itself(provider: str | None) -> bool:
    return provider is None or not provider.strip() or canonical(provider) in NAMING_GATEWAYS


def _keys(family: str, name: str, region: str | None) -> Iterator[str]:
    """Keys under which a family's row of that name may stand, in order."""
    if region and family == "bedrock":
        yield f"bedrock/{region.strip().lower()}/{name}"
    for prefix in key_prefixes(family):
        yield prefix + name
    yield name
    for prefix in later_key_prefixes(family):
        yield prefix + name


# --- rewrites that keep the meaning: the same model in another form of address ------------------------------------

_PATHS: Final = (
    re.compile(r"projects/[^/]+/locations/[^/]+/publishers/[^/]+/models/(?P<name>[^/]+)"),
    re.compile(r"publishers/[^/]+/models/(?P<name>[^/]+)"),
    re.compile(r"models/(?P<name>[^/]+)"),
    re.compile(r"arn:aws[a-z-]*:bedrock:[^:]*:[^:]*:(?:inference-profile|foundation-model)/(?P<name>.+)"),
    re.compile(r"bedrock/(?:converse|converse_like|invoke)/(?P<name>.+)"),
    re.compile(r"(?:converse|converse_like|invoke)/(?P<name>.+)"),
    re.compile(r"(?:litellm_proxy|litellm)/(?P<name>.+)"),
)
_FINE_TUNE: Final = re.compile(r"ft:(?P<base>[^:]+):.+")
_FORMS_MAX: Final = 6
"""Addresses nest (gateway, provider, route); more than this is nobody's name."""


def _forms(name: str, families: tuple[str, ...]) -> tuple[str, ...]:
    """The name, and what is left of it when paths and its own provider's prefix are taken off, one after another."""
    forms = [name]
    while len(forms) < _FORMS_MAX:
        shorter = _without_path(forms[-1]) or _without_own_provider(forms[-1], families)
        if not shorter or shorter in forms:
            break
        forms.append(shorter)
    tuned = _FINE_TUNE.fullmatch(forms[-1])
    if tuned is not None:
        return (f"ft:{tuned['base']}",)
    return tuple(forms)


def _without_path(name: str) -> str | None:
    for path in _PATHS:
        found = path.fullmatch(name)
        if found is not None:
            return found["name"]
    return None


def _without_own_provider(name: str, families: tuple[str, ...]) -> str | None:
    first, slash, rest = name.partition("/")
    if slash and (first in families or (is_known(first) and canonical(first) in families)):
        return rest
    return None


# --- rewrites that infer: another name of what is most likely the same model ----------------------------------------

_DATE: Final = re.compile(r"(?P<name>.+?)(?:[-@](?P<compact>20\d{6})|-(?P<dashed>20\d\d-\d\d-\d\d))")
_ALIAS_ENDS: Final = ("@default", "@latest", "-latest")
_DOTTED_CLAUDE: Final = re.compile(r"(claude[a-z0-9-]*\d)\.(\d)")


def _without_date(name: str) -> str | None:
    found = _DATE.fullmatch(name)
    if found is None:
        return None
    digits = (found["compact"] or found["dashed"]).replace("-", "")
    plausible = 1 <= int(digits[4:6]) <= 12 and 1 <= int(digits[6:8]) <= 31
    return found["name"] if plausible else None


def _without_alias(name: str) -> str | None:
    return next((name.removesuffix(end) for end in _ALIAS_ENDS if name.endswith(end)), None)


def _dashed_claude(name: str) -> str | None:
    dashed = _DOTTED_CLAUDE.sub(r"\1-\2", name)
    return dashed if dashed != name else None


_INFERENCES: Final[tuple[Callable[[str], str | None], ...]] = (_dashed_claude, _without_date, _without_alias)


def _inferred(name: str) -> Iterator[str]:
    """The name with its date or alias taken off, Claude's dots as dashes, and both together."""
    reached = [name]
    for form in reached:
        for rewrite in _INFERENCES:
            variant = rewrite(form)
            if variant and variant not in reached:
                reached.append(variant)
                yield variant
