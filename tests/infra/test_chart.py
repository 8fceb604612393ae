"""The chart, rendered with several values, held against Kubernetes' schemas and against the engine itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloud import binary
from conftest import ROOT, output, tool

CHART = ROOT / "infra" / "helm" / "lazarus"
OLDEST, NEWEST = "1.27", "1.37"
NEEDED = ("image.repository=registry.example/lazarus", "store.url=s3://bucket/prod")

VALUES = {
    "the least": (),
    "eks": (
        r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn=arn:aws:iam::123456789012:role/engine",
        "store.env.AWS_REGION=eu-central-1", "retention.mode=cronJob", "networkPolicy.enabled=true",
    ),
    "minio": (
        "store.env.AWS_ENDPOINT_URL=https://minio.storage.svc:9000", "store.existingSecret=minio",
        "store.caSecret=minio-ca",
    ),
    "a trial": ("store.secret.AWS_ACCESS_KEY_ID=minio", "store.secret.AWS_SECRET_ACCESS_KEY=secret", "engine.replicas=1"),
    "scaled to none": ("engine.replicas=0", "waker.mode=cronJob", "retention.mode=cronJob", "scrub.enabled=true"),
    "everything": (
        "autoscaling.enabled=true", "tls.secret=certs", "store.caSecret=ca", "scrub.enabled=true",
        "waker.mode=cronJob", "retention.mode=cronJob", "retention.namespaces.team-a=90d", "store.shards=4",
        "podLabels.team=a", "podAnnotations.note=b", "priorityClassName=high", "imagePullSecrets[0].name=pull",
        "nodeSelector.disk=ssd", "tolerations[0].operator=Exists", "engine.extraArgs[0]=--no-reservations",
        "engine.extraEnv[0].name=TZ", "engine.extraEnv[0].value=UTC", "networkPolicy.enabled=true",
        "engine.log=debug", "networkPolicy.from[0].namespaceSelector.matchLabels.team=a",
    ),
    "nothing optional": (
        "podDisruptionBudget.enabled=false", "serviceAccount.create=false", "retention.keep=forever",
        "retention.mode=cronJob", "engine.logJson=false",
    ),
}


def rendered(*values: str, version: str = NEWEST, needed: tuple[str, ...] = NEEDED) -> list[dict[str, Any]]:
    words = [word for value in (*needed, *values) for word in ("--set", value)]
    text = output(tool("helm"), "template", "prod", CHART, "--namespace", "flows", "--kube-version", version, *words)
    return [document for document in yaml.safe_load_all(text) if document]


def one(documents: list[dict[str, Any]], kind: str, ending: str = "") -> dict[str, Any]:
    found = [it for it in documents if it["kind"] == kind and it["metadata"]["name"].endswith(ending)]
    assert len(found) == 1, (kind, ending, [it["metadata"]["name"] for it in found])
    return found[0]


def pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    templates = [it["spec"]["template"] for it in documents if it["kind"] == "Deployment"]
    jobs = [it["spec"]["jobTemplate"] for it in documents if it["kind"] == "CronJob"]
    return [it["spec"] for it in templates + [job["spec"]["template"] for job in jobs]]


def test_helm_finds_nothing_to_complain_about() -> None:
    words = [word for value in NEEDED for word in ("--set", value)]
    output(tool("helm"), "lint", CHART, "--strict", "--kube-version", NEWEST, *words)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_kubernetes_takes_it(values: tuple[str, ...], version: str) -> None:
    documents = rendered(*values, version=version)
    assert {"Deployment", "Service"} <= {it["kind"] for it in documents}
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)
    names = [(it["kind"], it["metadata"]["name"]) for it in documents]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_nothing_runs_with_rights(values: tuple[str, ...]) -> None:
    for pod in pods(rendered(*values)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_an_engine_is_probed_in_each_of_the_ways_that_it_answers() -> None:
    container = one(rendered(), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    ports = {it["name"]: it["containerPort"] for it in container["ports"]}
    assert ports == {"grpc": 50051, "http": 8080}
    assert container["startupProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["grpc"] == {"port": 50051}


def test_services_budgets_and_scalers_select_the_engines_and_not_the_jobs() -> None:
    documents = rendered(*VALUES["everything"])
    deployment = one(documents, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [
        one(documents, "Service")["spec"]["selector"],
        deployment["spec"]["selector"]["matchLabels"],
        one(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    jobs = [it["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"] for it in documents if it["kind"] == "CronJob"]
    assert len(jobs) == 3
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not any(selector.items() <= job.items() for job in jobs)
    assert "replicas" not in deployment["spec"], "a scaler and a number would fight"
    scaler = one(documents, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (scaler["kind"], scaler["name"]) == ("Deployment", deployment["metadata"]["name"])


def test_only_jobs_that_delete_history_have_the_account_that_may() -> None:
    documents = rendered(*VALUES["everything"])
    used = {it["metadata"]["name"]: it["spec"]["jobTemplate"]["spec"]["template"]["spec"]["serviceAccountName"]
            for it in documents if it["kind"] == "CronJob"}
    assert used == {
        "prod-lazarus-wake": "prod-lazarus",
        "prod-lazarus-retention": "prod-lazarus-maintenance",
        "prod-lazarus-scrub": "prod-lazarus-maintenance",
    }
    engine = one(documents, "Deployment")["spec"]["template"]["spec"]
    assert engine["serviceAccountName"] == "prod-lazarus"
    environment = {it["name"]: it.get("value") for it in engine["containers"][0]["env"]}
    assert environment["LAZARUS_RETENTION"] == "forever", "a job deletes, so the engines do not"
    account = one(documents, "ServiceAccount", "-maintenance")
    assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (("store.url=",), "store.url"),
        (("image.repository=",), "image.repository"),
        (("store.url=embedded:/data",), "url"),
        (("engine.replica=3",), "replica"),
        (("retention.keep=12h",), "keep"),
        (("waker.mode=lambda",), "mode"),
        (("store.env.aws_region=x",), "aws_region"),
    ],
)
def test_what_can_not_be_meant_is_refused(values: tuple[str, ...], why: str) -> None:
    words = [word for value in (*NEEDED, *values) for word in ("--set", value)]
    done = subprocess.run(
        [tool("helm"), "template", "prod", CHART, "--kube-version", NEWEST, *words],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode != 0
    assert why in done.stderr, done.stderr


def here(container: dict[str, Any], folder: Path) -> tuple[list[str], dict[str, str]]:
    """The container's command and variables, on a store and ports of this machine."""
    words = [re.sub(r"=0\.0\.0\.0:\d+$", "=127.0.0.1:0", word) for word in container["args"]]
    environment = {it["name"]: it.get("value", "a-pod") for it in container["env"]}
    environment["LAZARUS_STORE"] = f"file://{folder}"
    environment.pop("SSL_CERT_FILE", None)
    return [str(binary()), *words], {"PATH": os.environ["PATH"], **environment}


def test_an_engine_serves_with_the_arguments_of_the_chart(tmp_path: Path) -> None:
    values = [value for value in VALUES["everything"] if not value.startswith(("tls.", "store.caSecret"))]
    container = one(rendered(*values, "retention.mode=inProcess"), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    command, environment = here(container, tmp_path / "store")
    log = tmp_path / "log"
    with log.open("wb") as out:
        engine = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 30
        while not (found := re.search(r"listening http (\S+)", log.read_text())):
            assert engine.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        address = found.group(1)
        for probe in ("startupProbe", "livenessProbe"):
            path = container[probe]["httpGet"]["path"]
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            assert opener.open(f"http://{address}{path}", timeout=5).status == 200
    finally:
        engine.send_signal(signal.SIGTERM)
        assert engine.wait(20) == 0, log.read_text()


@pytest.mark.parametrize("name", ["wake", "retention", "scrub"])
def test_a_job_ends_well_with_the_arguments_of_the_chart(name: str, tmp_path: Path) -> None:
    documents = rendered("waker.mode=cronJob", "waker.for=1s", "retention.mode=cronJob", "retention.namespaces.a=90d", "scrub.enabled=true")
    job = one(documents, "CronJob", f"-{name}")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    command, environment = here(job, tmp_path / "store")
    # Whoever deletes wants a store that was used, so one is.
    subprocess.run([binary(), "wake", "--store", environment["LAZARUS_STORE"]], check=True, capture_output=True)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
