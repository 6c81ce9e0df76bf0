"""What is sent to a Ray cluster, and what never is."""

import shlex

import pytest

from launcher.core.errors import UserError
from launcher.platforms.ray_jobs_request import Request, entrypoint, environment, refuse_secrets, secrets_in
from launcher.platforms.slurm_told import Told


def test_the_command_replaces_the_shell_and_takes_any_argument_as_it_is():
    arguments = ["run", "submitted/1/my recipe.yaml", "--set", "name=a;b $HOME 'c'"]
    command = entrypoint("/opt/env/bin/python", arguments)
    assert command.startswith("exec /opt/env/bin/python -m launcher.cli.main run ")
    assert shlex.split(command)[4:] == arguments


def test_little_of_this_machine_goes_along():
    surrounding = {"HF_HUB_OFFLINE": "1", "HF_HOME": "/home/me/hf", "HF_TOKEN": "hf_x", "PATH": "/bin",
                   "NCCL_DEBUG": "INFO", "RAY_ADDRESS": "1.2.3.4:5"}
    assert environment(Told(), surrounding, ["NCCL_DEBUG"]) == {
        "HF_HUB_OFFLINE": "1", "NCCL_DEBUG": "INFO", "PYTHONUNBUFFERED": "1", "RAY_JOB_STOP_WAIT_TIME_S": "60"}


def test_the_time_to_stop_follows_from_what_steps_and_saves_took():
    assert environment(Told(save_s=100.0, step_s=10.5), {}, [])["RAY_JOB_STOP_WAIT_TIME_S"] == "246"


@pytest.mark.parametrize("name,value", [("WANDB_API_KEY", "x"), ("hf_token", "x"), ("MY_SECRET", "x"),
                                        ("KEY", "hf_" + "a" * 20), ("S3_URL", "s3://me:zzzz@bucket/x"),
                                        ("AWS_SESSION_TOKEN", "x")])
def test_what_may_be_a_secret_is_not_passed(name, value):
    with pytest.raises(UserError, match="cluster's nodes") as refused:
        environment(Told(), {name: value}, [name])
    assert name in str(refused.value) and "zzzz" not in str(refused.value) and "aaaa" not in str(refused.value)


def test_a_variable_that_is_not_set_is_told():
    with pytest.raises(UserError, match="NCCL_DEBUG: is not set here"):
        environment(Told(), {}, ["NCCL_DEBUG"])


def test_a_url_with_a_password_does_not_go_along_by_itself_either():
    with pytest.raises(UserError, match="HF_ENDPOINT"):
        environment(Told(), {"HF_ENDPOINT": "https://me:word@mirror"}, [])


def test_values_of_secrets_are_found_wherever_they_stand_and_told_by_name():
    surrounding = {"WANDB_API_KEY": "0123456789", "GOOGLE_APPLICATION_CREDENTIALS": "/home/me/key.json",
                   "SHORT_SECRET": "abc", "TOKENIZERS_PARALLELISM": "a long value", "LANG": "0123456789"}
    made = Request("chat.a001", "exec python --set x=0123456789", {"X": "a long value"},
                   {"run_dir": "/home/me/key.json abc"})
    assert secrets_in(surrounding, made.texts()) == [("WANDB_API_KEY", "the job's command")]
    with pytest.raises(UserError, match="the job's command holds the value of WANDB_API_KEY") as refused:
        refuse_secrets(surrounding, made.texts())
    assert "0123456789" not in str(refused.value)
