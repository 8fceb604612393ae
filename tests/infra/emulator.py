"""An AWS on this machine's loopback that checks who may do what.

    GATEWAY_PORT=4566 BIND_HOST=127.0.0.1 AUTH=true USE_SSL=1 python tests/infra/emulator.py

ministack with AUTH=true verifies signatures and evaluates IAM and bucket policies. Three things it does
not do as AWS documents them; here they are added, and nothing else is changed:

* `s3:if-none-match` is the request's If-None-Match, and absent where the request has none. ministack
  does not know the key: it would refuse every write that the bucket policy lets pass.
* `aws:PrincipalArn` of a role's session is the role's ARN, not the session's.
* the DesiredCount of a service may come as text, as every parameter of a template does.

EMULATOR_AS_IT_IS=1 leaves all of it out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.services import ecs

SESSION = re.compile(r"arn:(?P<partition>[^:]+):sts::(?P<account>\d+):assumed-role/(?P<role>[^/]+)/.+")


def with_if_none_match(context_of: Callable[..., dict]) -> Callable[..., dict]:
    def context(action: str, query: dict | None, path: str = "", headers: dict | None = None) -> dict:
        keys = context_of(action, query, path, headers)
        value = (headers or {}).get("if-none-match")
        return {**keys, "s3:if-none-match": value} if action == "s3:PutObject" and value else keys

    return context


def with_role_arn(value_of: Callable[..., Any]) -> Callable[..., Any]:
    def value(key: str, context: iam_evaluator.EvalContext) -> Any:
        found = value_of(key, context)
        session = SESSION.fullmatch(str(found)) if key.lower() == "aws:principalarn" else None
        return session.expand(r"arn:\g<partition>:iam::\g<account>:role/\g<role>") if session else found

    return value


def with_counts_as_text(create: Callable[[dict], Any]) -> Callable[[dict], Any]:
    return lambda service: create({**service, "desiredCount": int(service["desiredCount"])})


def main() -> None:
    app._port_is_bindable = lambda *_: False  # with TLS it would take port 443 too
    if os.environ.get("EMULATOR_AS_IT_IS") != "1":
        iam_actions.s3_service_context = with_if_none_match(iam_actions.s3_service_context)
        iam_evaluator._resolve_condition_key = with_role_arn(iam_evaluator._resolve_condition_key)
        ecs._create_service = with_counts_as_text(ecs._create_service)
    app.main()


if __name__ == "__main__":
    main()
