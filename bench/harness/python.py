"""Environments of Python for those that run in one, made once."""

import shutil
import subprocess
import sys

from .process import Failed


def python_with(folder, *requirements):
    """The Python of the environment in `folder`, which has what pip is told here."""
    if not (folder / ".ready").exists():
        print(f"installing {' '.join(map(str, requirements))}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in ([sys.executable, "-m", "venv", folder], [*pip, *requirements]):
            if subprocess.run(command, stdout=sys.stderr).returncode:
                raise Failed(f"{' '.join(map(str, command))} failed")
        (folder / ".ready").touch()
    return folder / "bin" / "python"
