"""The clusters in docs/cluster are what Ray and KubeRay take, and what launcher's own words in them mean."""

import copy
import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from launcher.core.spot_notice import NAME, spot_of
from tests.rayjob_schema import RAYJOB

FOLDER = Path(__file__).parent.parent / "docs/cluster"
JOB = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
AWS = yaml.safe_load((FOLDER / "aws_spot.yaml").read_text())
SPEC = JOB["spec"]
HEAD, SPOT = SPEC["rayClusterSpec"]["headGroupSpec"], SPEC["rayClusterSpec"]["workerGroupSpecs"][0]
RUN = "s3://my-bucket/runs/cardiology"


def container(group: dict[str, Any]) -> dict[str, Any]:
    (only,) = group["template"]["spec"]["containers"]
    return only


def variables(group: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(group)["env"] if "value" in each}


def test_the_job_is_one_of_kuberays():
    jsonschema.validate(JOB, RAYJOB)


@pytest.mark.parametrize("path", [("spec", "backoffLimits"), ("spec", "rayClusterSpec", "workerGroupSpecs", 0, "min"),
                                  ("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "gracePeriod")])
def test_a_field_that_there_is_not_would_be_noticed(path):
    wrong = copy.deepcopy(JOB)
    place = wrong
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, RAYJOB)


def test_the_aws_cluster_is_one_that_ray_takes():
    # Found, not imported: importing Ray takes a second.
    (ray,) = importlib.util.find_spec("ray").submodule_search_locations
    schema = json.loads((Path(ray) / "autoscaler/ray-schema.json").read_text())
    jsonschema.validate(AWS, schema)
    assert AWS["head_node_type"] in AWS["available_node_types"]
    assert sum(kind.get("max_workers", 0) for kind in AWS["available_node_types"].values()) == AWS["max_workers"]


def test_every_try_continues_the_same_run_and_the_head_stops_that_one():
    bash, option, command = shlex.split(SPEC["entrypoint"])
    words = shlex.split(command)
    assert (bash, option, words[:3]) == ("bash", "-c", ["exec", "launcher", "run"])
    given = dict(zip(words[4::2], words[5::2], strict=True))
    # The job's own shell puts the address in, and not that of the pod which submits.
    assert given["--run-dir"] == RUN and given["--address"] == "$RAY_ADDRESS" and "'" in SPEC["entrypoint"]
    assert container(HEAD)["lifecycle"]["preStop"]["exec"]["command"][:3] == ["launcher", "stop", RUN]
    assert "jobId" not in SPEC, "a submission id is used once"


def test_who_is_told_to_go_has_time_to_save():
    stop_s = int(yaml.safe_load(SPEC["runtimeEnvYAML"])["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"])
    assert HEAD["template"]["spec"]["terminationGracePeriodSeconds"] > stop_s
    drain_s = int(variables(SPOT)["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    assert SPOT["template"]["spec"]["terminationGracePeriodSeconds"] > drain_s
    # Only as the container's first process does Ray hear of it.
    assert SPOT["template"]["metadata"]["annotations"]["ray.io/overwrite-container-cmd"] == "true"
    assert "exec " in container(SPOT)["args"][0] and SPOT["rayStartParams"]["block"] == "true"


def test_spot_machines_and_no_others_ask_their_cloud():
    assert spot_of(None, variables(SPOT)) == "aws" and NAME not in variables(HEAD)
    (option,) = AWS["docker"]["worker_run_options"]
    name, _, cloud = option.removeprefix("--env ").partition("=")
    assert name == NAME and spot_of(None, {name: cloud}) == "aws"
    assert AWS["available_node_types"]["spot"]["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert "InstanceMarketOptions" not in AWS["available_node_types"]["head"]["node_config"]


def test_no_command_runs_on_the_head():
    assert HEAD["rayStartParams"]["num-cpus"] == "0" and AWS["available_node_types"]["head"]["resources"] == {"CPU": 0}


def test_secrets_are_named_and_never_said():
    for group in (HEAD, SPOT):
        for each in container(group)["env"]:
            assert ("value" in each) != bool(re.search("TOKEN|KEY|SECRET", each["name"])), each["name"]
    texts = [(FOLDER / name).read_text() for name in ("rayjob.yaml", "aws_spot.yaml", "README.md")]
    assert not any(re.search(r"AKIA|hf_[A-Za-z]|aws_secret", text) for text in texts)


def test_links_resolve_and_the_examples_ship_in_the_wheel():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (FOLDER / "README.md").read_text())
    assert links and all((FOLDER / link).exists() for link in links)
    assert '"docs" = "launcher/docs"' in (FOLDER.parents[1] / "pyproject.toml").read_text()
