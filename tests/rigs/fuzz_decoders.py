"""Coverage-guided fuzzing of what stands between a sender's bytes and the journal: decode, normalise, price, and write for the next hop.

A run ends at the first body that breaks a promise, and leaves it in the folder of findings:

    python tests/rigs/fuzz_decoders.py protobuf FOLDER --seconds 600 --seed 7
    python tests/rigs/fuzz_decoders.py json FOLDER --again FOLDER/crash-...

Promises: nothing is raised but the two refusals of a body; every span is kept or refused with a reason; texts can be stored;
what travels on holds the same spans; no body takes more than a second of CPU time or 100 MB.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import atheris  # type: ignore[import-untyped]

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent)]

with atheris.instrument_imports(include=["otel_finops.otlp", "otel_finops.genai", "otel_finops.forwarding"]):
    from otel_finops.base.errors import TooLarge, Undecodable
    from otel_finops.base.protocols import Credential, ExportRequest
    from otel_finops.base.span import Rejection, Span
    from otel_finops.forwarding import HOP, WANTED, Onward
    from otel_finops.genai.dialect_loading import load_dialects
    from otel_finops.genai.logs import LogNormaliser
    from otel_finops.genai.normalise import Normaliser
    from otel_finops.genai.sighting import CALL, Sighting
    from otel_finops.ledger.codec import decode as read_back
    from otel_finops.ledger.codec import encode as written
    from otel_finops.otlp.decode import DecodedBatch, decode, decode_logs
    from otel_finops.otlp.forward import ForwardCounters
    from otel_finops.pricing.engine import PriceEngine

from hostile_mutations import mutated_json, mutated_protobuf  # noqa: E402 - it must not be instrumented

NOW = 1_800_000_000_000_000_000
SECONDS_MAX, BYTES_MAX = 1.0, 100_000_000
BODY_BYTES_MAX = 256 * 1024
OURS = "aaaa000011112222"
_WARM_UP = {"protobuf": bytes.fromhex("0a041202 1200"), "json": b'{"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}'}


class Broken(Exception):
    """A promise was broken."""


class Kept:
    """Keeps what is passed on."""

    def __init__(self) -> None:
        self.counters = ForwardCounters()
        self.body = b""

    def pass_on(self, body: bytes, spans: int) -> tuple[Rejection, ...]:
        self.body = body
        return ()


class Target:
    """One decoder, with what stands behind it.

    Args:
        encoding: which.
        figures: the file that gets the figures of the slowest and the largest body.
    """

    def __init__(self, encoding: Literal["protobuf", "json"], figures: Path) -> None:
        self.encoding = encoding
        self._figures = figures
        self._normalise, self._normalise_log, self._prices = Normaliser(load_dialects()), LogNormaliser(), PriceEngine.load()
        self._wanted = self._normalise.wanted.joined(WANTED)
        self._slowest_s, self._largest = 0.0, 0
        self._traces(_WARM_UP[encoding])

    def __call__(self, body: bytes) -> None:
        peak, began = _peak(), time.process_time()
        self._traces(body)
        self._logs(body)
        took, grew = time.process_time() - began, _peak() - peak
        if took > self._slowest_s or grew > self._largest:
            if took > self._slowest_s:
                self._figures.with_name("slowest").write_bytes(body)
            self._slowest_s, self._largest = max(took, self._slowest_s), max(grew, self._largest)
            self._figures.write_text(json.dumps({"slowest_ms": round(1000 * self._slowest_s, 1), "bytes_max": self._largest}))
        if took > SECONDS_MAX or grew > BYTES_MAX:
            raise Broken(f"{len(body)} bytes took {took:.2f} s and {grew} bytes")

    def _traces(self, body: bytes) -> None:
        try:
            batch = decode(body, self.encoding, self._wanted, NOW)
        except (Undecodable, TooLarge):
            return
        _check(len(batch.spans) + sum(one.spans for one in batch.rejections) == batch.received, "spans are missing")
        _check(len(batch.rejected_at) == batch.received - len(batch.spans), "a refused span has no place")
        onward = Onward(kept := Kept(), OURS)
        spans = [span for span in batch.spans if not onward.is_ours(span)]
        rows = [self._sighting(span) for span in spans]
        quotes = [self._prices.quote(self._prices.priceable(one)) if one.kind == CALL else None for one in rows]
        for quote in quotes:
            _check(quote is None or quote.cost_pico is None or 0 <= quote.cost_pico < 2**63, "an absurd cost")
        onward.pass_on(ExportRequest(body, self.encoding, Credential()), batch, quotes)
        self._compare(batch, spans, kept)

    def _sighting(self, span: Span) -> Sighting:
        sighting = self._normalise(span, Credential())
        _check(all(type(count) is int and count >= 0 for count in sighting.usage.values()), "an absurd count")
        kept = read_back(written(sighting, None), sighting.realm, sighting.trace_id, sighting.span_id)
        _check(kept.usage == sighting.usage and kept.name == sighting.name, "the journal cannot hold it")
        return sighting

    def _compare(self, batch: DecodedBatch, spans: list[Span], kept: Kept) -> None:
        """What travels on holds the spans that are not ours, with our mark; of JSON, those that protobuf can hold."""
        gone = kept.counters.snapshot().get("refused", 0)
        after = decode(kept.body, "protobuf", self._wanted, NOW) if kept.body else DecodedBatch([], (), 0)
        empty = gone if kept.body else 0
        _check(len(after.spans) == len(spans) - gone and after.received <= batch.received + empty, "a span was lost on the way on")
        if self.encoding == "protobuf":
            _check([_ids(span) for span in after.spans] == [_ids(span) for span in spans], "another span travels on")
        _check(all(str(span.attributes[HOP]).endswith(OURS) for span in after.spans), "a span travels on without our mark")

    def _logs(self, body: bytes) -> None:
        normalise = self._normalise_log
        try:
            batch = decode_logs(body, self.encoding, normalise.wanted, normalise.events, NOW)
        except (Undecodable, TooLarge):
            return
        _check(len(batch.records) + batch.ignored + sum(one.spans for one in batch.rejections) == batch.received, "records are missing")
        for record in batch.records:
            sighting = normalise(record, Credential())
            if sighting is not None:
                written(sighting, None)


def _ids(span: Span) -> tuple[Any, ...]:
    return span.trace_id, span.span_id, span.parent_span_id, span.name, span.start_ns, span.end_ns, span.scope, span.resource


def _check(true: bool, otherwise: str) -> None:
    if not true:
        raise Broken(otherwise)


def _peak() -> int:
    """The most memory that the process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _mutator(encoding: str) -> Callable[[bytes, int, int], bytes]:
    structural = mutated_json if encoding == "json" else mutated_protobuf

    def mutate(data: bytes, size_max: int, seed: int) -> bytes:
        rng = random.Random(seed)
        made = structural(data, rng) if rng.random() < 0.7 else bytes(atheris.Mutate(data, size_max))
        return made if len(made) <= size_max else bytes(atheris.Mutate(data, size_max))

    return mutate


def main(words: Sequence[str]) -> None:
    said = argparse.ArgumentParser()
    said.add_argument("encoding", choices=("protobuf", "json"))
    said.add_argument("folder", type=Path, help="holds `corpus`, gets findings and figures.json")
    said.add_argument("--seconds", type=int, default=600)
    said.add_argument("--seed", type=int, default=1)
    said.add_argument("--again", type=Path, help="run this one body instead")
    options = said.parse_args(words)
    target = Target(options.encoding, options.folder / "figures.json")
    if options.again is not None:
        target(options.again.read_bytes())
        return
    flags = [
        f"-max_total_time={options.seconds}", f"-seed={options.seed}", f"-max_len={BODY_BYTES_MAX}", "-timeout=10", "-rss_limit_mb=2048",
        f"-artifact_prefix={options.folder}/", "-print_final_stats=1", str(options.folder / "corpus"),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *flags], target, custom_mutator=_mutator(options.encoding))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
