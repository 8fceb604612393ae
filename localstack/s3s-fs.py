#!/usr/bin/env python3
"""s3s-fs, which must be refused: it races the condition; see common/command.py for the commands."""

import sys

from common.command import main
from common.install import cargo_program
from common.s3 import S3Server


class S3sFs(S3Server):
    name = "s3s-fs"
    about = "s3s-fs, built by Cargo, right alone and wrong in a race: a store that must be refused"

    def install(self) -> None:
        self.program = cargo_program(self.name, "0.14.1", "binary")

    def boot(self) -> None:
        data = self.home / "data"
        data.mkdir()
        self.launch(
            [
                *(self.program, "--host", "127.0.0.1", "--port", str(self.port)),
                *("--access-key", self.access_key, "--secret-key", self.secret_key, data),
            ]
        )


if __name__ == "__main__":
    sys.exit(main(S3sFs))
