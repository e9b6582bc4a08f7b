"""Overlapping counts made disjoint; every expected number is worked out by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otel_finops.genai.provider_usage import read_provider_usage
from otel_finops.genai.usage import INPUT_PARTS, OUTPUT_PARTS, PROMPT_UNITS, WRITE_UNITS
from otel_finops.genai.usage_reading import COUNT_NAMES, Reading, read_usage


def read(counts: dict[str, int], *, exclusive: bool = False, reasoning_outside: bool = False, google: bool = False) -> Reading:
    return read_usage(counts, exclusive=exclusive, reasoning_outside=reasoning_outside, thinks_beside=google)


def test_cached_tokens_are_taken_out_of_the_input() -> None:
    reading = read({"input": 3517, "output": 419, "cache_read": 2304})
    assert reading.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}
    assert reading.readings == (3517, 5821)
    assert reading.rule == "inclusive"


def test_a_scope_known_to_leave_them_out_is_believed() -> None:
    reading = read({"input": 9000, "output": 1, "cache_read": 10}, exclusive=True)
    assert reading.usage == {"input_uncached": 9000, "cache_read": 10, "output": 1}
    assert reading.rule == "exclusive"


def test_more_cached_than_input_means_left_out() -> None:
    reading = read({"input": 91, "output": 241, "cache_read": 7183})
    assert reading.usage == {"input_uncached": 91, "cache_read": 7183, "output": 241}
    assert reading.readings == (7274,)
    assert reading.rule == "exclusive_by_size"


def test_the_total_tells_that_they_are_left_out() -> None:
    reading = read({"input": 500, "output": 10, "cache_read": 100, "total": 610})
    assert reading.usage == {"input_uncached": 500, "cache_read": 100, "output": 10}
    assert reading.rule == "exclusive_by_total"


def test_a_stated_uncached_count_needs_no_guess() -> None:
    assert read({"input": 600, "uncached": 450, "cache_read": 150, "output": 1}).usage["input_uncached"] == 450
    assert read({"uncached": 450, "output": 1}) == Reading({"input_uncached": 450, "output": 1}, (450,), "uncached")


def test_everything_cached_leaves_no_uncached_input() -> None:
    assert read({"input": 100, "cache_read": 100, "output": 1}).usage == {"cache_read": 100, "output": 1}


def test_tool_prompts_of_google_are_input_and_thoughts_are_output() -> None:
    """An answer with a page's text: 27 asked, 10309 of the page, 31 thought and 45 said make 10412."""
    page = {"input": 27, "output": 45, "reasoning": 31, "tool_use": 10309, "total": 10412}
    expected = {"input_uncached": 10336, "output": 76, "reasoning": 31}
    reading = read(page, reasoning_outside=True, google=True)
    assert (reading.usage, reading.readings) == (expected, (10336, 27))
    for unsaid in ("tool_use", "reasoning", "total"):
        told = {name: count for name, count in page.items() if name != unsaid}
        wanted = {name: count for name, count in expected.items() if name != unsaid}
        assert read(told, reasoning_outside=True, google=True).usage == wanted, unsaid


def test_googles_own_object_says_all_of_it() -> None:
    page = {
        "promptTokenCount": 27, "candidatesTokenCount": 45, "thoughtsTokenCount": 31, "toolUsePromptTokenCount": 10309,
        "totalTokenCount": 10412, "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 10309}],
    }  # fmt: skip
    found = read_provider_usage(page)
    assert found.counts == {"input": 27, "output": 45, "reasoning": 31, "tool_use": 10309, "total": 10412}
    reading = read(found.counts, reasoning_outside=found.reasoning_outside, google=True)
    assert reading.usage == {"input_uncached": 10336, "output": 76, "reasoning": 31}


def test_an_output_with_thoughts_leaves_the_tool_prompt_as_the_rest_of_the_total() -> None:
    """LangChain's output has the thoughts: 45 + 31 = 76."""
    for reasoning in (31, 76):
        reading = read({"input": 27, "output": 76, "reasoning": reasoning, "total": 10412}, google=True)
        assert reading.usage == {"input_uncached": 10336, "output": 76, "reasoning": reasoning}


def test_a_tool_prompt_that_the_input_has_already_is_not_added_again() -> None:
    """10336 + 45 + 31 = 10412."""
    inside = {"input": 10336, "output": 45, "reasoning": 31, "tool_use": 10309, "total": 10412}
    assert read(inside, reasoning_outside=True, google=True).usage == {"input_uncached": 10336, "output": 76, "reasoning": 31}


def test_a_tool_prompt_beside_cached_tokens() -> None:
    """3355 asked, 2048 of it cached, 400 from a tool: 1707 uncached."""
    counts = {"input": 3355, "cache_read": 2048, "output": 221, "reasoning": 512, "tool_use": 400, "total": 4488}
    reading = read(counts, reasoning_outside=True, google=True)
    assert reading.usage == {"input_uncached": 1707, "cache_read": 2048, "output": 733, "reasoning": 512}
    assert reading.readings == (3755, 5803, 3355)


def test_writes_live_five_minutes_unless_said_otherwise() -> None:
    """7270 = 87 + 3072 + 4111."""
    plain = read({"input": 7270, "output": 223, "cache_write": 7183})
    assert plain.usage == {"input_uncached": 87, "cache_write_5m": 7183, "output": 223}
    split = read({"input": 7270, "output": 223, "cache_write": 7183, "cache_write_5m": 3072, "cache_write_1h": 4111})
    assert split.usage == {"input_uncached": 87, "cache_write_5m": 3072, "cache_write_1h": 4111, "output": 223}
    partly = read({"input": 7270, "output": 223, "cache_write": 7183, "cache_write_1h": 4111})
    assert partly.usage == split.usage


def test_thoughts_are_the_rest_of_googles_total() -> None:
    """4088 - 3355 = 733, of which 512 were thought."""
    assert read({"input": 3355, "output": 221, "cache_read": 2048, "total": 4088}, google=True).usage["output"] == 733
    assert read({"input": 3355, "output": 733, "total": 4088, "reasoning": 512}, google=True).usage == {
        "input_uncached": 3355,
        "output": 733,
        "reasoning": 512,
    }


def test_reasoning_is_added_only_where_it_was_left_out() -> None:
    assert read({"input": 1, "output": 911, "reasoning": 576}).usage["output"] == 911
    assert read({"input": 1, "output": 911, "reasoning": 576}, reasoning_outside=True).usage["output"] == 1487
    assert read({"input": 1, "output": 335, "reasoning": 576}).usage["output"] == 911


def test_parts_never_exceed_what_they_are_parts_of() -> None:
    reading = read({"input": 1009, "output": 509, "cache_read": 900, "audio_in": 307, "audio_out": 401})
    assert reading.usage == {"input_uncached": 109, "cache_read": 900, "audio_in": 109, "output": 509, "audio_out": 401}


def test_zeros_are_nothing() -> None:
    assert read({"input": 0, "output": 0, "cache_read": 0}) == Reading({}, (), "inclusive")
    assert read({"uncached": 0, "output": 0}).readings == ()


counts = st.dictionaries(st.sampled_from(COUNT_NAMES), st.integers(0, 5_000))


@given(counts, st.booleans(), st.booleans(), st.booleans())
def test_whatever_is_sent_the_usage_is_disjoint(sent: dict[str, int], exclusive: bool, outside: bool, google: bool) -> None:
    reading = read(sent, exclusive=exclusive, reasoning_outside=outside, google=google)
    usage = reading.usage
    prompt = sum(usage.get(unit, 0) for unit in PROMPT_UNITS)
    assert all(count > 0 for count in usage.values())
    assert sum(usage.get(part, 0) for part in INPUT_PARTS) <= usage.get("input_uncached", 0)
    assert sum(usage.get(part, 0) for part in OUTPUT_PARTS) <= usage.get("output", 0)
    assert usage.get("cache_read", 0) == sent.get("cache_read", 0)
    assert sum(usage.get(unit, 0) for unit in WRITE_UNITS) >= sent.get("cache_write", 0)
    assert usage.get("output", 0) >= sent.get("output", 0)
    if prompt and (sent.get("input") or "uncached" in sent):
        assert prompt in reading.readings
    if reading.rule == "inclusive":
        beside = sent.get("tool_use", 0), sent.get("total", 0) - sent.get("input", 0) - sent.get("output", 0)
        assert sent.get("input", 0) <= prompt <= sent.get("input", 0) + max(0, *beside)


def test_searches_of_a_providers_own_tool_are_billed_beside_the_tokens() -> None:
    """Anthropic counts them in `server_tool_use`; LiteLLM repeats them among the details of the prompt."""
    anthropic = read_provider_usage({"input_tokens": 105, "output_tokens": 6039, "server_tool_use": {"web_search_requests": 3}})
    assert read(anthropic.counts).usage == {"input_uncached": 105, "output": 6039, "web_searches": 3}
    litellm = read_provider_usage({"prompt_tokens": 105, "completion_tokens": 6039, "prompt_tokens_details": {"web_search_requests": 3}})
    assert read(litellm.counts).usage == {"input_uncached": 105, "output": 6039, "web_searches": 3}
