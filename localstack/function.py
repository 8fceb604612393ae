#!/usr/bin/env python3
"""Lazarus as two functions on a local AWS: a sleep of 90 s that no process sits through.

    make test-lambda

Run it under `ministack.py --services s3,lambda,events run`, which says where AWS is. It puts the
stripped binary into a zip, deploys it as a front door with a function URL and as a waker with a
schedule each minute, and plays a worker that speaks JSON. Ends with 1 if anything is not as promised.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from datetime import datetime
from pathlib import Path

from botocore.session import Session

ROOT = Path(__file__).resolve().parent.parent
BINARY = ROOT / "target" / "debug" / "lazarus"
ROLE = "arn:aws:iam::000000000000:role/lazarus"
SLEEP_SECONDS = 90
NAPS = 40
LATE_MS_MAX = 1_500
WORKER = "cerebelum.worker.WorkerService"

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


def check(holds: bool, what: str) -> None:
    if not holds:
        sys.exit(f"FAILED: {what}")


def package() -> bytes:
    """The zip that Lambda takes: the binary, without its symbols, as `bootstrap`."""
    stripped = BINARY.with_name("bootstrap")
    if shutil.which("strip"):
        subprocess.run(["strip", "-o", stripped, BINARY], check=True)
    else:
        shutil.copy(BINARY, stripped)
    binary = stripped.read_bytes()
    stripped.unlink()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        entry = zipfile.ZipInfo("bootstrap")
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o755 << 16
        out.writestr(entry, binary)
    size, zipped = len(binary) / 1e6, len(archive.getvalue()) / 1e6
    say(f"the stripped binary of the tests has {size:.1f} MB, zipped {zipped:.1f} MB")
    return archive.getvalue()


class Functions:
    """The two functions, and what is asked of AWS about them."""

    def __init__(self, code: bytes) -> None:
        session = Session()
        self.aws = session.create_client("lambda", endpoint_url=ENDPOINT)
        self.events = session.create_client("events", endpoint_url=ENDPOINT)
        self.store = f"{os.environ['LAZARUS_TEST_STORE']}/function"
        front_door = self.create("lazarus", code, 30)
        url = self.aws.create_function_url_config(FunctionName="lazarus", AuthType="NONE")
        # Its host name is that of AWS; the emulator has the same under a path.
        self.url = f"{ENDPOINT}/_aws/lambda-url/{url['FunctionUrl'].split('//')[1].split('.')[0]}"
        say(f"{front_door} answers at its function URL")
        waker = self.create("lazarus-wake", code, 90)
        self.events.put_rule(Name="lazarus-wake", ScheduleExpression="rate(1 minute)")
        self.events.put_targets(Rule="lazarus-wake", Targets=[{"Id": "wake", "Arn": waker}])
        say(f"{waker} is called each minute")

    def create(self, name: str, code: bytes, timeout: int) -> str:
        given = {
            "LAZARUS_STORE": self.store,
            "LAZARUS_LEASE": "20s",
            "AWS_ENDPOINT_URL": ENDPOINT,
            "AWS_ALLOW_HTTP": "true",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
        }
        made = self.aws.create_function(
            FunctionName=name,
            Runtime="provided.al2023",
            Handler="bootstrap",
            Architectures=["x86_64"],
            Role=ROLE,
            Code={"ZipFile": code},
            Timeout=timeout,
            MemorySize=256,
            Environment={"Variables": given},
        )
        return made["FunctionArn"]

    def ask(self, verb: str, path: str, body: object = None) -> dict:
        """A request of the function URL, in JSON both ways."""
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data or None, headers, method=verb)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            sys.exit(f"FAILED: {verb} {path}: {error.code} {error.read().decode()}")


def processes() -> list[tuple[str, int]]:
    """The functions of which a process is up, and these."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and Path(folder / "exe").resolve().name == "bootstrap":
                variables = (folder / "environ").read_bytes().decode().split("\0")
                environment = dict(it.split("=", 1) for it in variables if "=" in it)
                if environment.get("AWS_ENDPOINT_URL") == ENDPOINT:
                    found.append((environment["AWS_LAMBDA_FUNCTION_NAME"], int(folder.name)))
        except OSError:
            continue  # it ended, or is somebody else's
    return found


def front_doors() -> list[int]:
    return [pid for name, pid in processes() if name == "lazarus"]


def poll(functions: Functions) -> dict:
    asked = {"workerId": "w1", "timeoutMs": 20_000}
    for _ in range(5):
        task = functions.ask("POST", f"/{WORKER}/PollForTask", asked)
        if task:
            return task
    sys.exit("FAILED: no task came")


def submit(functions: Functions, task: dict, **result: object) -> None:
    ack = functions.ask(
        "POST", f"/{WORKER}/SubmitResult", {"taskId": task["taskId"], "workerId": "w1", **result}
    )
    check(ack.get("success") is True, f"a result was refused: {ack}")


def put_to_sleep(functions: Functions, workflow: str, name: str, millis: int) -> None:
    started = {"workflow": workflow, "executionId": name, "requestId": name}
    functions.ask("POST", "/v1/executions", started)
    submit(functions, poll(functions), status="SLEEP", sleepRequest={"durationMs": millis})


def lateness(functions: Functions, name: str) -> int:
    """By how many milliseconds the only sleep of an execution was late."""
    events = functions.ask("GET", f"/v1/executions/{name}/history")["events"]
    until = [it["event"]["until"] for it in events if it["event"]["k"] == "sleep_started"]
    ended = [it["time"] for it in events if it["event"]["k"] == "sleep_ended"]
    check(len(until) == len(ended) == 1, f"{name} has {len(ended)} ends of {len(until)} sleeps")
    at = datetime.fromisoformat(ended[0].replace("Z", "+00:00")).timestamp() * 1000
    return round(at) - until[0]


def main() -> None:
    functions = Functions(package())
    functions.ask("PUT", "/v1/blueprints/naps", {"steps": [{"name": "nap"}]})
    steps = [{"name": "deploy"}, {"name": "finalize", "dependsOn": ["deploy"]}]
    functions.ask("PUT", "/v1/blueprints/deployment", {"steps": steps})
    put_to_sleep(functions, "deployment", "web-1", SLEEP_SECONDS * 1000)
    due = time.monotonic() + SLEEP_SECONDS
    say(f"an execution sleeps for {SLEEP_SECONDS} s")
    seed = random.Random(7)
    for number in range(NAPS):
        # While a waker is up: from the second minute on.
        put_to_sleep(functions, "naps", f"nap-{number}", seed.randint(75_000, 120_000))
    say(f"{NAPS} more sleep for 75 to 120 s")
    # Lambda ends the processes of a function whenever it likes.
    for pid in front_doors():
        os.kill(pid, signal.SIGKILL)
    time.sleep(1)
    check(not front_doors(), "the front door's process should have ended")
    check(time.monotonic() < due - 10, "the machine is too slow for this story")
    say(f"the front door is dead; processes: {processes() or 'none'}")
    while time.monotonic() < due + 3:
        check(not front_doors(), "a front door came up though nobody asked")
        time.sleep(1)
    say(f"the sleep is over; processes: {processes() or 'none'}")
    task = poll(functions)
    check(task["stepName"] == "finalize", f"another task came: {task}")
    submit(functions, task, status="SUCCESS", result={"ok": True})
    time.sleep(max(0.0, due + 45 - time.monotonic()))
    status = functions.ask("GET", "/v1/executions/web-1")["execution"]["status"]
    check(status == "STATUS_COMPLETED", f"the execution is {status}")
    say(f"it is completed; its sleep ended {lateness(functions, 'web-1')} ms late")
    late = sorted(lateness(functions, f"nap-{number}") for number in range(NAPS))
    p99 = late[len(late) * 99 // 100]
    say(f"lateness of {NAPS} timers: median {late[len(late) // 2]} ms, p99 {p99} ms")
    check(late[0] >= 0, "a sleep ended early")
    check(p99 < LATE_MS_MAX, f"p99 is over {LATE_MS_MAX} ms: {late}")
    subprocess.run([BINARY, "audit", "--store", functions.store], check=True)


if __name__ == "__main__":
    main()
