"""Which sightings are calls, which repeat them: one cost per call, whoever saw it."""

from otel_finops.genai.roles.decide import decide

__all__ = ["decide"]
