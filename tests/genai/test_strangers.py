"""Senders with different credentials in one realm: nobody puts costs on a tenant that he does not speak for."""

from __future__ import annotations

from scenes import agent, call, charged, decided, span

A_AND_B = {"speaks_for": "a\nb"}
C_AND_D = {"speaks_for": "c\nd"}


def test_a_tenant_inherited_from_a_stranger_does_not_count() -> None:
    found = decided(
        agent("root", attribution={"agent": "planner", "tenant": "a"}, **A_AND_B),
        call("mine", "root", **A_AND_B),
        call("strange", "root", (7, 7), **C_AND_D),
    )
    assert found["mine"].sighting.attribution["tenant"] == "a"
    assert found["strange"].sighting.attribution["tenant"] == "default"


def test_a_parent_cannot_take_over_the_call_of_a_stranger() -> None:
    found = decided(span("root", attribution={"tenant": "c"}, **C_AND_D), call("mine", "root", defaults={"tenant": "a"}, **A_AND_B))
    assert found["mine"].sighting.attribution["tenant"] == "default"


def test_a_twin_of_a_stranger_is_a_call_of_its_own() -> None:
    found = decided(
        call("mine", response_id="r1", attribution={"tenant": "a"}, **A_AND_B),
        call("strange", response_id="r1", scope="gateway", attribution={"tenant": "c"}, **C_AND_D),
    )
    assert charged(found) == ["mine", "strange"]


def test_an_answer_of_a_stranger_makes_no_call_free() -> None:
    found = decided(
        call("mine", response_id="r1", attribution={"tenant": "a"}, **A_AND_B),
        call("strange", response_id="r1", at=60, to=61, trace="b" * 32, attribution={"tenant": "c"}, **C_AND_D),
    )
    assert charged(found) == ["mine", "strange"]


def test_a_gateway_that_speaks_for_all_merges_with_the_tenant_that_it_names() -> None:
    found = decided(
        call("app", response_id="r1", attribution={"tenant": "a"}, **A_AND_B),
        call("gateway", "app", response_id="r1", scope="gateway"),
        call("other", "app", (5, 5), attribution={"tenant": "b"}, **A_AND_B),
    )
    assert charged(found) == ["gateway", "other"]
    assert found["app"].counted_in == found["gateway"].sighting.key
    assert found["gateway"].sighting.attribution["tenant"] == "a"


def test_tenants_of_one_sender_still_merge() -> None:
    found = decided(call("outer", attribution={"tenant": "a"}, scope="framework", **A_AND_B), call("inner", "outer", **A_AND_B))
    assert len(charged(found)) == 1


def test_a_stranger_who_links_to_a_trace_splits_nobodys_call() -> None:
    """The framework's span names the tenant, its twin in a trace of its own does not; both came by one credential."""
    twins = (
        call("framework", attribution={"tenant": "a"}, scope="framework", **A_AND_B),
        call("client", trace="b" * 32, response_id="r1", scope="client", **A_AND_B),
    )
    alone = charged(decided(*twins))
    stranger = call("strange", (7, 7), trace="c" * 32, links=(twins[0].key,), attribution={"tenant": "c"}, **C_AND_D)
    assert charged(decided(*twins, stranger)) == [*alone, "strange"]


def test_one_who_speaks_for_a_tenant_meets_the_others_in_that_tenant_alone() -> None:
    found = decided(
        call("app", response_id="r1", attribution={"tenant": "a"}, **A_AND_B),
        call("gateway", "app", response_id="r1", scope="gateway", attribution={"tenant": "a"}),
        call("b1", (5, 5), response_id="r2", attribution={"tenant": "b"}, **A_AND_B),
        call("c1", (5, 5), response_id="r2", scope="gateway", attribution={"tenant": "c"}),
    )
    assert charged(found) == ["b1", "c1", "gateway"]


def test_spans_without_a_tenant_stay_with_their_senders() -> None:
    found = decided(call("mine", response_id="r1", **A_AND_B), call("strange", response_id="r1", scope="gateway", **C_AND_D))
    assert charged(found) == ["mine", "strange"]
