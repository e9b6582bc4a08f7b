"""The settings' page says what the declarations say, and the declarations say enough."""

from __future__ import annotations

from otel_finops.genai.sighting import ATTRIBUTION_KEYS
from otel_finops.settings import describe, load
from otel_finops.settings.tree import Attribution


def test_every_setting_says_what_it_means_and_can_be_set_to_its_default_by_the_environment() -> None:
    for one in describe():
        assert one.meaning.endswith("."), one.name
        assert load(None, {one.env: one.default}) == load(None, {}), one.name


def test_attribution_names_are_those_of_the_normaliser() -> None:
    keys = Attribution.model_json_schema()["properties"]["defaults"]["propertyNames"]["enum"]
    assert sorted(keys) == sorted(ATTRIBUTION_KEYS)
