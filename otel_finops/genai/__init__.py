"""From spans to sightings of model calls, agents and tools, and the decision which of them are charged."""
