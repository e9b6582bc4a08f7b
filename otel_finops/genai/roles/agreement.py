"""Whether two sightings can be of one call: their models, providers, numbers and times."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from otel_finops.genai.sighting import RANK_GATEWAY, Sighting
from otel_finops.genai.usage import prompt_tokens

OUTPUT_TOLERANCE: Final = 2
"""Tokens by which two counts of one output may differ: a streaming instrumentation adds the first message's count (trap 14)."""
GAP_MAX_NS: Final = 2_000_000_000
"""Two sightings of one call overlap or lie at most this far apart: some are written only when a stream was read to its end."""

_VENDOR: Final = re.compile(r"^(?:(?:[a-z][a-z-]*|ai21)\.)+")
"""Region and vendor before a Bedrock model: `us.anthropic.`, `amazon.`."""
_REVISION: Final = re.compile(r"(?:-v\d+)?:\d+$")
_DATE: Final = re.compile(r"(?:[-@]\d{4}-\d{2}-\d{2}|[-@]\d{8}|-\d{3,4}|-latest)$")
"""Dates and revisions that an answer's model has and a request's has not."""

_FAMILY: Final = {"azure": "openai", "azure_ai": "openai", "vertex_ai": "gemini", "google": "gemini"}
"""Providers that instrumentations confuse: the format's name against the host's."""
_ALIASING: Final = frozenset({"azure", "azure_ai", "bedrock", "sagemaker"})
"""Providers where the customer names the model, so that two different names can mean one."""

_WORD: Final = re.compile(r"(?:[a-z]+[-_.:])+")
"""What stands before the part of an answer id that differs: `chatcmpl-`, `msg_`."""
_FEW_DIGITS, _FEW_CHARACTERS = 12, 8
"""Numbers and texts that are shorter are drawn from a range small enough to be drawn twice."""


@lru_cache(maxsize=4096)
def plain_model(name: str) -> str:
    """A model's name without route, region, vendor, revision and date; for comparing sightings, never for prices."""
    plain = _VENDOR.sub("", name.strip().lower().rsplit("/", 1)[-1])
    plain = _REVISION.sub("", plain)
    return _DATE.sub("", plain).replace(".", "-") or name


def models_of(sighting: Sighting) -> tuple[str, ...]:
    """The plain names that a sighting gives its model; empty when it gives none."""
    asked, answered = sighting.request_model, sighting.response_model
    names = [plain_model(name) for name in (answered, asked) if name]
    return tuple(dict.fromkeys(names))


def same_model(one: Sighting, other: Sighting) -> bool | None:
    """Whether the models agree; None when either names none."""
    if one.request_model == other.request_model and one.request_model is not None:
        return True
    mine, theirs = models_of(one), models_of(other)
    if not mine or not theirs:
        return None
    return not set(mine).isdisjoint(theirs)


def same_provider(one: Sighting, other: Sighting) -> bool:
    """Whether both name a provider, of one family."""
    if one.provider is None or other.provider is None:
        return False
    return _FAMILY.get(one.provider, one.provider) == _FAMILY.get(other.provider, other.provider)


def models_contradict(one: Sighting, other: Sighting) -> bool:
    """Two different models answered: not one call, whatever the provider. Where customers name models nothing contradicts."""
    if one.response_model is None or other.response_model is None or _ALIASING & {one.provider, other.provider}:
        return False
    return same_model(one, other) is False


def behind_gateway(one: Sighting, other: Sighting) -> bool:
    """One is a gateway's view, at the time of the other: the models' names may be an alias and what was called behind it."""
    return RANK_GATEWAY in (one.rank, other.rank) and one.scope != other.scope and near(one, other)


def ids_contradict(one: Sighting, other: Sighting) -> bool:
    """Both have an answer id, and not the same."""
    return one.response_id is not None and other.response_id is not None and one.response_id != other.response_id


def drawn_from_few(response_id: str) -> bool:
    """Whether an answer id is visibly one of few, as local servers draw them (`chatcmpl-417`): another answer may get the same one.

    The part behind words such as `chatcmpl-` is then a short number or a short text; providers' and gateways' own ids have 20
    characters and more of it.
    """
    varying = response_id[word.end() :] if (word := _WORD.match(response_id)) else response_id
    return len(varying) < (_FEW_DIGITS if _is_number(varying) else _FEW_CHARACTERS)


def _is_number(text: str) -> bool:
    return text.replace("-", "").replace("_", "").isdigit()


def readings_of(sighting: Sighting) -> tuple[int, ...]:
    """The whole prompt under each reading of the sender's numbers."""
    return sighting.input_readings or (prompt_tokens(sighting.usage),)


def same_output(one: Sighting, other: Sighting) -> bool:
    """Outputs agree within the tolerance; a broken-off stream's output agrees with any that is not smaller."""
    mine, theirs = one.usage.get("output", 0), other.usage.get("output", 0)
    if abs(mine - theirs) <= OUTPUT_TOLERANCE:
        return True
    return (one.partial and mine < theirs) or (other.partial and theirs < mine)


def says_anything(sighting: Sighting) -> bool:
    """Whether there are tokens to compare at all: two media calls without tokens agree on nothing."""
    return bool(sighting.usage.get("output")) or any(readings_of(sighting))


def gap_ns(one: Sighting, other: Sighting) -> int:
    """Time between two intervals; 0 where they touch or overlap."""
    return max(0, one.start_ns - other.end_ns, other.start_ns - one.end_ns)


def near(one: Sighting, other: Sighting) -> bool:
    """The intervals overlap or are close enough for one call."""
    return gap_ns(one, other) <= GAP_MAX_NS


def evidence(one: Sighting, other: Sighting, *, bound: bool) -> bool:
    """Rule 4b of two sightings with equal readings: provider family or model agrees, times are near, nothing contradicts.

    Of two that are bound (one is above the other or linked to it) one may name an alias that the other resolved, so other names
    contradict only between neighbours; a gateway may even have resolved it to another provider's model.
    """
    if not same_output(one, other) or ids_contradict(one, other) or not near(one, other):
        return False
    if not (says_anything(one) and says_anything(other)) and one.usage != other.usage:
        return False
    if same_model(one, other) is True or (bound and behind_gateway(one, other)):
        return True
    return same_provider(one, other) and (bound or not models_contradict(one, other))
