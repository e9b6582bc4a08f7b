"""A call that somebody describes: its fields, and what it would be booked at. Quotes and estimates share it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model

from otel_finops.base.errors import Forbidden
from otel_finops.base.limits import NAME_CHARS_MAX
from otel_finops.base.money import format_usd
from otel_finops.base.protocols import DEFAULT_REALM, DEFAULT_TENANT
from otel_finops.genai.usage import OTHER_UNITS, TOKEN_UNITS
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.registry import Input
from otel_finops.pricing.providers import canonical
from otel_finops.trees.notes import UNPRICED

if TYPE_CHECKING:  # `--help` must not load the price rooms
    from otel_finops.pricing.cascade import Charge
    from otel_finops.pricing.engine import PriceEngine
    from otel_finops.pricing.quote import PriceableCall, Quote
    from otel_finops.pricing.selectors import DescribedCall


def _number(given: Any) -> Any:
    """A text of digits as the number that it is; what is none stays as it is and is answered as `bad_usage`, as `price` does."""
    if isinstance(given, str):
        text = given.strip()
        if text.isascii() and text.lstrip("-").isdigit() and len(text) <= _DIGITS_MAX:
            return int(text)
        try:
            return float(text)
        except ValueError:
            return given
    return given


_DIGITS_MAX: Final = 18
_COUNT: Final = {"type": "integer", "minimum": 0}
_Number: TypeAlias = Annotated[Any, BeforeValidator(_number), WithJsonSchema(_COUNT)]
_Seconds: TypeAlias = Annotated[Any, BeforeValidator(_number), WithJsonSchema({"type": "number", "minimum": 0})]
Text: TypeAlias = Annotated[str, Field(max_length=1_024)]
_RECORD_NAMES: Final = {"input_uncached": "input_tokens_uncached", "output": "output_tokens", "reasoning": "reasoning_tokens"}
_PARTS: Final = {
    "audio_in": "Audio tokens among the uncached prompt.", "image_in": "Image tokens among the uncached prompt.",
    "video_in": "Video tokens among the uncached prompt.", "reasoning": "Reasoning tokens among the output.",
    "audio_out": "Audio tokens among the output.", "image_out": "Image tokens among the output.",
    "video_out": "Video tokens among the output.", "input_uncached": "Prompt tokens neither read from nor written to a cache.",
    "output": "All generated tokens, reasoning and audio included.", "cache_read": "Prompt tokens read from a cache.",
    "cache_write_5m": "Prompt tokens written to a cache for 5 minutes.", "cache_write_1h": "The same for an hour.",
    "cache_write_12h": "The same for 12 hours.", "images": "Images made.", "queries": "Searches or re-rankings.",
    "pixels": "Pixels.", "characters": "Characters.", "pages": "Pages read.", "annotated_pages": "Pages annotated.",
    "web_searches": "Web searches.", "requests": "Requests.", "sessions": "Sessions of a hosted tool.",
}  # fmt: skip
CHOOSING: Final = {
    "mode": "What for: chat, embedding, ...", "service_tier": "default, batch, flex, priority, ...",
    "region_kind": "data_residency, vertex_location, inference_geo or bedrock_region.", "region": "The region of that kind.",
    "speed": "`fast`, where a vendor has such a mode.", "image_size": "Size of the images, e.g. 1024x1024.",
    "quality": "Quality of the images.", "resolution": "Resolution of the video, e.g. 720p.",
}  # fmt: skip
WHOSE: Final = {
    "tenant": "Whose call it is: what is agreed for whom depends on it. The token's own tenant when it has one.",
    "user": "Of which user.", "agent": "Of which agent.", "service": "Of which service.", "environment": "In which environment.",
    "cost_center": "For which cost centre.", "purpose": "For which purpose.", "realm": "Of which realm; `default` when not given.",
}  # fmt: skip
"""What the settings' rules about money ask of a call (docs/pricing.md)."""


class _Call(Input):
    """The fields of a call that are texts; the counts stand in `CallInput`. Others are ignored, as `price` does, and named in answers."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, hide_input_in_errors=True)

    model: Text | None = Field(default=None, description="The model's name as spans carry it.")
    provider: Text | None = Field(default=None, description="Who bills, in any spelling.")
    id: Text | None = Field(default=None, description="Comes back with the answer.")
    at: Text | None = Field(default=None, description="The billing moment, RFC 3339; now when it is not given.")
    account: Text | None = Field(default=None, description="Whose contract prices hold; for tokens of all tenants.")

    def record(self) -> Mapping[str, Any]:
        """The call as a record of `price`."""
        said = self.model_fields_set & type(self).model_fields.keys()
        return {name: value for name in said if (value := getattr(self, name)) is not None}


_OPTIONAL: Final[dict[str, Any]] = {
    **{
        _RECORD_NAMES.get(unit, unit): (_Number | None, Field(default=None, description=_PARTS[unit]))
        for unit in (*TOKEN_UNITS, *OTHER_UNITS)
        if unit != "seconds"
    },
    "seconds": (_Seconds | None, Field(default=None, description="Seconds of audio or video.")),
    **{name: (Text | None, Field(default=None, description=text)) for name, text in CHOOSING.items()},
    **{name: (Text | None, Field(default=None, description=text)) for name, text in WHOSE.items()},
}
CallInput: Final = create_model("CallInput", __base__=_Call, __doc__="A call, as the command `price` takes it.", **_OPTIONAL)


# --- what it would be booked at --------------------------------------------------------------------------------------


class Described(NamedTuple):
    """What a described call costs.

    Attributes:
        answer: as the command `price` answers, with the cost that would be booked.
        charge: that cost and what is really paid; None where the call was refused.
    """

    answer: dict[str, Any]
    charge: Charge | None

    def shown(self) -> dict[str, Any]:
        """The answer with all of its fields, `ignored` left out."""
        made = None if self.charge is None else self.charge.quote
        shown = {**NOTHING, **self.answer, "price_version": made.price_version if made else None}
        return {**shown, "detail": shown["detail"] or in_words(made), **_real(self.charge)}


NOTHING: Final[Mapping[str, Any]] = {
    "id": "", "usd": None, "key": None, "match": None, "method": None, "lines": [], "partial": False, "reason": None, "detail": None,
    "price_version": None, "list_usd": None, "contracted_usd": None, "account": None, "coverage_id": None,
}  # fmt: skip


class CallPricer:
    """What described calls would be booked at now: by the price book, and the rules about accounts, discounts and flat fees.

    It is the calculation that settling does; what only a run can know, free allowances and shares of fees, is not in it.
    """

    def __init__(self, context: Context, principal: Principal, *, lately: bool = False) -> None:
        """
        Args:
            lately: prices and rules as they were some seconds ago will do; the store is not asked.
        """
        self._principal = principal
        self._clock = context.clock
        self.engine: PriceEngine
        self.engine, self._rules = context.pricing.lately() if lately else (context.pricing.engine(), context.pricing.money_rules())

    def priced(self, record: Mapping[str, Any]) -> Described:
        """The cost of one call; one that is refused says why. Raises what `must_be_his` raises."""
        from otel_finops.pricing.calculator import price_record  # noqa: PLC0415 - `--help` must not load the price rooms

        must_be_his(self._principal, record)
        charges: list[Charge] = []

        def quoted(call: PriceableCall) -> Quote:
            charges.append(self.charge(call, record))
            return charges[0].quote

        answer = price_record(record, quoted, self._clock).answer
        return Described(answer, charges[0] if charges else None)

    def charge(self, call: PriceableCall, record: Mapping[str, Any]) -> Charge:
        """What would be booked for a call that can be priced."""
        return self._rules.charged(self.engine, call, described_call(self._principal, record, call.at_ns))


def described_call(principal: Principal, record: Mapping[str, Any], at_ns: int) -> DescribedCall:
    """Whose call it is, for rules about money; raises what `must_be_his` raises."""
    from otel_finops.pricing.selectors import DescribedCall  # noqa: PLC0415 - `--help` must not load the price rooms

    must_be_his(principal, record)
    said = _whose(principal, record)
    provider, model = record.get("provider"), record.get("model")
    return DescribedCall(
        said.pop("realm", DEFAULT_REALM),
        canonical(provider) if isinstance(provider, str) and provider else None,
        model if isinstance(model, str) else None,
        None,
        at_ns,
        said,
        {},
    )


def counted(record: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A call that somebody wants to make, with the counts that stand in for those that nobody knows yet, and which those are."""
    said, guessed = dict(record), []
    if "input_tokens" in said:
        said.setdefault("input_tokens_uncached", said["input_tokens"])
    elif "text_chars" in said and "input_tokens_uncached" not in said:
        said["input_tokens_uncached"] = -(-said["text_chars"] // _CHARS_PER_TOKEN)
        guessed.append("input_tokens_uncached from text_chars")
    if "max_output_tokens" in said and "output_tokens" not in said:
        said["output_tokens"] = said["max_output_tokens"]
        guessed.append("output_tokens, at most max_output_tokens")
    return said, guessed


_CHARS_PER_TOKEN: Final = 4
"""Of English text and the usual tokenizers, rounded up; a guess, and said to be one."""


def must_be_his(principal: Principal, record: Mapping[str, Any]) -> None:
    """Refuse a described call that is not the principal's to ask about, whether it could be priced or not.

    Raises:
        NotFound: it is said to be another tenant's, or of another tenant's realm: what is agreed for either is theirs to know.
        Forbidden: it names an account, whose contract prices are for those who see all tenants.
    """
    if principal.tenants is not None and "account" in record:
        raise Forbidden("account: contract prices are for tokens of all tenants.")
    said = _whose(principal, record)
    if "tenant" in record:
        principal.must_see(said["tenant"])
    if said.get("realm", DEFAULT_REALM) != DEFAULT_REALM:
        principal.must_see(said["realm"])


def _whose(principal: Principal, record: Mapping[str, Any]) -> dict[str, str]:
    said = {name: value for name in WHOSE if isinstance(value := record.get(name), str)}
    return {"tenant": own_tenant(principal), **said}


def own_tenant(principal: Principal) -> str:
    """Whose call it is when nobody says: the principal's who has one tenant, else nobody's in particular."""
    return principal.tenants[0] if principal.tenants is not None and len(principal.tenants) == 1 else DEFAULT_TENANT


def unknown_fields(record: Iterable[str]) -> list[str]:
    """Names that no field of a call has: most often a count that was meant for another one."""
    return [name[:NAME_CHARS_MAX] for name in sorted(set(record) - CallInput.model_fields.keys())[:_IGNORED_SHOWN]]


_IGNORED_SHOWN: Final = 20


def in_words(made: Quote | None) -> str | None:
    """Why a call has no price."""
    return None if made is None or made.unpriced_reason is None else UNPRICED.get(made.unpriced_reason, made.unpriced_reason)


def _real(charge: Charge | None) -> dict[str, Any]:
    """What it would cost by the list and by what was agreed; where nothing else is said, both are the cost."""
    if charge is None:
        return {}
    cost, money = charge.quote.cost_pico, charge.money
    listed, contracted = (
        amount if amount is not None or money.coverage_id is not None else cost for amount in (money.listed, money.contracted)
    )
    return {
        "list_usd": None if listed is None else format_usd(listed),
        "contracted_usd": None if contracted is None else format_usd(contracted),
        "account": money.account,
        "coverage_id": money.coverage_id,
    }
