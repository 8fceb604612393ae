#!/usr/bin/env python3
"""s3rver, which must be refused: it ignores conditions; see common/command.py for the commands."""

import sys

from common.command import main
from common.install import npm_package
from common.s3 import S3Server


class S3rver(S3Server):
    name = "s3rver"
    about = "s3rver from npm, which ignores conditions: a store that must be refused"
    access_key = secret_key = "S3RVER"

    def install(self) -> None:
        self.program = npm_package(self.name, "3.7.1", "2026-11-01") / self.name

    def boot(self) -> None:
        where = ["--directory", self.home / "data", "--address", "127.0.0.1", "--port", str(self.port)]
        self.launch([self.program, *where, "--silent"])


if __name__ == "__main__":
    sys.exit(main(S3rver))
