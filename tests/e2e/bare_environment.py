"""A virtual environment with the light distribution, built and installed as its users do, and with chosen libraries of this environment."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parents[2]


def built(folder: Path) -> Path:
    """The wheel of `packaging/client`, built from this checkout."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT / "packaging" / "client", check=True, capture_output=True, timeout=60)
    return next(folder.glob("otel_finops_client-*.whl"))


class BareEnvironment:
    """An environment of its own.

    Args:
        folder: where it is made.
        wheel: what is installed into it.
        libraries: distributions of this environment that it can import, with all that they require.
    """

    def __init__(self, folder: Path, wheel: Path, libraries: tuple[str, ...]) -> None:
        venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
        self.python = folder / "bin" / "python"
        self.packages = next((folder / "lib").glob("python3.*/site-packages"))
        for name in _required(libraries):
            self._link(importlib.metadata.distribution(name))
        install = ["install", "--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check", "-q", str(wheel)]
        subprocess.run([sys.executable, "-m", "pip", "--python", str(self.python), *install], check=True, capture_output=True, timeout=60)

    def _link(self, library: importlib.metadata.Distribution) -> None:
        tops = {file.parts[0] for file in library.files or () if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            link = self.packages / top
            if not link.exists():
                link.symlink_to(str(library.locate_file(top)))

    def run(self, code: str, *arguments: str) -> str:
        """What a program prints; it must end well."""
        command = [str(self.python), "-I", "-W", "error", "-c", code, *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout


def _required(names: tuple[str, ...]) -> set[str]:
    """The distributions and all that they require, as far as they are installed."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower()
        if name in found:
            continue
        found.add(name)
        wanted = map(Requirement, importlib.metadata.distribution(name).requires or ())
        waiting += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found
