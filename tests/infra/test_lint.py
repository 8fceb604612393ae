"""What a linter can see in infra/, the Dockerfile and the workflows."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT, output, tool

TEMPLATES = sorted(ROOT.glob("infra/aws/*.yaml"))


def test_templates_are_what_cloudformation_takes() -> None:
    assert len(TEMPLATES) == 2
    output(tool("cfn-lint"), *TEMPLATES)


def test_sam_takes_the_template() -> None:
    output(tool("sam"), "validate", "--lint", "--region", "us-east-1", "--template", "infra/aws/template.yaml")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda it: it.name)
def test_templates_have_no_aliases_which_cloudformation_refuses(template) -> None:
    found = re.findall(r"(?m)(?:^|[:\[,-]\s+)[&*][A-Za-z]\w*\s*$", template.read_text())
    assert found == []


def test_the_layout_of_yaml() -> None:
    chart = ROOT / "infra" / "helm" / "lazarus"
    output(
        tool("yamllint"), "--strict", "-c", "infra/.yamllint.yml",
        *TEMPLATES, chart / "values.yaml", chart / "Chart.yaml", ROOT / ".github",
    )


def test_the_dockerfile() -> None:
    output(tool("hadolint"), "Dockerfile")


def test_the_dockerfile_finds_what_it_copies() -> None:
    """There is no container engine to build it with here; `.dockerignore` lets in only what it names."""
    text = (ROOT / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", text) for name in line.split()]
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    assert set(copied) == let_in
    assert all((ROOT / name).exists() for name in copied)
    outside = re.findall(r'include_(?:str|bytes)!\(\s*"((?:\.\./)+[^"]+)"', "".join(
        source.read_text() for source in (ROOT / "src").rglob("*.rs")
    ))
    assert all(name.lstrip("./").split("/")[0] in let_in for name in outside), outside


def test_the_workflows() -> None:
    output(tool("actionlint"), *sorted((ROOT / ".github" / "workflows").glob("*.yml")))
