"""What applications import from the package itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from otel_finops import client


def test_every_public_name_is_there() -> None:
    assert set(client.__all__) == set(client._PLACES)
    for name in client.__all__:
        assert getattr(client, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = client.nothing


def test_nothing_is_loaded_before_it_is_used() -> None:
    loaded = "[name for name in sys.modules if name.startswith(('otel_finops.client.', 'opentelemetry'))]"
    code = f"import sys, otel_finops.client; print({loaded})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
