"""A step of a workflow, hosted as a function: one file, for AWS Lambda and for trying it here.

On Lambda, `handler` is the handler. It serves both ways in: a function URL, whose requests are
signed with an HMAC that is verified here, and an Invoke call, which AWS has verified (IAM).

    python3 examples/push/render.py        # the same on http://127.0.0.1:8080, for a trial

Nothing but Python's standard library. The secret is in the variable PUSH_SECRET, as `whsec_...`.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import time
import traceback

TOLERANCE_SECONDS = 300


def render(inputs, task):
    """The step. What it returns is its output; what it raises is its failure.

    It may run more than once for one execution: `task["idempotency_key"]` is the same each time.
    """
    order = inputs["inputs"]["order"]
    if order <= 0:
        raise ValueError(f"there is no order {int(order)}")
    return {"page": f"invoice for order {int(order)}", "key": task["idempotency_key"]}


STEPS = {"render": render}


def run(task):
    """Runs the task's step: the document that the engine reads."""
    step = STEPS.get(task["step"])
    if step is None:
        # The engine asks another worker, and this one not again for a while.
        return {"error": {"kind": "not_found", "message": f"no step {task['step']}"}}
    try:
        return {"result": step(task["inputs"], task)}
    except Exception as error:  # a failure of the step, and not of this function
        return {
            "error": {
                "kind": type(error).__name__,
                "message": str(error),
                "stacktrace": traceback.format_exc(),
            }
        }


def is_signed(headers, body, secret, now=None):
    """Whether `body`, as it came, was signed with `secret` of late (Standard Webhooks 1.0.0)."""
    message, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    now = time.time() if now is None else now
    if not sent.isdigit() or abs(now - int(sent)) > TOLERANCE_SECONDS:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message}.{sent}.".encode() + body, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(one, expected) for one in given)


def answer(headers, body):
    """The status and the document for a request of the engine."""
    headers = {name.lower(): value for name, value in headers.items()}
    if not is_signed(headers, body, os.environ["PUSH_SECRET"]):
        return 401, {"message": "the signature is not that of this secret"}
    return 200, run(json.loads(body)["data"])


def handler(event, context):
    """AWS Lambda: a request of a function URL, or the payload of an Invoke call."""
    if "requestContext" not in event:
        return run(event["data"])
    body = event.get("body") or ""
    body = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    status, document = answer(event["headers"], body)
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(document),
    }


class Server(http.server.BaseHTTPRequestHandler):
    """The same on this machine."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        status, document = answer(dict(self.headers), body)
        text = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    print(f"render.py answers on http://127.0.0.1:{port}", flush=True)
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Server).serve_forever()
