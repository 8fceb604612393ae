"""What the tests of infra/ share: the folders, and the tools beside this Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Whatever account this machine belongs to, nothing here may ever reach it.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull

TOOLS = [Path(sys.executable).parent, ROOT / ".venv" / "infra" / "go"]


def tool(name: str) -> str:
    """The program, from this environment or, as a last resort, from the PATH."""
    for folder in TOOLS:
        if (folder / name).exists():
            return str(folder / name)
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; `make test-infra` installs it where Go 1.26 or later is")
    return found


def output(*command: str | Path, **changes: str) -> str:
    """What `command` prints; what it complains about where it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=dict(os.environ, SAM_CLI_TELEMETRY="0", **changes),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
