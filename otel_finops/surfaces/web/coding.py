"""Whether a client can undo a coding."""

from __future__ import annotations


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding names gzip, or everything, and not with the weight 0."""
    weights = {name.strip().lower(): weight.strip() for name, _, weight in (part.partition(";") for part in accepted.split(","))}
    weight = weights.get("gzip", weights.get("*"))
    return weight == "" or (weight is not None and weight.removeprefix("q=").strip("0.") != "")
