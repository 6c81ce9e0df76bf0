"""`launcher submit`: what would be submitted, what sbatch is told, and what is said where nothing can be."""

import json
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from launcher.cli.plan import plan_of
from launcher.cli.preparing import data_of
from launcher.cli.submission import SubmitOptions
from launcher.cli.submit import submit
from launcher.core.errors import PlatformError, ProblemsError, Unplannable, UserError
from launcher.data.cache import cache_store
from launcher.platforms.site_file import CODE, PYTHON, SITE
from launcher.storage import submitting
from launcher.storage.jobs import jobs_of
from launcher.storage.lock import take_lease
from launcher.storage.own_code import own_code
from launcher.storage.recipes import load_recipe
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import Submission, begin_run
from tests.cli.a_submission import RECIPE, put, script_arguments, told

pytestmark = pytest.mark.usefixtures("slurm_desk")


def test_a_dry_run_tells_everything_but_a_secret_and_leaves_nothing(capsys, monkeypatch, recipe):
    monkeypatch.setenv("HF_TOKEN", "hf_planted")
    starts = (datetime.now() + timedelta(days=1)).isoformat(timespec="seconds")
    monkeypatch.setenv("STARTS", starts)
    options = SubmitOptions(nodes=2, workers=4, overrides=("slurm.partition=long",))
    assert submit([str(recipe)], options, dry_run=True) == 0
    printed = capsys.readouterr().out
    assert "--nodes=2 --partition=long" in printed and "--workers 4" in printed and "#SBATCH --requeue" in printed
    assert "HF_TOKEN" in printed and "hf_planted" not in printed
    for name in ("mine/small.yaml", "mine/own.json", "mine/own.jinja", "launcher's own code, "):
        assert name in printed
    assert "estimated plan: 3 steps" in printed and "would be prepared here" in printed
    assert f"start    Job 78 to start at {starts} using 2 processors on nodes node[1-2]" in printed
    assert not Path("runs").exists() and not Path("cache").exists()


def test_a_start_that_slurm_expects_in_a_year_is_no_expectation(capsys, monkeypatch, recipe):
    starts = (datetime.now() + timedelta(days=364)).isoformat(timespec="seconds")
    monkeypatch.setenv("STARTS", starts)
    assert submit([str(recipe)], SubmitOptions(), dry_run=True) == 0
    printed = capsys.readouterr().out
    assert "start    not known: more than 30 days ahead" in printed and starts not in printed


def test_where_there_is_no_slurm_a_dry_run_says_so(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert submit(["quickstart"], SubmitOptions(), dry_run=True) == 0
    assert "start    not known: sbatch: no such command here" in capsys.readouterr().out


def test_a_job_gets_a_log_and_copies_in_the_run_directory_and_the_next_command_is_told(capsys, monkeypatch):
    monkeypatch.setattr(submitting, "own_code", own_code)
    assert submit(["quickstart"], SubmitOptions(run_dir="mine", prepare=False), dry_run=False) == 0
    arguments, environment = told()
    assert {f"--output={Path('mine').absolute()}/slurm-%j.out", f"--chdir={Path('mine').absolute()}"} <= set(arguments)
    copy, *rest = script_arguments()
    assert Path(copy).read_bytes() == load_recipe("quickstart").text
    assert rest == ["--run-dir", str(Path("mine").absolute()), "--cache", str(Path("cache").absolute())]
    assert environment[PYTHON] == sys.executable and environment[CODE] == str(Path(copy).parent / "code")
    assert (Path(environment[CODE]) / "launcher/cli/main.py").is_file()
    printed = capsys.readouterr().out
    assert printed.startswith("job 77 is submitted\nlog    mine/slurm-77.out\n") and "launcher status mine" in printed


def finish(run, loaded):
    """Write what a run's job would leave that came to its end."""
    made = plan_of(loaded, data_of(loaded, cache_store("cache"), Console(quiet=True)))
    begin_run(run, made, loaded.text, Submission(file=str(loaded.file), recipe=loaded.recipe, cache="cache"))
    run.store.put("journal.jsonl", json.dumps({"event": "run_ended", "outcome": "finished", "exit_code": 0,
                                               "attempt": 1, "time": 1.0}).encode() + b"\n")


def test_what_cannot_be_run_is_refused_before_it_waits_in_a_queue(recipe):
    with pytest.raises(Unplannable):
        submit([str(recipe)], SubmitOptions(overrides=("stages.0.length={epochs: 0.0001}",)), dry_run=False)
    assert not Path("told").exists() and not Path("runs").exists()


def test_a_submission_that_slurm_refuses_leaves_nothing(monkeypatch, recipe):
    monkeypatch.setenv("REFUSED", "Batch job submission failed: Unable to contact slurm controller (connect failure)")
    with pytest.raises(PlatformError, match="Unable to contact"):
        submit([str(recipe)], SubmitOptions(), dry_run=False)
    assert not Path("runs/small").exists()


def test_a_request_that_sbatch_refuses_is_the_persons_and_what_there_is_is_named(monkeypatch, recipe):
    monkeypatch.setenv("REFUSED", "invalid partition specified: hihg\nsbatch: error: Batch job submission failed: "
                                  "Invalid partition name specified")
    with pytest.raises(UserError, match=r"change slurm\.partition .*; did you mean high\?") as refused:
        submit([str(recipe)], SubmitOptions(), dry_run=False)
    assert refused.value.exit_code == 2 and "\n" not in str(refused.value) and not Path("runs/small").exists()


UNFIT = "Requested node configuration is not available"


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("options,words", [
    (SubmitOptions(nodes=9), "a job of partition low has 3 nodes at most, and this one asks for 9"),
    (SubmitOptions(nodes=2, overrides=("slurm.cpus_per_task=8",)), "low has 0 nodes with 8 CPUs or more"),
    (SubmitOptions(nodes=3, overrides=("cluster={nodes: 3, gpus_per_node: 8}",)), "low has 2 nodes with 8 GPUs"),
    (SubmitOptions(overrides=("slurm.partition=lo",)), "there is no partition lo; did you mean low?")])
def test_what_can_never_run_is_refused_before_anything_is_prepared(monkeypatch, recipe, options, words, dry_run):
    monkeypatch.setenv("UNFIT", UNFIT)
    with pytest.raises(UserError) as refused:
        submit([str(recipe)], options, dry_run=dry_run)
    assert words in str(refused.value) and not Path("cache").exists() and not Path("began").exists()


@pytest.mark.parametrize("told", [{}, {"SILENT": "1", "UNFIT": UNFIT},
                                  {"UNFIT": "Unable to contact slurm controller (connect failure)"}])
def test_what_slurm_would_start_elsewhere_or_does_not_answer_is_submitted(monkeypatch, told):
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert submit(["quickstart"], SubmitOptions(run_dir="mine", nodes=9, prepare=False), dry_run=False) == 0


def test_what_fits_is_submitted_though_no_node_is_free_just_now(monkeypatch):
    monkeypatch.setenv("UNFIT", UNFIT)
    assert submit(["quickstart"], SubmitOptions(run_dir="mine", nodes=3, prepare=False), dry_run=False) == 0


@pytest.mark.parametrize("overrides,workers", [((), 1), (("slurm.cpus_per_task=4",), 2), (("cluster.nodes=2",), 2),
                                               (("cluster={nodes: 2, gpus_per_node: 8}",), 16)])
def test_a_dry_run_tells_the_number_of_workers(capsys, recipe, overrides, workers):
    assert submit([str(recipe)], SubmitOptions(overrides=overrides), dry_run=True) == 0
    assert f"cluster  {workers} worker" in capsys.readouterr().out


def test_what_slurm_may_have_taken_after_all_keeps_what_it_runs(monkeypatch, recipe):
    monkeypatch.setenv("UNCLEAR", "1")
    with pytest.raises(PlatformError, match="no job's number"):
        submit([str(recipe)], SubmitOptions(), dry_run=False)
    assert Path(script_arguments()[0]).is_file()


def test_nothing_of_a_job_in_which_one_submits_goes_along(monkeypatch, recipe):
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    assert submit([str(recipe)], SubmitOptions(prepare=False), dry_run=False) == 0
    assert [name for name in told()[1] if name.startswith("SLURM_")] == ["SLURM_CONF"]


def test_links_of_a_chain_wait_for_each_other(capsys):
    assert submit(["quickstart"], SubmitOptions(run_dir="mine", prepare=False, chain=3), dry_run=False) == 0
    assert Path("began").read_text().splitlines() == ["--parsable", "--dependency=afterany:77",
                                                      "--dependency=afterany:78"]
    assert [record.job for record in jobs_of(RunDir("mine"))] == ["79", "78", "77"]
    assert "jobs 77, 78, 79 are submitted" in capsys.readouterr().out


def test_a_chain_whose_later_link_is_refused_keeps_what_the_first_ones_run(capsys, monkeypatch):
    monkeypatch.setenv("REFUSED_AFTER", "2")
    assert submit(["quickstart"], SubmitOptions(run_dir="mine", prepare=False, chain=3), dry_run=False) == 76
    told = capsys.readouterr()
    assert "jobs 77, 78 are submitted" in told.out and "2 of 3 links are submitted: sbatch" in told.err
    assert Path(script_arguments()[0]).is_file() and [record.job for record in jobs_of(RunDir("mine"))] == ["78", "77"]


def test_a_run_that_has_saved_is_warned_as_early_as_its_saves_ask_for(capsys):
    Path("mine").mkdir()
    Path("mine/journal.jsonl").write_text(
        '{"event": "checkpoint_committed", "time": 1.0, "attempt": 1, "step": 3, "seconds": 200.0}\n')
    assert submit(["quickstart"], SubmitOptions(run_dir="mine", prepare=False), dry_run=False) == 0
    assert "--signal=B:USR1@435" in told()[0]
    said = SubmitOptions(run_dir="mine", prepare=False, overrides=("slurm={extra: {signal: B:USR1@90}}",))
    assert submit(["quickstart"], said, dry_run=False) == 0
    assert "--signal=B:USR1@90" in told()[0], "what a person says stands"


def test_a_run_that_somebody_works_on_is_not_submitted_again():
    lease = take_lease(RunDir("runs/quickstart"))
    with pytest.raises(UserError, match="being worked on"):
        submit(["quickstart"], SubmitOptions(), dry_run=False)
    lease.release()
    assert not Path("told").exists()


def test_without_a_slurm_there_is_one_message(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PlatformError, match="sbatch: no such command"):
        submit(["quickstart"], SubmitOptions(prepare=False), dry_run=False)


def test_without_preparing_here_the_data_need_not_be_here(capsys, recipe):
    Path("mine/texts.jsonl").unlink()
    with pytest.raises(ProblemsError, match="texts"):
        submit([str(recipe)], SubmitOptions(), dry_run=False)
    assert submit([str(recipe)], SubmitOptions(prepare=False), dry_run=False) == 0


def test_a_finished_run_is_submitted_again_for_more_stages_and_for_nothing_else(capsys, recipe):
    submit([str(recipe)], SubmitOptions(), dry_run=False)
    finish(RunDir("runs/small"), load_recipe(str(recipe)))
    Path("told").unlink()
    for overrides in ((), ("cluster.nodes=2",)):
        assert submit([str(recipe)], SubmitOptions(overrides=overrides), dry_run=False) == 0
        assert "is finished already" in capsys.readouterr().out and not Path("told").exists()
    more = RECIPE.replace("batch:", "  - {name: more, length: {steps: 2}, mix: {texts: 1}}\nbatch:")
    put("mine/small.yaml", more.replace("[{name: only", "\n  - {name: only").replace("texts: 1}}]", "texts: 1}}"))
    assert submit([str(recipe)], SubmitOptions(), dry_run=False) == 0 and Path("told").exists()


def test_nodes_that_failed_a_run_too_often_are_left_out_if_slurm_knows_them(capsys, recipe):
    def failed(node):
        cause = {"kind": "node_loss", "node": node, "step": 1, "message": "gone", "raised": False}
        return json.dumps({"event": "decision", "time": 1.0, "attempt": 1, "decision": "retry", "reason": "",
                           "cause": cause}) + "\n"

    put("runs/small/journal.jsonl", 2 * failed("node2") + 2 * failed("laptop") + failed("node1"))
    submit([str(recipe)], SubmitOptions(overrides=("slurm.exclude=node9",), prepare=False), dry_run=False)
    assert "--exclude=node9,node2" in told()[0] and "left   node2: failed" in capsys.readouterr().out
    submit([str(recipe)], SubmitOptions(overrides=("slurm.extra.exclude=false",), prepare=False), dry_run=False)
    assert not [word for word in told()[0] if word.startswith("--exclude")]
    assert "left " not in capsys.readouterr().out


def test_a_site_holds_for_sbatch_and_for_what_is_fetched_here_and_the_job_gets_its_file(monkeypatch, recipe):
    put("sites/here.env", "SBATCH_PARTITION=long\nLAUNCHER_CACHE=/shared/cache\nHF_HOME='/shared/hub'\n")
    for name in ("SBATCH_PARTITION", "HF_HOME"):
        monkeypatch.setenv(name, "mine")
    submit([str(recipe)], SubmitOptions(site="sites/here.env", prepare=False), dry_run=False)
    environment = told()[1]
    assert (environment["SBATCH_PARTITION"], environment["HF_HOME"]) == ("long", "/shared/hub")
    assert os.environ["HF_HOME"] == "/shared/hub"
    assert Path(environment[SITE]).read_text() == Path("sites/here.env").read_text()
    assert Path(environment[SITE]).parent == Path(script_arguments()[0]).parent
    assert script_arguments()[-2:] == ["--cache", "/shared/cache"]


def test_a_recipes_site_lies_beside_it_and_one_that_is_missing_is_told_with_its_place(monkeypatch, recipe):
    monkeypatch.setenv("SBATCH_QOS", "mine")
    put("mine/here.env", "SBATCH_QOS=high\n")
    put("mine/small.yaml", f"{RECIPE}slurm: {{site: here.env}}\n")
    submit([str(recipe)], SubmitOptions(prepare=False), dry_run=False)
    assert told()[1]["SBATCH_QOS"] == "high"
    put("mine/small.yaml", f"{RECIPE}slurm: {{site: there}}\n")
    with pytest.raises(ProblemsError, match=r"small.yaml:\d+:\d+: no file .*/mine/there, .* known here: example"):
        submit([str(recipe)], SubmitOptions(prepare=False), dry_run=False)


def test_a_run_in_a_store_has_its_log_and_its_copies_in_a_folder_here_and_all_else_there(capsys, recipe, tmp_path):
    url = f"memory://{tmp_path.name}/{os.getpid()}/runs/chat"
    assert submit([str(recipe)], SubmitOptions(run_dir=f"{url}/"), dry_run=False) == 0
    arguments, environment = told()
    here = Path("runs/chat").absolute()
    assert {f"--output={here}/slurm-%j.out", f"--chdir={here}"} <= set(arguments)
    copy, *rest = script_arguments()
    assert Path(copy).is_relative_to(here / "submitted") and environment["HF_HUB_OFFLINE"] == "1"
    assert rest == ["--run-dir", url, "--cache", str(Path("cache").absolute())]
    assert [record.folder for record in jobs_of(RunDir(url))] == [str(here)]
    printed = capsys.readouterr().out
    assert f"run    {url}, which every node must reach; they must see the folder runs/chat, too\n" in printed
    assert "log    runs/chat/slurm-77.out\n" in printed and f"next   launcher status {url}" in printed
    assert sorted(path.name for path in here.iterdir()) == ["submitted"]


def test_prepared_data_of_a_run_in_a_store_lies_with_it_unless_somebody_says_otherwise(monkeypatch, recipe, tmp_path):
    url = f"memory://{tmp_path.name}/{os.getpid()}/runs/chat"
    monkeypatch.delenv("LAUNCHER_CACHE")
    assert submit([str(recipe)], SubmitOptions(run_dir=url), dry_run=False) == 0
    assert script_arguments()[1:] == ["--run-dir", url, "--cache", f"{url}/cache"]
    assert any(key.startswith("cache/prepared/") for key in RunDir(url).store.list())


@pytest.mark.parametrize("url,words", [("s3://me:secret@bucket/x", "has a user or a password in it"),
                                       ("ftp://host/x", "no object storage")])
def test_a_run_directory_that_is_no_place_for_a_run_is_refused(recipe, url, words):
    with pytest.raises(UserError, match=words) as told_of:
        submit([str(recipe)], SubmitOptions(run_dir=url), dry_run=False)
    assert "secret" not in str(told_of.value) and not Path("runs").exists()


def test_several_recipes_are_one_array_with_a_run_each(capsys, recipe):
    other = put("mine/other.yaml", "extends: small.yaml\nname: other\nseed: 7\n")
    options = SubmitOptions(array=True, overrides=("seed=3",))
    assert submit([str(recipe), str(other)], options, dry_run=False) == 0
    arguments = told()[0]
    assert {"--array=0-1", f"--output={Path('runs/small').absolute()}/slurm-%A_%a.out"} <= set(arguments)
    first, second, *rest = script_arguments()
    assert "--run-dir" not in rest and rest[-2:] == ["--set", "seed=3"]
    assert [Path(copy).parents[2] for copy in (first, second)] == [Path("runs/small").absolute(),
                                                                   Path("runs/other").absolute()]
    assert load_recipe(second).recipe.name == "other"
    printed = capsys.readouterr().out
    assert "runs/other/slurm-77_1.out" in printed and "mine/other.yaml" in printed and "mine/small.yaml" in printed


@pytest.mark.parametrize("text,options,words", [
    ("extends: small.yaml\nname: other\n", {}, "add --array"),
    ("extends: small.yaml\n", {"array": True}, "have the name small"),
    ("extends: small.yaml\nname: other\nslurm: {qos: high}\n", {"array": True}, "submit them one by one"),
    ("extends: small.yaml\nname: other\nslurm: {site: example}\n", {"array": True}, "submit them one by one"),
    ("extends: small.yaml\nname: other\n", {"array": True, "run_dir": "x"}, "--run-dir is for one run")])
def test_recipes_that_cannot_be_one_array_are_refused(recipe, text, options, words):
    other = put("mine/other.yaml", text)
    with pytest.raises(UserError, match=words):
        submit([str(recipe), str(other)], SubmitOptions(**options), dry_run=False)
    assert not Path("told").exists()
