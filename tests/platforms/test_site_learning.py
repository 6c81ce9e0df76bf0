"""The site file of a doctor: settings that every job needs, comments for the rest."""

import re

from launcher.core.site_facts import Folder, Job, Machine, Partition, Reduction, Rules, SiteFacts
from launcher.platforms.site_learning import learnt

PYTHON = "/shared envs/launcher/bin/python"


def site(**changes: object) -> SiteFacts:
    folder = Folder(path="/shared/cache", bytes_s=2e9, free=2**40)
    job = Job(names=("n1", "n2"), machines={name: Machine(name=name, executable=PYTHON) for name in ("n1", "n2")},
              folders={"n1": (folder,), "n2": (folder,)},
              reductions={"n1": (Reduction(backend="gloo", bytes_s=1e9, interface="ib0"),)})
    return SiteFacts(here=Machine(name="login", executable=PYTHON), jobs=(job.model_copy(update=changes),),
                     rules=Rules(version="24.11", requeue=False, kill_wait_s=30, preempts="partition"),
                     partitions=(Partition(name="long", max_time_s=86400, preempt_mode="REQUEUE", grace_s=60),))


def settings(text: str) -> dict[str, str]:
    assert all(line[0] == "#" or re.match("[A-Z_]+=", line) for line in text.splitlines() if line)
    return dict(line.split("=", 1) for line in text.splitlines() if line and line[0] != "#")


def test_what_worked_is_set_and_what_is_good_to_know_is_told() -> None:
    text = learnt(site(), {"account": "heart", "gpus-per-node": "8"}, "/shared/cache")
    assert settings(text) == {"LAUNCHER_PYTHON": f"'{PYTHON}'", "LAUNCHER_CACHE": "/shared/cache",
                              "SBATCH_PARTITION": "long", "SBATCH_ACCOUNT": "heart", "SBATCH_SIGNAL": "B:USR1@180"}
    assert "preemption REQUEUE, grace 60 s" in text and "over ib0" in text and "30 s between SIGTERM" in text
    assert "the second = asks for exactly this one.\n#NCCL_SOCKET_IFNAME==ib0\n" in text


def test_a_slow_shared_folder_asks_for_an_earlier_warning_and_a_cache_that_is_not_shared_is_not_set() -> None:
    slow = (Folder(path="/home/me/.cache", bytes_s=20e6, free=2**40, unseen=("n2",)),)
    found = settings(learnt(site(folders={"n1": slow}), {}, "/home/me/.cache"))
    assert found["SBATCH_SIGNAL"] == "B:USR1@600" and "LAUNCHER_CACHE" not in found


def test_where_no_job_worked_nothing_is_set() -> None:
    assert settings(learnt(site(silent={"n2": "no answer"}), {}, "/shared/cache")) == {}
