"""A running emulator, and what tests ask of it: clients with the rights of a role, and a deployment.

Everything stays on the loopback, under TLS, and under one temporary folder.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from conftest import ROOT, output, tool

REGION = "us-east-1"
SERVICES = "s3,iam,sts,lambda,events,logs,monitoring,cloudformation,ec2,ecs,elasticloadbalancing"
READY_SECONDS = 60


def binary() -> Path:
    """The engine: `LAZARUS_BIN`, or what `cargo build` made."""
    return Path(os.environ.get("LAZARUS_BIN", ROOT / "target" / "debug" / "lazarus")).resolve()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Emulator:
    """An AWS of one account; nobody but its root may do anything until a policy says so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.endpoint = f"https://localhost:{self.port}"
        certificates = folder / "certs"
        output(binary(), "dev-certs", certificates, "--host", "localhost")
        self.ca = certificates / "ca.crt"
        # What every client of it needs, and what functions inherit from it.
        self.reach = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
            "AWS_CA_BUNDLE": str(self.ca),
            "SSL_CERT_FILE": str(self.ca),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
        }
        self.root = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

    @contextlib.contextmanager
    def running(self) -> Iterator[Emulator]:
        environment = {
            **os.environ,
            **self.reach,
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "AUTH": "true",
            "USE_SSL": "1",
            "MINISTACK_SSL_CERT": str(self.folder / "certs" / "server.crt"),
            "MINISTACK_SSL_KEY": str(self.folder / "certs" / "server.key"),
            "SERVICES": SERVICES,
            "IOT_MTLS_ENABLED": "0",  # it would listen on every interface
            "TMPDIR": str(self.folder),
            "STATE_DIR": str(self.folder / "state"),
            "S3_DATA_DIR": str(self.folder / "s3"),
        }
        log = self.folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("emulator.py")],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.wait_until_ready(process, log)
            yield self
        finally:
            process.terminate()
            try:
                process.wait(2)  # it keeps nothing that is needed
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait_until_ready(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert process.poll() is None, f"the emulator ended\n{log.read_text(errors='replace')[-4000:]}"
            assert time.monotonic() < deadline, f"it did not answer\n{log.read_text(errors='replace')[-4000:]}"
            time.sleep(0.1)

    def client(self, service: str, role: str | None = None) -> Any:
        """A client with the rights of `role`, or of the account's root."""
        keys = self.credentials(role)
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            verify=str(self.ca),
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=keys.get("AWS_SESSION_TOKEN"),
            config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}, proxies={}),
        )

    def credentials(self, role: str | None) -> dict[str, str]:
        """As variables."""
        if role is None:
            return self.root
        session = self.client("sts").assume_role(RoleArn=role, RoleSessionName="a-test")["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
            "AWS_SESSION_TOKEN": session["SessionToken"],
        }

    def role_with(self, name: str, *policies: str) -> str:
        """A role that we may assume, with these managed policies and nothing else; its ARN."""
        root = {"AWS": f"arn:aws:iam::{self.account()}:root"}
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": root}],
        }
        iam = self.client("iam")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        for policy in policies:
            iam.attach_role_policy(RoleName=name, PolicyArn=policy)
        return role

    def account(self) -> str:
        return self.client("sts").get_caller_identity()["Account"]

    def sam_deploy(self, template: Path, stack: str, *parameters: str) -> None:
        """As in infra/aws/README.md."""
        output(
            tool("sam"), "deploy", "--template", template, "--stack-name", stack, "--resolve-s3",
            "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar",
            "--parameter-overrides", *parameters,
            **self.reach, **self.root,
        )

    def create_stack(self, name: str, template: str, given: dict[str, str]) -> None:
        cloudformation = self.client("cloudformation")
        cloudformation.create_stack(
            StackName=name,
            TemplateBody=template,
            Parameters=[{"ParameterKey": it, "ParameterValue": value} for it, value in given.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        waiter = cloudformation.get_waiter("stack_create_complete")
        waiter.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    def lazarus(self, *words: str, role: str | None) -> str:
        """The engine's own command on the bucket, with the rights of `role`."""
        return output(binary(), *words, **self.reach, **self.credentials(role))

    def call(self, url: str, method: str, path: str, body: Any = None, role: str | None = "") -> tuple[int, Any]:
        """A request of a function URL, signed with the rights of `role`, or by nobody."""
        host = urlsplit(url).netloc
        headers = {"Host": host, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        if role != "":
            keys = self.credentials(role)
            request = AWSRequest(method, f"https://{host}{path}", headers=headers, data=data)
            signer = Credentials(
                keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys.get("AWS_SESSION_TOKEN")
            )
            SigV4Auth(signer, "lambda", REGION).add_auth(request)
            headers = dict(request.headers)
        trusting = ssl.create_default_context(cafile=str(self.ca))
        connection = http.client.HTTPSConnection("localhost", self.port, context=trusting, timeout=60)
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if text.startswith("{") else text
        finally:
            connection.close()


class Stack:
    """What a deployment made."""

    def __init__(self, emulator: Emulator, name: str) -> None:
        self.emulator = emulator
        self.name = name
        cloudformation = emulator.client("cloudformation")
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        assert stack["StackStatus"].endswith("_COMPLETE"), stack
        self.outputs = {it["OutputKey"]: it["OutputValue"] for it in stack.get("Outputs", [])}
        resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
        self.types = {it["LogicalResourceId"]: it["ResourceType"] for it in resources}
        self.ids = {it["LogicalResourceId"]: it["PhysicalResourceId"] for it in resources}


def laid_out(folder: Path) -> Path:
    """The template where it stands in the project, with the engine where it looks for it."""
    code = folder / "target" / "lambda" / "lazarus"
    code.mkdir(parents=True)
    shutil.copy(binary(), code / "bootstrap")
    strip = shutil.which("strip")
    if strip:  # a debug binary is mostly symbols, and is sent and unpacked
        subprocess.run([strip, code / "bootstrap"], check=True)
    place = folder / "infra" / "aws"
    place.mkdir(parents=True)
    return Path(shutil.copy(ROOT / "infra" / "aws" / "template.yaml", place))


def refusal(call: Any, **arguments: Any) -> str | None:
    """The code with which AWS refuses; none where it does not."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None
