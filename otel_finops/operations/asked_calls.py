"""A call that somebody wants to make, as governance asks of it: whose it is, and what it will cost at most."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from otel_finops.audit.redaction import canonical
from otel_finops.base.errors import Busy, Unavailable
from otel_finops.base.protocols import DEFAULT_REALM
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.described_calls import CallPricer, counted, in_words, must_be_his, own_tenant
from otel_finops.operations.fields import amount_of

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.decide import Estimate, Question
    from otel_finops.governance.decisions import Key

_TEXTS: Final = ("operation", "agent", "step", "purpose", "cost_center", "service", "environment")
_COUNTS: Final = ("input_tokens_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_12h", "output_tokens")
"""All tokens of a call; what else is counted is a part of these."""


def question_of(context: Context, principal: Principal, record: Mapping[str, Any], tags: Mapping[str, str], new_id: str) -> Question:
    """The question that a described call is.

    Args:
        record: fields as `pricing.quote` and the contract's `decision_in` name them; what is not known is not there.
        tags: those of keys that the settings do not allow are left out.
        new_id: under which the decision shall stand.

    Raises:
        BadInput: an estimate that can be none.
        NotFound, Forbidden: the call is not the principal's to ask about.
    """
    from otel_finops.governance.calls import GovernedCall, family  # noqa: PLC0415 - `--help` must not load the database rooms
    from otel_finops.governance.decide import Asked, Question  # noqa: PLC0415

    must_be_his(principal, record)
    said, guessed = counted(record)
    estimate = _estimate(context, principal, said, tuple(guessed))
    allowed = context.settings.attribution.tags
    call = GovernedCall(
        tenant=record.get("tenant") or own_tenant(principal),
        realm=record.get("realm") or _realm(principal),
        provider=family(record.get("provider")),
        model=record.get("model") or None,
        trace=record.get("trace_id"),
        tags={name: value for name, value in tags.items() if name in allowed},
        at_ns=context.clock.now_ns(),
        pico=estimate.pico,
        tokens=sum(_whole(said.get(name)) for name in _COUNTS),
        **{name: record.get(name) or None for name in _TEXTS},
    )
    facts = {"input_tokens": call.tokens - _whole(said.get("output_tokens")), "max_output_tokens": _whole(said.get("output_tokens"))}
    asked = Asked(new_id, call, record.get("user") or None, record.get("session") or None, facts)
    return Question(asked, estimate, lambda model: _estimate(context, principal, {**said, "model": model}, tuple(guessed)))


def key_of(given: Mapping[str, Any], key: str | None) -> Key | None:
    """Digests of a caller's key and of what he asks; his key, which is stored nowhere, keeps whom he names from being guessed by it."""
    from otel_finops.governance.decisions import Key  # noqa: PLC0415 - `--help` must not load the database rooms

    if key is None:
        return None
    return Key(hashlib.sha256(key.encode()).hexdigest(), hashlib.sha256(key.encode() + b"\0" + canonical(given)).hexdigest())


def _estimate(context: Context, principal: Principal, said: Mapping[str, Any], guessed: tuple[str, ...]) -> Estimate:
    """What the caller says, else what his counts cost; the given amount is also taken for another model, of which nobody said one."""
    from otel_finops.governance.decide import Estimate  # noqa: PLC0415 - `--help` must not load the database rooms
    from otel_finops.pricing.calculator import RefusedRecord, call_of  # noqa: PLC0415

    if (text := said.get("estimate_usd")) is not None:
        return Estimate(amount_of("estimate_usd", text), "given")
    record = {name: value for name, value in said.items() if name not in ("tenant", "realm") or value}
    try:
        call = call_of(record, context.clock)
        if not call.usage and not call.seconds:
            detail = "no counts were given: say input_tokens or text_chars, and max_output_tokens; or estimate_usd"
            return Estimate(None, "unknown", guessed, detail)
        quote = CallPricer(context, principal, lately=True).charge(call, record).quote
    except RefusedRecord as refusal:
        return Estimate(None, "unknown", guessed, str(refusal))
    except (Busy, Unavailable):
        return Estimate(None, "unknown", guessed, "the prices cannot be read now")
    if quote.cost_pico is None:
        return Estimate(None, "unknown", guessed, in_words(quote))
    return Estimate(quote.cost_pico, "priced", guessed)


def _realm(principal: Principal) -> str:
    """In which space the call's user and session have references: where its spans will have them."""
    return principal.tenants[0] if principal.tenants is not None and len(principal.tenants) == 1 else DEFAULT_REALM


def _whole(count: Any) -> int:
    return count if isinstance(count, int) and count > 0 else 0
