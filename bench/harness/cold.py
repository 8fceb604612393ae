"""Every request on a fresh instance: the binary as a function, one process for each event.

What stands in for Lambda is the part of its Runtime API that a function asks. The time of a request is
from the start of its process to its answer.
"""

import base64
import http.server
import json
import os
import pathlib
import statistics
import subprocess
import threading
import time

from .process import Failed
from .workloads import machine

RUNTIME = "/2018-06-01/runtime/invocation"
WORKER = "/cerebelum.worker.WorkerService"
STEPS = [f"c{n}" for n in range(10)]
ANSWERED_SECONDS = 30
EXECUTIONS = 3


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A process that is ended breaks its connection; one that does not answer is missed anyway."""


class Runtime:
    """Gives one event to the process that asks, and takes its answer.

    Each process has its own: one that is being ended may still ask for the event of the next.
    """

    def __init__(self, event):
        runtime = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                event = runtime.event
                runtime.event = None
                if event is None:  # its process is ended while it waits
                    runtime.over.wait(ANSWERED_SECONDS)
                    return
                body = json.dumps(event).encode()
                self.send_response(200)
                deadline = int((time.time() + ANSWERED_SECONDS) * 1000)
                self.send_header("Lambda-Runtime-Aws-Request-Id", "bench")
                self.send_header("Lambda-Runtime-Deadline-Ms", str(deadline))
                arn = "arn:aws:lambda:us-east-1:000000000000:function:lazarus"
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", arn)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                runtime.outcome = (self.path.endswith("/response"), json.loads(body))
                runtime.answered.set()
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.event, self.outcome = event, None
        self.answered, self.over = threading.Event(), threading.Event()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


class Function:
    """The function on a store of its own."""

    def __init__(self, programs, store):
        self.command = [str(programs.engine)]
        self.env = {
            **os.environ,
            "AWS_LAMBDA_FUNCTION_NAME": "lazarus",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "LAZARUS_STORE": store,
            "RUST_LOG": "error",
        }
        self.took_ms = []

    def ask(self, path, body, verb="POST"):
        """One request on a process of its own; its answer, as JSON."""
        runtime = Runtime(_event(verb, path, body))
        env = {**self.env, "AWS_LAMBDA_RUNTIME_API": runtime.address}
        begun = time.monotonic()
        process = subprocess.Popen(self.command, env=env, stderr=subprocess.PIPE)
        try:
            if not runtime.answered.wait(ANSWERED_SECONDS):
                process.kill()
                raise Failed(f"{path} was not answered: {process.stderr.read().decode()[-800:]}")
            took = (time.monotonic() - begun) * 1000
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
            runtime.close()
        well, answer = runtime.outcome
        text = answer.get("body", "") if well else ""
        if well and answer.get("isBase64Encoded"):
            text = base64.b64decode(text).decode()
        if not well or answer["statusCode"] != 200:
            raise Failed(f"{path}: {text or answer}")
        self.took_ms.append(took)
        return json.loads(text)


def _event(verb, path, body):
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "isBase64Encoded": True,
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "bench",
            "stage": "$default",
            "routeKey": "$default",
            "domainName": "bench.lambda-url.us-east-1.on.aws",
            "domainPrefix": "bench",
            "requestId": "r",
            "time": "",
            "timeEpoch": int(time.time() * 1000),
            "http": {
                "method": verb,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "bench",
            },
        },
    }


def measure(programs, home):
    """Chains of ten, one after the other: a start, then a poll and a result for each step."""
    load = machine()
    function = Function(programs, f"file://{pathlib.Path(home) / 'store'}")
    after = [[], *([name] for name in STEPS)]
    steps = [{"name": name, "dependsOn": on} for name, on in zip(STEPS, after)]
    function.ask("/v1/blueprints/cold", {"steps": steps}, "PUT")
    worker = {"workerId": "w1"}
    function.ask(f"{WORKER}/Register", {**worker, "language": "python", "capabilities": STEPS})
    function.took_ms.clear()
    chains = []
    for n in range(EXECUTIONS):
        begun = len(function.took_ms)
        chain(function, worker, f"cold-{n}")
        chains.append(sum(function.took_ms[begun:]))
    took = sorted(function.took_ms)
    return {
        "machine": load,
        "count": len(took),
        "p50_ms": statistics.median(took),
        "p99_ms": took[min(len(took) - 1, int(len(took) * 0.99))],
        "execution_ms": statistics.median(chains),
        "requests_per_execution": len(took) / EXECUTIONS,
    }


def chain(function, worker, name):
    function.ask("/v1/executions", {"workflow": "cold", "executionId": name, "requestId": name})
    for _ in STEPS:
        task = {}
        while "taskId" not in task:
            task = function.ask(f"{WORKER}/PollForTask", {**worker, "timeoutMs": "4000"})
        result = {key: task[key] for key in ("taskId", "executionId")}
        done = {**worker, **result, "status": "SUCCESS", "result": {"ok": 1}}
        function.ask(f"{WORKER}/SubmitResult", done)
    state = function.ask(f"/v1/executions/{name}", {}, "GET")
    if state["execution"]["status"] != "STATUS_COMPLETED":
        raise Failed(f"{name} is {state['execution']['status']}")
