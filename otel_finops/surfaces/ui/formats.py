"""How pages write money, counts, shares, lengths of time and instants: pure functions of a value, a currency and a locale.

Money comes as a decimal string or a Decimal, never as a float. What is not known (None) is an en dash everywhere. No amount
and no share that is more than nothing is ever written as nothing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time, format_timedelta, get_datetime_format
from babel.numbers import (
    NumberPattern,
    format_compact_currency,
    format_compact_decimal,
    get_currency_precision,
    get_currency_symbol,
    get_decimal_symbol,
    get_group_symbol,
    get_plus_sign_symbol,
)

from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_MS, NS_PER_SECOND, parse_ns
from otel_finops.base.zones import zone_of

Amount: TypeAlias = str | Decimal | int
"""A number without a rounding error: a plain decimal string, as operations answer it, a Decimal, or a whole number."""
Share: TypeAlias = Amount | float
"""A number that is no money."""

NOTHING_KNOWN: Final = "\u2013"
DEFAULT_LOCALE: Final = "en"
_SIGNIFICANT: Final = 3
"""Digits that say something, of an amount below one and of shortened numbers."""
_WIDE: Final = Context(prec=80)
"""Holds every amount that the ledger, a currency's rate and a sum over both can give, with all digits."""
_HEADER_CHARS_MAX: Final = 1_000
"""Browsers send some fifty; what is longer asks for nothing that we read."""
_TAG: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
_QUALITY: Final = re.compile(r"q=([01](?:\.[0-9]{0,3})?)")


# --- money ---------------------------------------------------------------------------------------------------------


def money(amount: Amount | None, currency: str = "USD", locale: str = DEFAULT_LOCALE) -> str:
    """An amount as people read it: from one on with the currency's decimals, below one with three digits that say something.

    >>> money("1234567.894"), money("12.3"), money("0.42"), money("0.0000375"), money("0"), money("-3.1")
    ('$1,234,567.89', '$12.30', '$0.42', '$0.0000375', '$0.00', '-$3.10')
    """
    return NOTHING_KNOWN if amount is None else _money(_exactly(amount), currency, locale)


def exact(amount: Amount | None, currency: str = "USD", locale: str = DEFAULT_LOCALE) -> str:
    """An amount with all its digits, as for what shows when the pointer rests on it.

    >>> exact("1234.500000000001"), exact("2")
    ('$1,234.500000000001', '$2.00')
    """
    if amount is None:
        return NOTHING_KNOWN
    value = _exactly(amount)
    return _written(value, currency, locale, max(get_currency_precision(currency), _decimals(value)))


def money_of_pico(pico: int, currency: str = "USD", locale: str = DEFAULT_LOCALE) -> str:
    """As `money`, of an amount in pico.

    >>> money_of_pico(37_500_000)
    '$0.0000375'
    """
    return _money(Decimal(pico) / PICO_PER_USD, currency, locale)


def short_money(amount: Amount | None, currency: str = "USD", locale: str = DEFAULT_LOCALE) -> str:
    """An amount for an axis or a card: with three digits and the locale's word for thousands or millions where there is one.

    >>> short_money("1234567"), short_money("999950"), short_money("42.5"), short_money("0.0035")
    ('$1.23M', '$1M', '$42.50', '$0.0035')
    """
    if amount is None:
        return NOTHING_KNOWN
    value = _rounded(_exactly(amount))
    if not _is_shortened(value, locale):
        return money(amount, currency, locale)
    return str(format_compact_currency(value, currency, locale=_locale(locale), fraction_digits=_SIGNIFICANT - 1))


@lru_cache(maxsize=8192)
def _money(value: Decimal, currency: str, locale: str) -> str:
    digits = get_currency_precision(currency)
    if value and abs(value) < 1:
        digits = max(digits, _SIGNIFICANT - 1 - value.adjusted())
    return _written(value, currency, locale, digits)


def _written(value: Decimal, currency: str, locale: str, digits: int) -> str:
    """With at least the currency's decimals and at most so many."""
    return _currency_form(currency, locale).write(value, get_currency_precision(currency), digits)


@lru_cache(maxsize=256)
def _currency_form(currency: str, locale: str) -> _Form:
    symbol = get_currency_symbol(currency, _locale(locale))
    form = _form(_locale(locale).currency_formats["standard"], locale)
    before, after = (tuple(text.replace("¤", symbol) for text in around) for around in (form.prefix, form.suffix))
    return form._replace(prefix=(_apart(before[0]), _apart(before[1])), suffix=(after[0], after[1]))


def _apart(prefix: str) -> str:
    """What stands before a number: letters are set apart from its digits (`CHF 12`), as CLDR's currency spacing has it."""
    return f"{prefix}\u00a0" if prefix[-1:].isalpha() else prefix


# --- counts and shares -----------------------------------------------------------------------------------------------


def count(number: Amount | None, locale: str = DEFAULT_LOCALE) -> str:
    """A whole number with its thousands set apart.

    >>> count(1234567), count(0)
    ('1,234,567', '0')
    """
    return NOTHING_KNOWN if number is None else _number(_exactly(number), locale, 0)


def tokens(number: Amount | None, locale: str = DEFAULT_LOCALE) -> str:
    """A count in three digits, as of tokens: nobody reads the last of a million.

    >>> tokens(950), tokens(1234), tokens(3_400_000)
    ('950', '1.23K', '3.4M')
    """
    if number is None:
        return NOTHING_KNOWN
    value = _rounded(_exactly(number))
    if not _is_shortened(value, locale):
        return count(number, locale)
    return format_compact_decimal(value, locale=_locale(locale), fraction_digits=_SIGNIFICANT - 1)


def percent(share: Share | None, locale: str = DEFAULT_LOCALE) -> str:
    """A part of a whole of 1, to the tenth of a per cent; only nothing is 0 % and only the whole is 100 %.

    >>> percent("0.4231"), percent(0), percent("0.0001"), percent("0.9999"), percent(1)
    ('42.3%', '0.0%', '<0.1%', '>99.9%', '100.0%')
    """
    if share is None:
        return NOTHING_KNOWN
    value = Decimal(str(share))
    shown = round(value, 3)
    if not shown and value:
        return f"<{_percent(Decimal('0.001'), locale)}" if value > 0 else f">{_percent(Decimal('-0.001'), locale)}"
    if abs(shown) == 1 and abs(value) < 1:
        return f">{_percent(Decimal('0.999'), locale)}" if value > 0 else f"<{_percent(Decimal('-0.999'), locale)}"
    return _percent(shown, locale)


def part(value: Amount, whole: Amount, locale: str = DEFAULT_LOCALE) -> str:
    """A part of a whole in per cent; an en dash where there is no whole.

    >>> part("3", "12")
    '25.0%'
    """
    of = _exactly(whole)
    return percent(_exactly(value) / of, locale) if of else NOTHING_KNOWN


class Change(NamedTuple):
    """What became of a number.

    Attributes:
        text: in per cent, with its sign; `new` where there was nothing before.
        direction: which way it went, for an arrow and a colour.
    """

    text: str
    direction: Literal["up", "down", "same"]


def change(now: Share | None, before: Share | None, locale: str = DEFAULT_LOCALE) -> Change:
    """What became of a number, from 100 % on without tenths.

    >>> change("11", "10"), change("1", "30"), change("5", "0"), change("0", "0")
    (Change(text='+10.0%', direction='up'), Change(text='-96.7%', direction='down'), Change(text='new', direction='up'), \
Change(text='0.0%', direction='same'))
    """
    if now is None or before is None:
        return Change(NOTHING_KNOWN, "same")
    was = Decimal(str(before))
    more = Decimal(str(now)) - was
    if not more:
        return Change(percent(0, locale), "same")
    direction: Literal["up", "down"] = "up" if more > 0 else "down"
    if not was:
        return Change("new", direction)
    ratio = more / abs(was)
    text = _percent(ratio, locale, 0) if abs(ratio) >= 1 else percent(ratio, locale)
    return Change(text if ratio < 0 or text.startswith(("<", ">")) else f"{get_plus_sign_symbol(_locale(locale))}{text}", direction)


def _percent(share: Decimal, locale: str, digits: int = 1) -> str:
    return _form(_locale(locale).percent_formats[None], locale).write(share.scaleb(2), digits, digits)


def _number(value: Decimal, locale: str, digits: int) -> str:
    """With at most so many decimals."""
    return _form(_locale(locale).decimal_formats[None], locale).write(value, 0, digits)


def _rounded(value: Decimal) -> Decimal:
    """To three digits, before the unit is chosen: 999,950 is a million and not a thousand thousands."""
    return Context(prec=_SIGNIFICANT).create_decimal(value)


def _is_shortened(value: Decimal, locale: str) -> bool:
    """Whether the locale has a word for so many: German has none for thousands."""
    forms = _locale(locale).compact_decimal_formats["short"]["other"]
    fitting = [magnitude for magnitude in map(int, forms) if magnitude <= abs(value)]
    return bool(fitting) and forms[str(max(fitting))].pattern != "0"


# --- time ------------------------------------------------------------------------------------------------------------

_UNITS: Final = (("ns", 1), ("µs", 1_000), ("ms", NS_PER_MS), ("s", NS_PER_SECOND))
_PAIRS: Final = (
    ("d", NS_PER_DAY, "h", NS_PER_HOUR),
    ("h", NS_PER_HOUR, "m", 60 * NS_PER_SECOND),
    ("m", 60 * NS_PER_SECOND, "s", NS_PER_SECOND),
)


def duration(milliseconds: Share | None, locale: str = DEFAULT_LOCALE) -> str:
    """A length of time in one unit, from a minute on in two.

    >>> duration(0.4), duration(850), duration(1234), duration(65_000), duration(7_500_000)
    ('400 µs', '850 ms', '1.23 s', '1 m 05 s', '2 h 05 m')
    """
    return NOTHING_KNOWN if milliseconds is None else duration_ns(round(Decimal(str(milliseconds)) * NS_PER_MS), locale)


def duration_ns(nanoseconds: int, locale: str = DEFAULT_LOCALE) -> str:
    """As `duration`, of nanoseconds."""
    sign, length = "-" if nanoseconds < 0 else "", abs(nanoseconds)
    rounded = _rounded(Decimal(length))
    if rounded < 60 * NS_PER_SECOND:
        name, unit = next(((name, unit) for name, unit in reversed(_UNITS) if rounded >= unit), ("ms", NS_PER_MS))
        return f"{sign}{_number(rounded / unit, locale, _SIGNIFICANT - 1)} {name}"
    for great, unit, small, step in _PAIRS:
        whole, rest = divmod((length + step // 2) // step, unit // step)
        if whole:
            return f"{sign}{_number(Decimal(whole), locale, 0)} {great} {rest:02} {small}"
    return f"{sign}1 m 00 s"


def when(instant: str | int | None, zone: str = "UTC", locale: str = DEFAULT_LOCALE, *, seconds: bool = False) -> str:
    """An instant as the clocks of a zone show it, to the minute or the second.

    Args:
        instant: RFC 3339, or nanoseconds since 1970.
        zone: an IANA name.

    >>> when("2026-11-22T17:30:05.000000000Z", "Europe/Rome", "en_GB")
    '22 Nov 2026, 18:30'
    """
    if instant is None:
        return NOTHING_KNOWN
    local = _local(instant, zone)
    time = format_time(local, "medium" if seconds else "short", locale=_locale(locale))
    both = str(get_datetime_format("medium", locale=_locale(locale))).replace("'", "")
    return both.replace("{1}", format_date(local, "medium", locale=_locale(locale))).replace("{0}", time)


def day(instant: str | int | None, zone: str = "UTC", locale: str = DEFAULT_LOCALE) -> str:
    """The day to which an instant belongs in a zone.

    >>> day("2026-11-22T23:30:00Z", "Europe/Rome", "en_GB")
    '23 Nov 2026'
    """
    return NOTHING_KNOWN if instant is None else format_date(_local(instant, zone), "medium", locale=_locale(locale))


def ago(instant: str | int | None, now: str | int, locale: str = DEFAULT_LOCALE) -> str:
    """How long ago an instant was, or in how long it will be.

    >>> ago("2026-11-22T17:00:00Z", "2026-11-22T17:05:00Z"), ago("2026-11-24T17:05:00Z", "2026-11-22T17:05:00Z")
    ('5 min. ago', 'in 2 days')
    """
    if instant is None:
        return NOTHING_KNOWN
    passed = timedelta(seconds=(_instant_ns(instant) - _instant_ns(now)) // NS_PER_SECOND)
    return format_timedelta(passed, add_direction=True, format="short", threshold=1.5, locale=_locale(locale))


def _instant_ns(instant: str | int) -> int:
    return parse_ns(instant) if isinstance(instant, str) else instant


def _local(instant: str | int, zone: str) -> datetime:
    return datetime.fromtimestamp(_instant_ns(instant) // NS_PER_SECOND, UTC).astimezone(zone_of(zone))


# --- locales -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def locale_of(header: str | None) -> str:
    """The locale that an Accept-Language header wants most and that we can write; `en` where there is none.

    >>> locale_of("fr;q=0.5, de-CH, en;q=0.8"), locale_of("xx, *"), locale_of(None)
    ('de_CH', 'en', 'en')
    """
    wanted: list[tuple[float, str]] = []
    for one in (header or "")[:_HEADER_CHARS_MAX].split(","):
        tag, _, rest = one.partition(";")
        quality = _QUALITY.fullmatch(rest.strip())
        if _TAG.fullmatch(tag.strip()) and (quality is not None or not rest.strip()):
            wanted.append((float(quality[1]) if quality else 1.0, tag.strip()))
    known = (_known(tag) for quality, tag in sorted(wanted, key=lambda pair: -pair[0]) if quality > 0)
    return next((locale for locale in known if locale is not None), DEFAULT_LOCALE)


def _known(tag: str) -> str | None:
    """A tag as a locale, the language alone where there is nothing for its region."""
    for text in (tag, tag.partition("-")[0]):
        try:
            return str(Locale.parse(text, sep="-"))
        except (UnknownLocaleError, ValueError):
            continue
    return None


@lru_cache(maxsize=256)
def _locale(name: str) -> Locale:
    return Locale.parse(name)


# --- numbers -----------------------------------------------------------------------------------------------------------


def _exactly(amount: Amount) -> Decimal:
    """As a Decimal.

    Raises:
        TypeError: it is a float, in which the digits of money are lost.
        ValueError: it is no number.
    """
    if isinstance(amount, float):  # templates are not type-checked
        raise TypeError(f"money and counts are decimals, not floats: {amount!r}")
    value = Decimal(amount)
    if not value.is_finite():
        raise ValueError(f"not a number: {amount!r}")
    return value


def _decimals(value: Decimal) -> int:
    """How many digits stand behind the point."""
    exponent = value.normalize(_WIDE).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


class _Form(NamedTuple):
    """How a locale writes numbers of a kind: kept, since asking for its symbols for every number takes five times as long as writing it.

    Attributes:
        prefix, suffix: around numbers from zero on, and around those below.
        grouping: how many digits the last group has, and how many those before it.
    """

    prefix: tuple[str, str]
    suffix: tuple[str, str]
    point: str
    separator: str
    grouping: tuple[int, int]

    def write(self, value: Decimal, least: int, most: int) -> str:
        """A number with so many decimals, zeros at the end left out down to the least; a tie goes to the even digit."""
        rounded = value.quantize(_quantum(most), ROUND_HALF_EVEN, _WIDE)
        whole, _, fraction = f"{rounded.copy_abs():f}".partition(".")
        fraction = fraction.rstrip("0").ljust(least, "0")
        below = bool(rounded < 0)
        text = f"{self.prefix[below]}{self._grouped(whole)}"
        return f"{text}{self.point}{fraction}{self.suffix[below]}" if fraction else f"{text}{self.suffix[below]}"

    def _grouped(self, digits: str) -> str:
        last, before = self.grouping
        groups: list[str] = []
        while len(digits) > last:
            digits, group = digits[:-last], digits[-last:]
            groups.append(group)
            last = before
        return self.separator.join((digits, *reversed(groups)))


@lru_cache(maxsize=1024)
def _form(pattern: NumberPattern, locale: str) -> _Form:
    """The form of a CLDR pattern; quotes around plain text in it are its own notation."""
    before, after = (tuple(text.replace("'", "") for text in around) for around in (pattern.prefix, pattern.suffix))
    point, separator = get_decimal_symbol(_locale(locale)), get_group_symbol(_locale(locale))
    return _Form((before[0], before[1]), (after[0], after[1]), point, separator, pattern.grouping)


@lru_cache(maxsize=128)
def _quantum(digits: int) -> Decimal:
    return Decimal(1).scaleb(-digits)
