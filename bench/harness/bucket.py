"""A bucket over the wire with the latency of S3: a local server, and an engine that waits as if it were far."""

import pathlib
import sys

from . import floor
from .process import Failed

LOCALSTACK = pathlib.Path(__file__).resolve().parents[2] / "localstack"
LATENCY = "put=25ms,get=15ms,list=50ms"
FLAGS = ["--simulate-latency", LATENCY]
CLIENTS = [1, 16, 64]


class Bucket:
    """ministack, from its start script in localstack/."""

    def __init__(self, home):
        sys.path.insert(0, str(LOCALSTACK))
        from common.server import Failed as NotStarted
        from ministack import Ministack

        self.refusal = NotStarted
        self.server = Ministack(pathlib.Path(home) / "ministack", 0)

    def __enter__(self):
        try:
            self.server.start()
        except self.refusal as error:
            raise Failed(f"ministack: {error}") from error
        self.variables = {
            key: value
            for key, value in self.server.variables().items()
            if key.startswith("AWS_")
        }
        self.url = self.server.variables()["LAZARUS_TEST_STORE"]
        return self

    def __exit__(self, *_):
        self.server.stop()


def puts(programs, bucket, seconds):
    """Raw put-if-absent on the same store, with the same latency."""
    return floor.puts(programs, f"{bucket.url}-floor", CLIENTS, seconds, FLAGS, bucket.variables)
