"""`launcher resume RUN --on slurm|ray`: what is submitted of a run that its directory alone describes."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from rich.console import Console

from launcher.cli import run
from launcher.cli.main import main
from launcher.cli.plan import plan_of
from launcher.cli.preparing import data_of, data_of_run
from launcher.cli.resume_elsewhere import RayOptions, SubmitOptions, resume_on_ray, resume_on_slurm
from launcher.cli.run import RunOptions
from launcher.core.errors import DataInvalid, ProblemsError, UserError
from launcher.data.cache import cache_store
from launcher.storage.jobs import jobs_of, record_submitted
from launcher.storage.recipes import LoadedRecipe, load_recipe
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import Submission, begin_run, read_plan
from tests.cli import a_ray_cluster, queue_desk
from tests.cli.a_submission import put, script_arguments, told, write_recipe

SETS = ("seed=7", "slurm.time=90min", "cluster.nodes=2")


@pytest.fixture
def url(tmp_path):
    """Return where a run lies that is in a store."""
    return f"memory://{tmp_path.name}/{os.getpid()}/runs/chat"


def begun(url: str, cache: str, recipe: Path, *sets: str) -> LoadedRecipe:
    """Begin a run as a command or job on another machine does; return its recipe as it was read there."""
    loaded, console = load_recipe(str(recipe), sets), Console(quiet=True)
    made = plan_of(loaded, data_of(loaded, cache_store(cache), console))
    submission = Submission(file=str(loaded.file), overrides=sets, recipe=loaded.recipe, cache=cache_store(cache).url,
                            origin=str(loaded.named[0]))
    begin_run(RunDir(url), made, loaded.text, submission)
    return loaded


def leave() -> None:
    """Go to a machine that has nothing of what the recipe names."""
    shutil.rmtree("mine")


def ended(url: str, outcome: str, code: int) -> None:
    event = {"event": "run_ended", "outcome": outcome, "exit_code": code, "attempt": 1, "time": time.time()}
    RunDir(url).store.put("journal.jsonl", json.dumps(event).encode() + b"\n")


def test_a_run_is_submitted_where_nothing_is_known_but_its_directory(capsys, recipe, url):
    before = begun(url, f"{url}/cache", recipe, *SETS)
    leave()
    assert resume_on_slurm(url, SubmitOptions(overrides=("slurm.partition=long",)), dry_run=False) == 0
    assert {"--nodes=2", "--time=01:30:00", "--partition=long"} <= set(told()[0])
    copy, *rest = script_arguments()
    assert rest == ["--run-dir", url, "--cache", f"{url}/cache", "--set", "seed=7", "--set", "slurm.partition=long"]
    # What the job makes of it, which adds what its cluster is.
    loaded = load_recipe(copy, ["seed=7", "slurm.partition=long", "cluster.nodes=2"])
    assert loaded.recipe.model_copy(update={"slurm": before.recipe.slurm}) == before.recipe
    assert loaded.ds_template == before.ds_template
    made = plan_of(loaded, data_of(loaded, cache_store(f"{url}/cache"), Console(quiet=True)))
    assert made == read_plan(RunDir(url))
    assert [record.job for record in jobs_of(RunDir(url))] == ["77"]
    assert "exact plan: 3 steps" in capsys.readouterr().err


def test_a_dry_run_says_what_would_be_submitted_and_leaves_nothing(capsys, recipe, url):
    begun(url, f"{url}/cache", recipe)
    leave()
    assert resume_on_slurm(url, SubmitOptions(nodes=2), dry_run=True) == 0
    printed = capsys.readouterr().out
    assert "--nodes=2" in printed and f"--run-dir {url}" in printed and "nothing was submitted" in printed
    assert "data     is prepared" in printed
    assert not Path("runs").exists() and jobs_of(RunDir(url)) == []


def test_data_that_is_nowhere_is_told_with_what_to_do_and_found_where_somebody_says(recipe, url):
    begun(url, "there", recipe)
    leave()
    shutil.move("there", "copied")
    with pytest.raises(DataInvalid) as refused:
        resume_on_slurm(url, SubmitOptions(), dry_run=False)
    said = str(refused.value)
    assert "sources.texts: no such file: " in said and f"is not in {Path('there').absolute()}" in said
    assert "under the same paths here, or say with --cache" in said and not Path("told").exists()
    assert resume_on_slurm(url, SubmitOptions(cache="copied"), dry_run=False) == 0
    assert script_arguments()[3:5] == ["--cache", str(Path("copied").absolute())]


def test_data_that_is_here_is_prepared_here_where_the_cache_is_not(recipe, url):
    begun(url, "there", recipe)
    shutil.rmtree("there")
    assert resume_on_slurm(url, SubmitOptions(), dry_run=False) == 0
    assert script_arguments()[3:5] == ["--cache", str(Path("cache").absolute())] and list(Path("cache").iterdir())


def test_a_run_in_a_folder_is_known_by_its_name_and_goes_on_in_it(recipe):
    begun("runs/small", "cache", recipe)
    leave()
    assert resume_on_slurm("small", SubmitOptions(), dry_run=False) == 0
    assert script_arguments()[1:3] == ["--run-dir", str(Path("runs/small").absolute())]


def test_more_nodes_than_the_run_had_are_used(recipe, url):
    begun(url, f"{url}/cache", recipe, "cluster.nodes=2")
    assert resume_on_slurm(url, SubmitOptions(nodes=3), dry_run=False) == 0
    assert "--nodes=3" in told()[0] and script_arguments()[-2:] == ["--set", "cluster.nodes=3"]
    assert resume_on_slurm(url, SubmitOptions(nodes=1), dry_run=True) == 0


def test_what_does_not_shape_the_data_may_be_changed_where_the_data_is_not(recipe, url):
    begun(url, f"{url}/cache", recipe)
    leave()
    assert resume_on_slurm(url, SubmitOptions(overrides=("out_of_memory=halve",)), dry_run=False) == 0
    assert load_recipe(script_arguments()[0], ["out_of_memory=halve"]).prepared is not None
    with pytest.raises(ProblemsError, match=r"sources.texts.path: no such file: "):
        resume_on_slurm(url, SubmitOptions(overrides=("sources.texts.holdout=3",)), dry_run=False)


def test_a_run_that_cannot_go_on_is_not_submitted(capsys, recipe, url, tmp_path):
    with pytest.raises(UserError, match="no run here"):
        resume_on_slurm(url, SubmitOptions(), dry_run=False)
    record_submitted(RunDir(url), "9", 1.0)
    with pytest.raises(UserError, match=r"has not begun.*`launcher submit RECIPE --run-dir memory"):
        resume_on_slurm(url, SubmitOptions(), dry_run=False)
    begun(url, f"{url}/cache", recipe)
    put("bin/squeue", f"#!/bin/sh\necho '9|PENDING|N/A|2-00:00:00|1:00:00||{tmp_path}|Priority'\n").chmod(0o755)
    with pytest.raises(UserError, match=r"job 9 waits in the queue.*a run has one job"):
        resume_on_slurm(url, SubmitOptions(), dry_run=False)
    put("bin/squeue", queue_desk.SQUEUE)
    ended(url, "finished", 0)
    assert resume_on_slurm(url, SubmitOptions(), dry_run=False) == 0
    assert "small is finished already" in capsys.readouterr().out and not Path("told").exists()


@pytest.mark.parametrize("words,told_of", [
    (["--nodes", "2", "--dry-run"], "--dry-run, --nodes: only with --on slurm or --on ray"),
    (["--on", "slurm", "--address", "h:1", "--json"], "--address, --json: not with --on slurm"),
    (["--on", "ray", "--site", "x", "--detach"], "--detach, --site: not with --on ray")])
def test_options_that_mean_nothing_there_are_refused(capsys, monkeypatch, slurm_desk, words, told_of):
    monkeypatch.setattr("sys.argv", ["launcher", "resume", "chat", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2 and told_of in capsys.readouterr().err


def test_on_a_ray_cluster_it_takes_what_was_prepared_from_the_store(capsys, monkeypatch, tmp_path, url):
    cluster, recipe = a_ray_cluster.sit_down(tmp_path, monkeypatch), write_recipe()
    before = begun(url, f"{url}/cache", recipe, *SETS)
    leave()
    asked = RayOptions(address=a_ray_cluster.URL, workers=2)
    assert resume_on_ray(url, asked, dry_run=True) == 0
    assert f"data     is prepared; the job reads it from {url}/cache" in capsys.readouterr().out
    assert resume_on_ray(url, asked, dry_run=False) == 0
    request, package = cluster.requests[0], cluster.packages[0]
    assert f"--run-dir {url} --cache {url}/cache --workers 2 --set seed=7" in request.entrypoint
    for name, content in package.items():
        put(tmp_path / "unpacked" / name, content.decode())
    loaded = load_recipe(str(tmp_path / "unpacked" / request.entrypoint.split()[5]), ["seed=7"])
    assert loaded.recipe == before.recipe and loaded.missing == () and loaded.prepared is not None
    assert "must see" not in capsys.readouterr().out


def test_on_a_ray_cluster_a_cache_of_this_machine_is_none(capsys, monkeypatch, tmp_path, url):
    cluster, recipe = a_ray_cluster.sit_down(tmp_path, monkeypatch), write_recipe()
    begun(url, "cache", recipe)
    assert resume_on_ray(url, RayOptions(address=a_ray_cluster.URL), dry_run=False) == 0
    assert f"--cache {url}/cache" in cluster.requests[0].entrypoint
    assert "texts.jsonl under this path" in capsys.readouterr().out


def test_with_more_overrides_a_run_goes_on_here_as_it_was_recorded(monkeypatch, recipe, url):
    before = begun(url, f"{url}/cache", recipe, *SETS)
    leave()
    # What it would run is there for so long.
    monkeypatch.setattr(run, "run", lambda found, options: (load_recipe(found, options.overrides), options))
    loaded, options = run.resume(url, RunOptions(workers=3, overrides=("cluster.threads=1", "cluster.nodes=2")))
    assert loaded.recipe.cluster.threads == 1 and loaded.recipe.seed == 7 and loaded.prepared is not None
    assert loaded.recipe.model_copy(update={"cluster": before.recipe.cluster}) == before.recipe
    assert (options.run_dir, options.cache, options.workers) == (url, f"{url}/cache", 3)


def test_a_run_goes_on_here_with_what_was_prepared_of_data_that_is_elsewhere(capsys, recipe, url):
    loaded = begun(url, "cache", recipe)
    directory, console = RunDir(url), Console()
    with_data = data_of_run(directory, loaded.recipe, cache_store("cache"), console)
    leave()
    assert data_of_run(directory, loaded.recipe, cache_store("cache"), console) == with_data
    assert "the run goes on with what was prepared of it, in" in capsys.readouterr().out
    with pytest.raises(DataInvalid, match="say with --cache where their prepared data is"):
        data_of_run(directory, loaded.recipe, cache_store("another"), console)



def test_a_recipe_with_a_time_limit_is_read_again_as_it_was(recipe):
    loaded = load_recipe(str(recipe), ["slurm.time=1-02:03:04", "learning_rate=1e-05"])
    submission = Submission(file="r.yaml", recipe=loaded.recipe, cache="c")
    assert Submission.from_json(submission.to_json()) == submission
