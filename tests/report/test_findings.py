"""What a doctor says of bad sites, and that it says nothing bad of a good one."""

import pytest

from launcher.cli.doctor import lines
from launcher.core.site_facts import (
    Clock,
    Folder,
    Gpu,
    Job,
    Machine,
    Partition,
    Reduction,
    Rules,
    SiteFacts,
    Way,
)
from launcher.report.finding import Finding, any_bad, who
from launcher.report.findings import findings

GI = 2**30
NAMES = ("node1", "node2", "node3")
VERSIONS = {"launcher": "0.1.0", "torch": "2.13.0", "deepspeed": "0.19.8", "ray": "2.60.0", "transformers": "5.23.0"}
RULES = Rules(version="24.11.3", requeue=True, kill_wait_s=60, preempts="partition", proctrack="proctrack/cgroup",
              task_plugins=("task/cgroup",), node_timeout_s=300, requeue_delay_s=121)
PARTITION = Partition(name="long", default=True, nodes=64, max_time_s=86400, grace_s=120, preempt_mode="REQUEUE")
H200 = Gpu(name="NVIDIA H200", memory=140 * GI, driver="570.86")


def machine(name: str, **changes: object) -> Machine:
    good = Machine(name=name, own_address="10.0.0.1", python="3.12.4", executable="/env/bin/python", versions=VERSIONS,
                   cores=64, memory=512 * GI, gpus=(H200,) * 8, gpus_given=8, open_files=65536, locked_memory=None,
                   space={"/dev/shm": 256 * GI, "/tmp": 100 * GI}, block=20_000)
    return good.model_copy(update=changes)


def job(**changes: object) -> Job:
    """Return what is found on three good nodes."""
    good = Job(names=NAMES, machines={name: machine(name) for name in NAMES},
               clocks={name: Clock(ahead_s=0.001, uncertain_s=0.002) for name in NAMES},
               folders={name: (Folder(path="/shared", bytes_s=2e9, free=900 * GI),) for name in NAMES},
               ways={"node1": (Way(to="node2", port=20_000, kind="block"),)},
               reductions={name: (Reduction(backend="gloo", bytes_s=1e9, interface="ib0"),
                                  Reduction(backend="nccl", bytes_s=4e10)) for name in NAMES})
    return good.model_copy(update=changes)


def site(**changes: object) -> SiteFacts:
    good = SiteFacts(here=machine("login", gpus=()), rules=RULES, partitions=(PARTITION,), tiers=(1, 10), jobs=(job(),))
    return good.model_copy(update=changes)


def told(found: SiteFacts) -> list[Finding]:
    return [finding for _, section in findings(found) for finding in section]


def trouble(found: SiteFacts) -> list[tuple[str, str]]:
    return [(finding.level, finding.what) for finding in told(found) if finding.level in ("warn", "bad")]


def with_node2(**changes: object) -> SiteFacts:
    return site(jobs=(job(machines={name: machine(name, **(changes if name == "node2" else {})) for name in NAMES}),))


def test_of_a_good_site_nothing_is_to_be_warned_of():
    assert trouble(site()) == []
    assert "all-reduce with nccl of 3 nodes: right, 40.0 GB/s from each" in [finding.what for finding in told(site())]


@pytest.mark.parametrize("changes,expected", [
    ({"requeue": False}, ("warn", "JobRequeue=0")),
    ({"kill_wait_s": 2.0}, ("warn", "only 2 s between SIGTERM and SIGKILL")),
    ({"proctrack": "proctrack/linuxproc"}, ("warn", "by parenthood (proctrack/linuxproc)")),
])
def test_rules_that_cost_work_are_told_with_what_to_do(changes, expected):
    found = trouble(site(rules=RULES.model_copy(update=changes)))
    assert [level for level, _ in found] == [expected[0]] and expected[1] in found[0][1]


@pytest.mark.parametrize("changes,expected", [
    ({"grace_s": 0.0, "preempt_mode": "CANCEL"}, ("warn", "(CANCEL) with 1 min 00 s to save")),
    ({"preempt_mode": "SUSPEND"}, ("warn", "may be suspended")),
    ({"max_time_s": 600.0}, ("warn", "at most 10 min 00 s")),
    ({"state": "DRAIN"}, ("bad", "partition long is DRAIN")),
])
def test_partitions_that_cost_work(changes, expected):
    found = trouble(site(partitions=(PARTITION.model_copy(update=changes),)))
    assert [level for level, _ in found] == [expected[0]] and expected[1] in found[0][1]


def test_too_little_time_before_a_preemption_is_told_of_the_partition():
    short = RULES.model_copy(update={"kill_wait_s": 2.0})
    found = trouble(site(rules=short, partitions=(PARTITION.model_copy(update={"grace_s": 0.0}),)))
    assert any("partition long: its jobs may be preempted (REQUEUE) with 2 s to save" in what for _, what in found)


def test_the_highest_tier_is_not_preempted():
    high = PARTITION.model_copy(update={"tier": 10, "grace_s": 0.0})
    assert "partition long: its jobs are not preempted" in [finding.what for finding in told(site(partitions=(high,)))]


@pytest.mark.parametrize("changes,level,words", [
    ({"versions": VERSIONS | {"torch": "2.12.1"}}, "bad",
     "torch is not the same everywhere: 2.13.0 on node1, node3, login; 2.12.1 on node2"),
    ({"python": "3.11.2"}, "bad", "python is not the same everywhere"),
    ({"versions": VERSIONS | {"ray": ""}}, "bad", "node2: ray not installed"),
    ({"gpus": (H200,) * 7}, "bad", "node2: GPUs: 8 given by Slurm, 7 seen"),
    ({"gpus": (H200.model_copy(update={"driver": "535.1"}),) * 8}, "warn", "GPU drivers differ"),
    ({"block": None}, "bad", "node2: no 240 ports in a row"),
    ({"open_files": 1024}, "warn", "node2: a process may open 1024 files"),
    ({"locked_memory": 2**16}, "warn", "node2: a process may lock 0 MiB"),
    ({"space": {"/dev/shm": 64 * 2**20, "/tmp": 9 * GI}}, "warn", "node2: 64 MiB free in /dev/shm"),
    ({"cores": 1}, "warn", "node2: fewer cores than GPUs"),
])
def test_a_node_that_is_not_as_the_others_is_named(changes, level, words):
    found = trouble(with_node2(**changes))
    assert any(each == level and words in what for each, what in found), found


def test_a_node_whose_hub_cache_holds_less_is_named():
    here = machine("login", gpus=(), hub_entries=3, hub_cache="/home/me/.cache/huggingface/hub")
    found = trouble(site(here=here, jobs=(job(machines={name: machine(name, hub_entries=3 * (name != "node2"),
                                                                      hub_cache="/h/hub") for name in NAMES}),)))
    assert found == [("warn", "node2: 0 models and datasets in /h/hub, and 3 on login")]


def test_machines_that_lack_the_same_are_one_sentence_and_many_are_counted():
    names = tuple(f"n{number}" for number in range(64))
    crowd = job(names=names, machines={name: machine(name, open_files=1024) for name in names})
    assert trouble(site(jobs=(crowd,))) == [("warn", "n0, n1, n2, n3 and 60 more: a process may open 1024 files")]
    assert who(["a"]) == "a"


@pytest.mark.parametrize("changes,level,words", [
    ({"folders": {"node1": (Folder(path="/shared", bytes_s=2e9, free=900 * GI),),
                  "node2": (Folder(path="/shared", same=False),)}}, "bad", "node2: /shared is another folder"),
    ({"folders": {"node2": (Folder(path="/shared", problem="Read-only file system"),)}}, "bad",
     "node2: /shared cannot be used: Read-only file system"),
    ({"folders": {"node2": (Folder(path="/shared", bytes_s=2e9, free=900 * GI, unseen=("node1",)),)}}, "bad",
     "node2: /shared does not show what node1 wrote"),
    ({"folders": {"node2": (Folder(path="/shared", bytes_s=20e6, free=900 * GI),)}}, "warn", "20 MB/s are written"),
    ({"clocks": {"node2": Clock(ahead_s=-7.0, uncertain_s=0.1)}}, "warn", "node2: its clock is 7.0 s behind"),
    ({"clocks": {"node2": Clock(ahead_s=400.0, uncertain_s=0.1)}}, "bad", "node2: its clock is 400.0 s ahead"),
    ({"ways": {"node1": (Way(to="node2", port=20_000, kind="block", problem="No route to host"),
                         Way(to="node2", port=20_239, kind="block", problem="No route to host"),
                         Way(to="node2", port=40_000, kind="any"))}}, "bad",
     "node1 to node2: no connection to a port between 20000 and 32000: No route to host"),
    ({"no_way": {"node1": "node2: Name or service not known"}}, "bad", "node1: node2: Name or service not known"),
    ({"reductions": {"node2": (Reduction(backend="nccl", right=False, bytes_s=1e9),)}}, "bad",
     "node2: all-reduce with nccl: a wrong sum"),
    ({"reductions": {"node2": (Reduction(backend="gloo", problem="it did not end within 170 s"),)}}, "bad",
     "node2: all-reduce with gloo: it did not end"),
    ({"reductions": {"node2": (Reduction(backend="gloo", bytes_s=5e6),)}}, "warn", "5 MB/s from each"),
    ({"silent": {"node3": "no answer to `look` within 75 s"}}, "bad", "node3: no answer to `look` within 75 s"),
    ({"problem": "job 7 still waits for its nodes (Priority)", "machines": {}}, "bad", "(Priority)"),
])
def test_what_keeps_nodes_apart_is_told_of_the_node(changes, level, words):
    found = trouble(site(jobs=(job(**changes),)))
    assert [each for each, _ in found] == [level] and words in found[0][1], found


def test_a_clock_that_could_not_be_measured_better_is_not_accused():
    assert trouble(site(jobs=(job(clocks={"node1": Clock(ahead_s=5.0, uncertain_s=4.0)}),))) == []


def test_a_folder_that_the_machine_of_the_command_cannot_use_is_told_of_it():
    found = trouble(site(folders=(Folder(path="/scratch", problem="Permission denied"), Folder(path="/shared"))))
    assert found == [("bad", "login: /scratch cannot be used: Permission denied")]


def test_a_machine_alone_is_told_in_the_same_words():
    alone = SiteFacts(here=machine("laptop"), folders=(Folder(path="/home/me", bytes_s=1e9, free=90 * GI),))
    assert [heading for heading, _ in findings(alone)] == ["this machine"]
    assert not any_bad(told(alone)) and "/home/me: can be written, 90.0 GiB free" in [each.what for each in told(alone)]


def test_everything_is_within_80_columns_and_says_what_to_do():
    bad = site(rules=RULES.model_copy(update={"requeue": False, "kill_wait_s": 2.0}),
               jobs=(job(silent={"node3": "no answer to `look` within 75 s"}),))
    for finding in told(bad):
        printed = lines(finding)
        assert all(len(line) <= 80 for line in printed)
        assert " ".join(" ".join(printed).split()).startswith(" ".join(f"{finding.level} {finding.what}".split()))
        assert finding.level in ("ok", "note") or (finding.why and finding.do)
