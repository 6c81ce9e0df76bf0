"""Ids, addresses and answers of a Ray cluster's jobs."""

import pytest

from launcher.core.errors import UserError
from launcher.platforms.ray_jobs import RayJob, dashboard_url, living_job_of, next_number, submission_id


@pytest.mark.parametrize("name,number,found", [
    ("cardiology", 1, "cardiology.a001"), ("my run/ü", 12, "my-run.a012"), ("//", 1000, "run.a1000"),
    ("x" * 300, 1, "x" * 100 + ".a001")])
def test_an_id_is_the_runs_name_and_a_number_and_fits_into_a_file_name(name, number, found):
    assert submission_id(name, number) == found


def test_numbers_count_up_over_all_that_the_cluster_and_the_run_know():
    assert next_number("chat", []) == 1
    used = ["chat.a001", "chat.a009", "chat.a1000", "chatter.a5000", "raysubmit_x", "chat.ax"]
    assert next_number("chat", used) == 1001
    assert next_number("c.t", ["cat.a007"]) == 1, "a dot is no pattern"


def test_a_living_job_of_a_run_is_found_by_what_its_record_says():
    mine, other = {"run_dir": "/runs/chat"}, {"run_dir": "/runs/other"}
    jobs = [RayJob("chat.a001", "FAILED", metadata=mine), RayJob("other.a001", "RUNNING", metadata=other),
            RayJob("raysubmit_1", "RUNNING")]
    assert living_job_of("/runs/chat", jobs) is None
    found = living_job_of("/runs/chat", [*jobs, RayJob("chat.a002", "PENDING", metadata=mine)])
    assert found is not None and found.job == "chat.a002"


def test_the_dashboard_is_what_is_said_else_where_rays_own_commands_look():
    surrounding = {"RAY_API_SERVER_ADDRESS": "http://api:8265/", "RAY_ADDRESS": "http://other:8265"}
    assert dashboard_url("https://head:443/x/", surrounding) == "https://head:443/x"
    assert dashboard_url(None, surrounding) == "http://api:8265"
    assert dashboard_url(None, {"RAY_ADDRESS": "http://other:8265"}) == "http://other:8265"


@pytest.mark.parametrize("option,surrounding,named", [
    (None, {}, "--address http://head:8265"), ("head:8265", {}, "--address head:8265"), ("auto", {}, "--address auto"),
    ("ray://head:10001", {}, "--address ray://"), (None, {"RAY_ADDRESS": "10.0.0.1:6379"}, "RAY_ADDRESS=10.0.0.1:6379"),
    ("http://", {}, "--address http://")])
def test_what_is_no_dashboard_is_refused_with_one_that_would_be(option, surrounding, named):
    with pytest.raises(UserError, match=r"http://head:8265") as refused:
        dashboard_url(option, surrounding)
    assert named in str(refused.value)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(UserError, match=r"\*\*\*@head:8265") as refused:
        dashboard_url("http://me:hunter2hunter2@head:8265", {})
    assert "hunter2" not in str(refused.value)
