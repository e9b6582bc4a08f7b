"""Which traces are decided together, and that looking for them stays cheap."""

from __future__ import annotations

import threading
import time

import pytest
from journal_rows import Sender, agent_trace, hex_span, hex_trace, row

from otel_finops.base.limits import NEIGHBOUR_TRACES_MAX
from otel_finops.genai.sighting import OTHER, RANK_GATEWAY
from otel_finops.ledger.answers import COPIES_MAX
from otel_finops.ledger.journal import find_trace
from otel_finops.ledger.neighbours import neighbourhoods
from otel_finops.store.engine import Store


@pytest.fixture
def sender(store: Store) -> Sender:
    return Sender(store)


def sets(sender: Sender, *seeds: int, realm: str = "default") -> list[list[int]]:
    """The neighbourhoods of traces, as numbers."""
    with sender.store.read() as transaction:
        states = [find_trace(transaction, realm, hex_trace(seed)) for seed in seeds]
        found = neighbourhoods(transaction, [state for state in states if state is not None])
    return [[int(state.trace_id, 16) for state in one.traces] for one in found]


def originals(sender: Sender, *seeds: int) -> list[tuple[list[int], list[int]]]:
    """The neighbourhoods of traces as (traces, originals)."""
    with sender.store.read() as transaction:
        states = [find_trace(transaction, "default", hex_trace(seed)) for seed in seeds]
        found = neighbourhoods(transaction, [state for state in states if state is not None])
    return [tuple([int(state.trace_id, 16) for state in part] for part in one) for one in found]  # type: ignore[misc]


def usage(prompt: int, output: int) -> dict[str, object]:
    return {"usage": {"input_uncached": prompt, "output": output}, "input_readings": (prompt,)}


def test_a_trace_alone(sender: Sender) -> None:
    sender.send(*agent_trace(1), *agent_trace(2))
    assert sets(sender, 1, 2) == [[1], [2]]
    assert sets(sender) == []


def test_linked_traces_are_neighbours_both_ways_and_further(sender: Sender) -> None:
    sender.send(
        row(1, 1, links=((hex_trace(2), hex_span(9)),), **usage(1, 1)),
        row(2, 2, **usage(2, 2)),
        row(3, 3, links=((hex_trace(2), hex_span(9)),), **usage(3, 3)),
        row(4, 4, **usage(4, 4)),
    )
    for seed in (1, 2, 3):
        assert sets(sender, seed) == [[1, 2, 3]]
    assert sets(sender, 4, 3, 1) == [[1, 2, 3], [4]]


def test_a_link_of_a_skeleton_counts_and_one_to_a_trace_without_genai_does_not(sender: Sender) -> None:
    sender.send(
        row(1, 1, **usage(1, 1)), row(1, 10, kind=OTHER, links=((hex_trace(2), hex_span(2)), (hex_trace(3), hex_span(3)))),
        row(2, 2, **usage(2, 2)), row(3, 3, kind=OTHER),
    )  # fmt: skip
    assert sets(sender, 2) == [[1, 2]]


@pytest.mark.parametrize(
    ("other", "joined"),
    [
        ({"scope": "langchain", **usage(10, 5)}, True),
        ({"scope": "langchain", **usage(10, 7)}, True),
        ({"scope": "langchain", **usage(10, 8)}, False),
        ({"scope": "langchain", **usage(11, 5)}, False),
        ({"scope": "openai", **usage(10, 5)}, False),
        ({"scope": "langchain", **usage(10, 5), "instance": "another process"}, False),
        ({"scope": "langchain", **usage(10, 5), "start_s": 3}, True),
        ({"scope": "langchain", **usage(10, 5), "start_s": 3.001}, False),
        ({"scope": "langchain", **usage(10, 5), "start_s": -10, "lasts_s": 8}, True),
        ({"scope": "langchain", **usage(10, 5), "start_s": -10, "lasts_s": 7.999}, False),
        ({"scope": "langchain", **usage(10, 5), "start_s": -300, "lasts_s": 900}, True),
        ({"scope": "langchain", "usage": {"input_uncached": 4, "cache_read": 6, "output": 5}, "input_readings": (6, 10)}, True),
    ],
)  # fmt: skip
def test_equal_numbers_of_different_scopes_in_one_instance_close_in_time(sender: Sender, other: dict[str, object], joined: bool) -> None:
    """The first call: scope openai, prompt 10, output 5, from 0 to 1 s."""
    sender.send(row(1, 1), row(2, 2, **other))
    expected = [[1, 2]] if joined else [[1], [2]]
    assert sets(sender, 1, 2) == expected
    assert sets(sender, 1) == expected[:1]
    assert sets(sender, 2) == expected[-1:]


def test_numbers_meet_in_whatever_order_the_scopes_arrive(sender: Sender) -> None:
    """While an instance has shown one scope only nothing is compared; what came before must still be found."""
    sender.send(*[row(trace, trace, **usage(trace, 5)) for trace in range(10, 20)])
    sender.send(row(1, 1, scope="langchain", **usage(12, 5)))
    sender.send(row(2, 2, scope="langchain", **usage(15, 5)))
    sender.send(row(20, 20, **usage(99, 5)))
    sender.send(row(3, 3, scope="langchain", **usage(99, 5)))
    assert sets(sender, 1, 2, 3) == [[1, 12], [2, 15], [3, 20]]
    assert sets(sender, 12, 20, 11) == [[1, 12], [3, 20], [11]]


def test_one_answer_id_with_equal_numbers_is_one_answer_anywhere(sender: Sender) -> None:
    sender.send(
        row(1, 1, response_id="a", **usage(10, 5)),
        row(2, 2, response_id="a", scope="gateway", instance="proxy", start_s=700, **usage(10, 6)),
        row(3, 3, response_id="a", start_s=5000, **usage(10, 5)),
        row(4, 4, response_id="a", **usage(11, 5)),
        row(5, 5, response_id="a", start_s=9000, **usage(10, 50)),
        row(6, 6, response_id="a", realm="acme", **usage(10, 5)),
    )
    for seed in (1, 2, 3):
        assert sets(sender, seed) == [[1, 2, 3]]
    assert sets(sender, 4) == [[4]]
    assert sets(sender, 5) == [[5]]
    assert sets(sender, 6, realm="acme") == [[6]]


def test_a_gateways_answer_is_found_by_who_has_its_id_alone(sender: Sender) -> None:
    """A streamed answer's counts reach the application only when it asks for them; the gateway always has them."""
    sender.send(
        row(1, 1, response_id="r", scope="app", usage={}, input_readings=()),
        row(2, 2, response_id="r", scope="litellm", instance="gateway", rank=RANK_GATEWAY, **usage(100, 10)),
        row(3, 3, response_id="r", scope="client", instance="other", **usage(300, 30)),
    )
    assert sets(sender, 1) == [[1, 2]]
    assert sets(sender, 2) == [[1, 2]]


def test_replays_are_decided_with_their_original_which_is_only_looked_at(sender: Sender) -> None:
    """All replays need the first, none needs the others, and what is decided of the first does not depend on them."""
    sender.send(*[row(trace, trace, response_id="chatcmpl-1a2b3c4d5e6f", start_s=10 * trace) for trace in range(1, 41)])
    assert originals(sender, 30) == [([30], [1])]
    assert originals(sender, 30, 31, 12) == [([12, 30, 31], [1])]
    assert originals(sender, 1) == [(list(range(1, COPIES_MAX + 1)), [])]
    assert originals(sender, 1, 30) == [([*range(1, COPIES_MAX + 1), 30], [])]


def test_replays_beyond_a_neighbourhood_are_decided_in_several_each_with_the_original(sender: Sender) -> None:
    last = NEIGHBOUR_TRACES_MAX + 51
    sender.send(*[row(trace, trace, response_id="chatcmpl-1a2b3c4d5e6f", start_s=10 * trace) for trace in range(1, last + 1)])
    found = originals(sender, *range(2, last + 1))
    assert [(len(traces), further) for traces, further in found] == [(NEIGHBOUR_TRACES_MAX, [1]), (50, [1])]


def test_the_first_answers_of_two_scopes_and_those_nearest_to_them_belong_together(sender: Sender) -> None:
    """The gateway was put in between before request 5: its first sighting may show that one, or 4 or 6, but not 1."""
    sender.send(*[row(trace, trace, response_id="chatcmpl-1a2b3c4d5e6f", start_s=10 * trace) for trace in range(1, 11)])
    sender.send(row(50, 50, response_id="chatcmpl-1a2b3c4d5e6f", scope="gateway", instance="proxy", start_s=50.5))
    [(traces, further)] = originals(sender, 50)
    assert (traces, further) == ([1, 3, 4, 5, 6, 7, 8, 50], [])
    assert originals(sender, 6) == [(traces, [])]
    assert originals(sender, 10) == [([10], [1])]


def test_every_version_of_a_span_is_found(sender: Sender) -> None:
    for lasts_s in (9, 1, 5):
        sender.send(row(1, 1, lasts_s=lasts_s))
    sender.send(row(2, 2, scope="langchain", start_s=10.5))
    assert sets(sender, 2) == [[1, 2]]


def test_a_neighbourhood_is_bounded_and_the_same_whoever_asks(sender: Sender) -> None:
    links = [row(trace, trace, links=((hex_trace(trace + 1), hex_span(1)),), **usage(trace, 1)) for trace in range(1, 400)]
    sender.send(*links)
    [found] = sets(sender, 1)
    assert found == list(range(1, NEIGHBOUR_TRACES_MAX + 1))
    assert all(len(one) <= NEIGHBOUR_TRACES_MAX for one in sets(sender, *range(1, 400)))


def test_many_equal_calls_of_two_scopes_stay_cheap(sender: Sender) -> None:
    """A load test: 1,500 equal calls at one moment in each of two scopes. Nothing can be told apart, so little is looked at."""
    for first in range(0, 3000, 500):
        sender.send(*[row(trace, trace, scope=("openai", "langchain")[trace % 2]) for trace in range(first + 1, first + 501)])
    began = time.process_time()
    found = sets(sender, *range(1, 101))
    assert time.process_time() - began < 5
    assert all(len(one) <= NEIGHBOUR_TRACES_MAX for one in found)


def test_two_writers_that_bring_the_two_scopes_of_an_instance_at_once(sender: Sender) -> None:
    """Neither may leave its key among those that nobody looks for, whoever commits first."""
    rounds = 25
    for trace in range(1, rounds + 1):
        start = threading.Barrier(2)

        def send(number: int, scope: str, instance: str, start: threading.Barrier = start) -> None:
            start.wait()
            sender.send(row(number, number, scope=scope, instance=instance))

        threads = [
            threading.Thread(target=send, args=(trace, "openai", f"process {trace}")),
            threading.Thread(target=send, args=(1000 + trace, "langchain", f"process {trace}")),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sender.query("SELECT COUNT(*) FROM lone_keys") == [(0,)]
    assert sets(sender, *range(1, rounds + 1)) == [[trace, 1000 + trace] for trace in range(1, rounds + 1)]
