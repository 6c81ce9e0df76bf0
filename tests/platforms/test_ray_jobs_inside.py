"""What a command learns of the job of Ray that started it."""

import json

import pytest

from launcher.platforms.ray_jobs_inside import DEFAULT_STOP_WAIT_S, inside


def surrounding(working_dir: object, **more: str) -> dict[str, str]:
    metadata = {"job_submission_id": "chat.a001", "run_dir": "/runs/chat"}
    configuration = {"runtime_env": working_dir, "metadata": metadata}
    return {"RAY_ADDRESS": "10.0.0.1:6379", "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(configuration), **more}


def test_a_job_is_known_by_what_its_supervisor_sets():
    found = inside(surrounding({"working_dir": "gcs://x.zip"}, RAY_JOB_STOP_WAIT_TIME_S="90"))
    assert found is not None
    assert (found.address, found.job, found.run_dir, found.stop_wait_s, found.unpacked) == (
        "10.0.0.1:6379", "chat.a001", "/runs/chat", 90, True)


@pytest.mark.parametrize("runtime_env,unpacked", [
    ({"working_dir": "s3://b/x.zip"}, True), ({}, False), (None, False), ({"working_dir": "local:///app"}, False),
    ({"working_dir": None}, False)])
def test_only_what_was_sent_along_goes_with_the_cluster(runtime_env, unpacked):
    found = inside(surrounding(runtime_env, RAY_JOB_STOP_WAIT_TIME_S="soon"))
    assert found is not None and found.unpacked == unpacked and found.stop_wait_s == DEFAULT_STOP_WAIT_S
