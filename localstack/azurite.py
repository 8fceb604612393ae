#!/usr/bin/env python3
"""Azurite, for `az://`; see common/command.py for the commands."""

import base64
import datetime
import hmac
import os
import sys

from common.command import main
from common.install import npm_package
from common.s3 import BUCKET
from common.server import Server, request

# The account that every Azurite has; published by its maintainers.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
API = "2021-12-02"


class Azurite(Server):
    name = "azurite"
    about = "Azurite from npm: Azure's blobs, for az://"

    def install(self) -> None:
        self.program = npm_package(self.name, "3.37.0", "2026-11-01") / "azurite-blob"

    def boot(self) -> None:
        where = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", self.home]
        self.launch([self.program, *where, "--silent", "--skipApiVersionCheck", "--disableTelemetry"])

    def create_bucket(self) -> tuple[int, bytes]:
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
        path = f"/{ACCOUNT}/{BUCKET}"
        text = "\n".join(
            ["PUT", *[""] * 11, f"x-ms-date:{now}", f"x-ms-version:{API}"]
            + [f"/{ACCOUNT}{path}", "restype:container"]
        )
        signature = hmac.digest(base64.b64decode(KEY), text.encode(), "sha256")
        headers = {
            "x-ms-date": now,
            "x-ms-version": API,
            "authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}",
        }
        return request("PUT", f"{self.endpoint}{path}?restype=container", headers)

    def variables(self) -> dict[str, str]:
        return {
            "LAZARUS_TEST_STORE": f"az://{BUCKET}/run-{os.urandom(4).hex()}",
            "AZURE_STORAGE_USE_EMULATOR": "true",
            "AZURITE_BLOB_STORAGE_URL": self.endpoint,
        }


if __name__ == "__main__":
    sys.exit(main(Azurite))
