"""Makes the ledger room's rig and the recordings of the genai room importable from here."""

from __future__ import annotations

import sys
from pathlib import Path

for _room in ("ledger", "genai"):
    sys.path.insert(0, str(Path(__file__).parent.parent / _room))
