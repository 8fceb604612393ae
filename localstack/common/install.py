"""Installs servers from package registries, each in a folder of this repository that git ignores.

Invariants:
* what is installed is one pinned version; another pin installs anew;
* a half-made installation has no mark and is made again;
* nothing outside the repository is changed: what the system lacks is named, with its package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .server import Failed

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = REPOSITORY / "localstack"


def python_environment(name: str, python: str = "") -> Path:
    """The `bin` of a virtual environment with what `requirements/NAME.txt` lists."""
    requirements = HERE / "requirements" / f"{name}.txt"
    folder = REPOSITORY / ".venv" / name

    def make() -> None:
        _run([python or _base_python(), "-m", "venv", "--clear", str(folder)])
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _run([*pip, "--disable-pip-version-check", "--requirement", str(requirements)])

    # Its scripts name their interpreter in full: an environment that was moved has none that starts.
    _once(folder, f"{folder.resolve()}\n{python}\n{requirements.read_text()}", make)
    return folder / "bin"


def npm_package(name: str, version: str, before: str) -> Path:
    """The `bin` folder of an npm package; its dependencies as they were `before` that day."""
    npm = require("npm", "npm")
    folder = _folder(name)

    def make() -> None:
        options = ["--prefix", str(folder), "--before", before, "--no-audit", "--no-fund"]
        _run([npm, "install", "--loglevel", "error", *options, f"{name}@{version}"])

    _once(folder, f"{version} {before}", make)
    return folder / "node_modules" / ".bin"


def go_program(name: str, module: str, version: str) -> Path:
    """A program that Go builds from source: `go install MODULE@VERSION`."""
    go = require("go", "golang")
    folder = _folder(name)

    def make() -> None:
        _run([go, "install", f"{module}@{version}"], GOBIN=str(folder), GOFLAGS="", CGO_ENABLED="0")

    _once(folder, f"{module}@{version}", make)
    return folder / name


def cargo_program(name: str, version: str, features: str) -> Path:
    """A program that Cargo builds from source: `cargo install NAME@VERSION`."""
    cargo = require("cargo", "cargo")
    folder = _folder(name)

    def make() -> None:
        options = ["--locked", "--features", features, "--root", str(folder)]
        _run([cargo, "install", "--quiet", *options, f"{name}@{version}"])

    _once(folder, f"{version} {features}", make)
    return folder / "bin" / name


def require(program: str, package: str) -> str:
    """Where `program` is; a failure that names the Debian package where it is nowhere."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        raise Failed(f"{program} is not installed: apt-get install {package}")
    return found


def _folder(name: str) -> Path:
    return REPOSITORY / ".servers" / "installed" / name


def _base_python() -> str:
    """The interpreter below the environment that this one may be in, which may be made anew."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _once(folder: Path, what: str, make: Callable[[], None]) -> None:
    """Makes `folder` unless it was made of just this."""
    ready = folder / ".ready"
    if ready.exists() and ready.read_text() == what:
        return
    print(f"# installing into {folder.relative_to(REPOSITORY)}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make()
    ready.write_text(what)


def _run(argv: list[str], **environment: str) -> None:
    try:
        # All that an installer says goes to where messages go: standard output is for variables.
        done = subprocess.run(argv, stdout=sys.stderr, env=dict(os.environ, **environment), check=False)
    except OSError as error:
        raise Failed(f"{argv[0]} can not be run: {error}") from error
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)} ended with {done.returncode}")
