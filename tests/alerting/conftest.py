"""Makes the rigs of the ledger's and the governance's rooms importable from here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / room) for room in ("ledger", "governance")]
