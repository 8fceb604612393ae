"""The fixtures: a shared engine, engines of one's own, workers, clients; logs of all on a failure.

`LAZARUS_BIN` names the binary (default: what `cargo build` made), `LAZARUS_TEST_STORE` a store
(`embedded`, which is the default, or `file`: one directory per engine; or the URL of a bucket),
`LAZARUS_TEST_OPTIONS` more options of `serve`, for example `--cache 0 --no-near-timers`.
"""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Before grpc is loaded: a proxy of the environment has no part between loopback and loopback.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"

pytest.register_assert_rewrite("harness.cases")

from harness.cases import CAMPING, CASES, Play  # noqa: E402
from harness.client import Client  # noqa: E402
from harness.engine import Engine, binary  # noqa: E402
from harness.own import WORKERS, Lazarus  # noqa: E402
from harness.processes import eventually  # noqa: E402
from harness.stage import Stage  # noqa: E402
from harness.worker import WorkerProcess  # noqa: E402

_numbers = itertools.count(1)


def _new_engine(folder: Path, options: tuple[str, ...]) -> Engine:
    more = os.environ.get("LAZARUS_TEST_OPTIONS", "").split()
    return Engine(folder, _new_store(folder / "store"), *options, *more)


def _new_store(folder: Path) -> str:
    chosen = os.environ.get("LAZARUS_TEST_STORE") or "embedded"
    if chosen == "embedded":
        return f"embedded:{folder}"
    if chosen == "file":
        return f"file://{folder}"
    if "://" in chosen:
        return f"{chosen.rstrip('/')}/{uuid.uuid4().hex[:8]}"
    raise pytest.UsageError(
        f"LAZARUS_TEST_STORE is {chosen!r}; it is embedded, file or the URL of a bucket"
    )


def pytest_report_header() -> str:
    store = os.environ.get("LAZARUS_TEST_STORE", "embedded")
    options = os.environ.get("LAZARUS_TEST_OPTIONS", "none")
    return f"engine: {binary()}, store: {store}, more options: {options}"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine as it comes, shared by the tests that do not disturb each other."""
    engine = _new_engine(tmp_path_factory.mktemp("engine"), ())
    try:
        yield engine.start()
    finally:
        engine.stop()


@pytest.fixture(scope="session")
def new_stage(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Stage]:
    """Makes stages, to be used in a `with`: an engine that neither goes back for ever nor leaves
    unnoticed for long what was due while it was down, and workers.
    """

    def make(name: str, *options: str) -> Stage:
        folder = tmp_path_factory.mktemp(name)
        options = ("--max-iterations", "60", "--guard-interval", "2s", *options)
        return Stage(_new_engine(folder / "engine", options), folder)

    return make


@pytest.fixture(scope="session")
def graph(new_stage: Callable[..., Stage]) -> Iterator[Play]:
    """All cases, played to their end with nothing in their way."""
    with new_stage("graph") as stage:
        stage.employ("graph", count=3)
        stage.employ("latecomer")
        stage.lazarus.call(WORKERS, "SubmitBlueprint", CAMPING)
        play = Play(stage)
        for case in CASES:
            play.start(case)

        def over() -> bool:
            play.go_on()
            return not play.open

        eventually(over, "all cases are over", 60)
        yield play


@pytest.fixture
def own_engine(
    tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Engine]]:
    """Starts engines of the test's own, with options of `serve`."""
    engines: list[Engine] = []

    def start(*options: str) -> Engine:
        engine = _new_engine(tmp_path / f"engine-{len(engines)}", options)
        engines.append(engine)
        _logs(request).append(("engine", engine.log))
        return engine.start()

    yield start
    for engine in engines:
        engine.stop()


@pytest.fixture
def workers(
    tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts workers in processes of their own: `workers(engine, "basic")`."""
    started: list[WorkerProcess] = []

    def start(engine: Engine, flow: str, *options: str, wait: bool = True) -> WorkerProcess:
        name = f"{flow}-{os.getpid()}-{next(_numbers)}"
        worker = WorkerProcess(engine.address, flow, name, tmp_path, *options)
        started.append(worker)
        _logs(request).append((worker.name, worker.log))
        return worker.wait_until_registered() if wait else worker

    yield start
    for worker in started:
        if worker.is_up():
            worker.kill9()


@pytest.fixture
def connect() -> Iterator[Callable[[Engine], Client]]:
    """Raw clients of any engine."""
    clients: list[Client] = []

    def to(engine: Engine) -> Client:
        clients.append(Client(engine.address))
        return clients[-1]

    yield to
    for client in clients:
        client.close()


@pytest.fixture
def lazarus(client: Client) -> Lazarus:
    """A client of the shared engine's own protocol."""
    return Lazarus(client.channel)


@pytest.fixture
def client(engine: Engine, connect: Callable[[Engine], Client]) -> Client:
    """A raw client of the shared engine."""
    return connect(engine)


def _logs(request: pytest.FixtureRequest) -> list[tuple[str, Path]]:
    if not hasattr(request.node, "logs"):
        request.node.logs = []
    return request.node.logs


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failure shows the last words of everything that ran."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    logs = list(getattr(item, "logs", []))
    arguments = getattr(item, "funcargs", {})
    if "engine" in arguments:
        logs.append(("the shared engine", arguments["engine"].log))
    for argument in arguments.values():
        if isinstance(argument, Play):
            logs += argument.stage.logs
    for name, path in logs:
        if path.exists():
            tail = "\n".join(path.read_text(errors="replace").splitlines()[-80:])
            report.sections.append((f"log of {name}", tail))
