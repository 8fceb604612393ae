#!/usr/bin/env python3
"""LocalStack 4.14.0 without a container; see common/command.py for the commands."""

import os
import subprocess
import sys
from pathlib import Path

from common.command import main
from common.install import python_environment
from common.s3 import S3Server
from common.server import Failed

# What it runs on: on 3.11 it starts, and answers 500 to each S3 request.
PYTHON = "3.13"


class LocalStack(S3Server):
    name = "localstack"
    about = "S3 as LocalStack 4.14.0 does it, from PyPI; needs Python 3.13"

    def install(self) -> None:
        self.python = python_environment(self.name, find_python()) / "python"

    def boot(self) -> None:
        self.launch(
            [self.python, "-m", "localstack.runtime.main"],
            LOCALSTACK_VOLUME_DIR=str(self.home / "volume"),
            # Where it caches which plug-ins there are; a failed start leaves a wrong one.
            XDG_CACHE_HOME=str(self.home / "cache"),
            GATEWAY_LISTEN=f"127.0.0.1:{self.port}",
            SERVICES="s3",
            STRICT_SERVICE_LOADING="1",
            # No word to anybody outside.
            DISABLE_EVENTS="1",
            SKIP_SSL_CERT_DOWNLOAD="1",
            ACTIVATE_PRO="0",
            PERSISTENCE="0",
            LS_LOG="error",
        )


def find_python() -> str:
    """A Python of the version that it needs; `LAZARUS_LOCALSTACK_PYTHON` names another."""
    named = os.environ.get("LAZARUS_LOCALSTACK_PYTHON")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(str(path) for path in pyenv.glob(f"{PYTHON}.*/bin/python"))
    for candidate in [named] if named else [f"python{PYTHON}", *found]:
        try:
            imports = [candidate, "-c", "import ensurepip, venv"]
            asked = subprocess.run(imports, capture_output=True, check=False)
        except OSError:
            continue
        if asked.returncode == 0:
            return candidate
    raise Failed(
        f"it needs Python {PYTHON} with venv: apt-get install python{PYTHON}-venv (Debian 13), or"
        f" pyenv install {PYTHON}, or name one in LAZARUS_LOCALSTACK_PYTHON"
    )


if __name__ == "__main__":
    sys.exit(main(LocalStack))
