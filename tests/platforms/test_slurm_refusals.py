"""Which of sbatch's refusals are about the request, and which field each is about."""

import pytest

from launcher.platforms.slurm_refusals import refusal

FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize("said,words", [
    (f"sbatch: error: invalid partition specified: hihg\n{FAILED}Invalid partition name specified",
     "sbatch refuses the job (invalid partition specified: hihg; Invalid partition name specified): change "
     "slurm.partition (SBATCH_PARTITION in a site file); did you mean high?"),
    (f"{FAILED}Invalid generic resource (gres) specification", "cluster.gpus_per_node"),
    (f"{FAILED}Invalid account or account/partition combination specified", "slurm.account"),
    (f"{FAILED}Invalid qos specification", "slurm.qos"),
    (f"sbatch: error: CPU count per node can not be satisfied\n{FAILED}Requested node configuration is not available",
     "slurm.cpus_per_task"),
    (f"{FAILED}Requested time limit is invalid (missing or exceeds some limit)", "slurm.time"),
    (f"{FAILED}Invalid feature specification", "slurm.constraint"),
    ("sbatch: unrecognized option '--mem-per-gpus=4G'\nTry \"sbatch --help\" for more information", "slurm.extra")])
def test_a_refused_request_names_the_field_to_change_in_one_line(said, words):
    told = refusal(said, ["low", "high"])
    assert words in told and "\n" not in told and "sbatch: error" not in told


@pytest.mark.parametrize("said", [
    f"{FAILED}Unable to contact slurm controller (connect failure)", "sbatch: error: too many jobs",
    f"{FAILED}Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
    f"{FAILED}Slurm temporarily unable to accept job, sleeping and retrying", "no such command here"])
def test_what_passes_or_is_not_known_is_left_as_it_is(said):
    assert refusal(said, ["low"]) == ""
