"""Servers that speak S3: their bucket, and what their clients need to know."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import os
import urllib.parse

from .server import Server, request

BUCKET = "lazarus-test"
REGION = "us-east-1"


class S3Server(Server):
    """A server that is reached with the `AWS_*` variables."""

    access_key = "test"
    secret_key = "testtest"

    def create_bucket(self) -> tuple[int, bytes]:
        url = f"{self.endpoint}/{BUCKET}"
        return request("PUT", url, signed("PUT", url, self.access_key, self.secret_key))

    def variables(self) -> dict[str, str]:
        url = f"s3://{BUCKET}/run-{os.urandom(4).hex()}"
        return {
            "LAZARUS_TEST_STORE": url,
            "LAZARUS_TEST_S3_URL": url,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }


def signed(method: str, url: str, access_key: str, secret_key: str) -> dict[str, str]:
    """The headers of a request without a body, signed as AWS does (Signature Version 4)."""
    where = urllib.parse.urlsplit(url)
    now = datetime.datetime.now(datetime.timezone.utc)
    day, moment = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
    nothing = hashlib.sha256(b"").hexdigest()
    headers = {"host": where.netloc, "x-amz-content-sha256": nothing, "x-amz-date": moment}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = "\n".join([method, where.path or "/", where.query, lines, names, nothing])
    scope = f"{day}/{REGION}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, digest])
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={access_key}/{scope}"
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
    )
    return headers
