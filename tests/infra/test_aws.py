"""The template, deployed as the README says, to an emulator that checks signatures and policies.

In this order: the policies are tried on a bucket that nobody has used, and then the engine uses it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud import Emulator, Stack, laid_out, refusal
from conftest import ROOT
from samcli.yamlhelper import yaml_parse

HISTORY_ONCE = ["id/ab/default/x/9999999999", "run/ab/x/9999999998", "blueprint/default/x/9999999998", "sys/layout.json"]
HISTORY = [*HISTORY_ONCE, "blob/ab/x/y"]
INDEXES = ["wake/0/timer/x", "queue/0/default/x", "dead/x", "worker/default/x", "push/default/x", "probe/x"]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("emulator")).running() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def stack(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    template = laid_out(tmp_path_factory.mktemp("deployment"))
    # Other than the default, to see that the prefix is looked at.
    emulator.sam_deploy(template, "lazarus", "Architecture=x86_64", "StorePrefix=team-a/prod")
    return Stack(emulator, "lazarus")


@pytest.fixture(scope="module")
def engine_role(emulator: Emulator, stack: Stack) -> str:
    """What an engine may do, and nothing else."""
    return emulator.role_with("an-engine", *stack.outputs["EnginePolicyArns"].split(","))


def key(name: str) -> str:
    return f"team-a/prod/{name}"


def bucket_policy(emulator: Emulator, stack: Stack) -> dict[str, dict]:
    text = emulator.client("s3").get_bucket_policy(Bucket=stack.outputs["BucketName"])["Policy"]
    return {statement["Sid"]: statement for statement in json.loads(text)["Statement"]}


def test_everything_that_the_template_names_is_there(stack: Stack) -> None:
    kinds = sorted(stack.types.values())
    assert kinds.count("AWS::Lambda::Function") == 3
    assert kinds.count("AWS::Events::Rule") == 2
    assert kinds.count("AWS::CloudWatch::Alarm") == 7
    assert kinds.count("AWS::Lambda::Url") == 1
    assert stack.types["BucketPolicy"] == "AWS::S3::BucketPolicy"
    assert "PushPolicy" not in stack.types, "there are no push functions"
    assert "PublicUrl" not in stack.types, "nobody asked for a public front door"
    assert stack.outputs["StoreUrl"] == f"s3://{stack.outputs['BucketName']}/team-a/prod"


def test_the_bucket_keeps_one_version_of_everything_and_lets_no_history_expire(
    emulator: Emulator, stack: Stack
) -> None:
    s3, bucket = emulator.client("s3"), stack.outputs["BucketName"]
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    # The emulator takes no rules from a template, so they are read there.
    template = yaml_parse((ROOT / "infra" / "aws" / "template.yaml").read_text())
    rules = template["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    dangerous = [rule for rule in rules if rule.keys() - {"Id", "Status", "AbortIncompleteMultipartUpload"}]
    assert [rule["Prefix"] for rule in dangerous] == [{"Fn::Sub": "${StorePrefix}/worker/"}]


@pytest.mark.parametrize("name", HISTORY_ONCE)
def test_history_is_put_once_or_not_at_all(emulator: Emulator, stack: Stack, engine_role: str, name: str) -> None:
    s3 = emulator.client("s3", engine_role)
    place = {"Bucket": stack.outputs["BucketName"], "Key": key(name) + "-once"}
    if name == "sys/layout.json":
        place["Key"] = key(name)
    assert refusal(s3.put_object, **place, Body=b"by mistake") == "AccessDenied"
    assert refusal(s3.put_object, **place, Body=b"first", IfNoneMatch="*") is None
    assert refusal(s3.put_object, **place, Body=b"second", IfNoneMatch="*") == "PreconditionFailed"
    assert refusal(s3.put_object, **place, Body=b"by mistake") == "AccessDenied"
    assert refusal(s3.create_multipart_upload, **place) == "AccessDenied"
    assert s3.get_object(**place)["Body"].read() == b"first"
    assert refusal(emulator.client("s3", stack.outputs["RetentionRoleArn"]).delete_object, **place) is None


@pytest.mark.parametrize("name", HISTORY)
def test_only_the_retention_role_deletes_history(
    emulator: Emulator, stack: Stack, engine_role: str, name: str
) -> None:
    s3 = emulator.client("s3", engine_role)
    place = {"Bucket": stack.outputs["BucketName"], "Key": key(name)}
    s3.put_object(**place, Body=b"kept", IfNoneMatch="*")
    assert refusal(s3.delete_object, **place) == "AccessDenied"
    many = {"Objects": [{"Key": place["Key"]}]}
    try:
        gone = s3.delete_objects(Bucket=place["Bucket"], Delete=many).get("Deleted", [])
    except s3.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
    else:
        assert gone == []
    assert s3.get_object(**place)["Body"].read() == b"kept"
    assert refusal(emulator.client("s3", stack.outputs["RetentionRoleArn"]).delete_object, **place) is None
    assert refusal(s3.get_object, **place) == "NoSuchKey"


def test_who_may_do_everything_may_not_change_history(emulator: Emulator, stack: Stack) -> None:
    """What the roles lack does not say that the bucket denies it: here is one that lacks nothing."""
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    policy = emulator.client("iam").create_policy(PolicyName="everything", PolicyDocument=json.dumps(everything))
    s3 = emulator.client("s3", emulator.role_with("an-administrator", policy["Policy"]["Arn"]))
    for name in HISTORY:
        place = {"Bucket": stack.outputs["BucketName"], "Key": key(name)}
        assert refusal(s3.put_object, **place, Body=b"", IfNoneMatch="*") is None
        assert refusal(s3.delete_object, **place) == "AccessDenied", name
        if name in HISTORY_ONCE:
            assert refusal(s3.put_object, **place, Body=b"") == "AccessDenied", name
        emulator.client("s3", stack.outputs["RetentionRoleArn"]).delete_object(**place)
    restored = {"Bucket": stack.outputs["BucketName"], "Key": "restored/id/x"}
    assert refusal(s3.put_object, **restored, Body=b"") is None, "another prefix is not protected"
    assert refusal(s3.delete_object, **restored) is None


def test_an_engine_does_what_it_must_with_indexes_and_nothing_outside_its_prefix(
    emulator: Emulator, stack: Stack, engine_role: str
) -> None:
    s3, bucket = emulator.client("s3", engine_role), stack.outputs["BucketName"]
    for name in INDEXES:
        for _ in range(2):
            assert refusal(s3.put_object, Bucket=bucket, Key=key(name), Body=b"") is None, name
        assert refusal(s3.delete_object, Bucket=bucket, Key=key(name)) is None, name
    for name in ["other/id/x", "team-a/production/wake/x"]:
        assert refusal(s3.put_object, Bucket=bucket, Key=name, Body=b"", IfNoneMatch="*") == "AccessDenied", name
        assert refusal(s3.get_object, Bucket=bucket, Key=name) == "AccessDenied", name
    for forbidden in (s3.get_bucket_policy, s3.delete_bucket_policy, s3.get_bucket_lifecycle_configuration):
        assert refusal(forbidden, Bucket=bucket) == "AccessDenied"


def test_only_over_tls(emulator: Emulator, stack: Stack) -> None:
    """The emulator speaks TLS only, so this one is read, not tried."""
    statement = bucket_policy(emulator, stack)["OnlyOverTls"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert len(statement["Resource"]) == 2


def test_the_schedules_say_what_the_functions_understand(emulator: Emulator, stack: Stack) -> None:
    events = emulator.client("events")
    found = {}
    for name in events.list_rules()["Rules"]:
        target = events.list_targets_by_rule(Rule=name["Name"])["Targets"][0]
        found[name["ScheduleExpression"]] = json.loads(target["Input"])
    assert found == {
        "rate(1 minute)": {"lazarus": "wake", "seconds": 0},
        "rate(1 day)": {"lazarus": "retention"},
    }
    functions = emulator.client("lambda")
    for function, event in (("Wake", found["rate(1 minute)"]), ("RetentionFunction", found["rate(1 day)"])):
        answer = functions.invoke(FunctionName=stack.ids[function], Payload=json.dumps(event))
        said = answer["Payload"].read()
        assert "FunctionError" not in answer, said


def test_the_wake_function_may_call_itself_and_no_other(emulator: Emulator, stack: Stack) -> None:
    allowed = emulator.client("iam").get_role_policy(RoleName=stack.ids["WakeRole"], PolicyName="call-itself")
    function = emulator.client("lambda").get_function(FunctionName=stack.ids["Wake"])["Configuration"]
    statement = allowed["PolicyDocument"]["Statement"][0]
    assert (statement["Action"], statement["Resource"]) == ("lambda:InvokeFunction", function["FunctionArn"])


def test_an_execution_lives_behind_the_url(emulator: Emulator, stack: Stack) -> None:
    """The front door with the role of the template, on its bucket, under its policy."""
    url = stack.outputs["FrontDoorUrl"]
    assert emulator.call(url, "GET", "/v1/executions")[0] == 403, "nobody signed it"
    definition = {"steps": [{"name": "only"}]}
    assert emulator.call(url, "PUT", "/v1/blueprints/one", definition, role=None)[0] == 200
    order = {"workflow": "one", "execution_id": "order-7", "input": {"n": 1}}
    assert emulator.call(url, "POST", "/v1/executions", order, role=None)[0] == 200
    assert emulator.call(url, "POST", "/v1/executions/order-7/cancel", {}, role=None)[0] == 200
    status, found = emulator.call(url, "GET", "/v1/executions/order-7", role=None)
    assert status == 200, found
    assert "CANCELLED" in json.dumps(found), found
    objects = emulator.client("s3").list_objects_v2(Bucket=stack.outputs["BucketName"])["Contents"]
    families = [it["Key"].split("/")[2] for it in objects]
    assert families.count("id") == 1 and families.count("run") == 1, "a start and a commit"
    assert "wake" not in families, "what is over leaves no entry"


def test_the_commands_work_on_the_bucket_with_the_roles_that_the_readme_names(
    emulator: Emulator, stack: Stack, engine_role: str
) -> None:
    store, retention = stack.outputs["StoreUrl"], stack.outputs["RetentionRoleArn"]
    emulator.lazarus("wake", "--store", store, role=engine_role)
    emulator.lazarus("retention", "--store", store, "--older-than", "24h", role=retention)
    emulator.lazarus("scrub", "--store", store, role=retention)
    assert "fault" in emulator.lazarus("audit", "--store", store, role=engine_role)


def test_a_public_front_door_is_one_only_where_it_was_asked_for(emulator: Emulator, stack: Stack) -> None:
    cloudformation = emulator.client("cloudformation")
    packaged = cloudformation.get_template(StackName=stack.name, TemplateStage="Original")["TemplateBody"]
    given = {
        "Architecture": "x86_64", "FrontDoorAuth": "NONE", "Retention": "forever",
        "PushFunctionArns": "arn:aws:lambda:us-east-1:000000000000:function:pdf",
    }
    text = packaged if isinstance(packaged, str) else json.dumps(packaged)
    emulator.create_stack("everybody", text, given)
    everybody = Stack(emulator, "everybody")
    assert everybody.types["PublicUrl"] == everybody.types["PublicFunction"] == "AWS::Lambda::Permission"
    assert everybody.types["PushPolicy"] == "AWS::IAM::ManagedPolicy"
    assert "RetentionFunction" not in everybody.types
    assert emulator.call(everybody.outputs["FrontDoorUrl"], "GET", "/v1/executions")[0] == 200


def test_engines_that_stay_up_stand_on_the_bucket_of_the_other_stack(emulator: Emulator, stack: Stack) -> None:
    ec2 = emulator.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{n}.0/24")["Subnet"]["SubnetId"] for n in (1, 2)
    ]
    given = {
        "Store": stack.name, "Image": "registry.example/lazarus:0.1.0", "VpcId": vpc,
        "SubnetIds": ",".join(subnets), "WorkerCidr": "10.9.0.0/16",
    }
    emulator.create_stack("engines", (ROOT / "infra" / "aws" / "fargate.yaml").read_text(), given)
    engines = Stack(emulator, "engines")
    task = emulator.client("ecs").describe_task_definition(taskDefinition=engines.ids["ServiceTask"])["taskDefinition"]
    container = task["containerDefinitions"][0]
    environment = {it["name"]: it["value"] for it in container["environment"]}
    assert environment["LAZARUS_STORE"] == stack.outputs["StoreUrl"]
    assert environment["LAZARUS_RETENTION"] == "forever", "its role may delete no history"
    assert container["readonlyRootFilesystem"] is True
    role = task["taskRoleArn"].rsplit("/", 1)[-1]
    attached = emulator.client("iam").list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    assert [it["PolicyArn"] for it in attached] == stack.outputs["EnginePolicyArns"].split(",")
    balancer = emulator.client("elbv2").describe_load_balancers(LoadBalancerArns=[engines.ids["Balancer"]])
    assert balancer["LoadBalancers"][0]["Scheme"] == "internal"


def test_the_alarm_listens_for_what_the_engine_says() -> None:
    said = (ROOT / "src" / "wake" / "tick.rs", "a run was taken out of the way"), (
        ROOT / "src" / "frontdoor" / "status.rs", "a log is corrupt",
    )
    for file, words in said:
        assert f'"{words}"' in Path(file).read_text(), f"{file} says it otherwise now: change the filters too"
        for template in ("template.yaml", "fargate.yaml"):
            assert f'$.fields.message = "{words}"' in (ROOT / "infra" / "aws" / template).read_text()
