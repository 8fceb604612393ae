#!/usr/bin/env python3
"""ministack, one Python process; see common/command.py for the commands."""

import os
import sys

from common.command import main
from common.install import python_environment
from common.s3 import S3Server


class Ministack(S3Server):
    name = "ministack"
    about = "S3 in one Python process, from PyPI"

    def install(self) -> None:
        self.program = python_environment(self.name) / self.name

    def boot(self) -> None:
        self.launch(
            [self.program],
            BIND_HOST="127.0.0.1",  # its default is every interface
            GATEWAY_PORT=str(self.port),
            SERVICES=os.environ.get("MINISTACK_SERVICES", "s3"),
            STATE_DIR=str(self.home / "state"),
            S3_DATA_DIR=str(self.home / "s3"),
        )


if __name__ == "__main__":
    sys.exit(main(Ministack))
