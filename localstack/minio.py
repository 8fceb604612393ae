#!/usr/bin/env python3
"""MinIO, built from its source by Go; see common/command.py for the commands."""

import sys

from common.command import main
from common.install import go_program
from common.s3 import S3Server

VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"


class Minio(S3Server):
    name = "minio"
    about = "MinIO, one process on one folder, built by `go install`"
    access_key = "minio-test"
    secret_key = "minio-test-secret"

    def install(self) -> None:
        self.program = go_program(self.name, "github.com/minio/minio", VERSION)

    def boot(self) -> None:
        self.launch(
            [self.program, "server", self.home / "data", "--address", f"127.0.0.1:{self.port}"],
            HOME=str(self.home),
            MINIO_ROOT_USER=self.access_key,
            MINIO_ROOT_PASSWORD=self.secret_key,
            MINIO_BROWSER="off",
            MINIO_UPDATE="off",
        )


if __name__ == "__main__":
    sys.exit(main(Minio))
