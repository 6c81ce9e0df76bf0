"""What sbatch refuses for the sake of the request itself: its words, and which field of a recipe to change. Pure.

Decides whose move a refusal is: another try of the same mends a controller that is away, and never a wrong partition.
"""

import re
from collections.abc import Sequence

from launcher.core.suggestions import did_you_mean

PARTITION = re.compile(r"invalid partition", re.IGNORECASE)
NAMED = re.compile(r"invalid partition specified: (\S+)")
SITE = " (SBATCH_{name} in a site file)"
ADVICE = (
    (re.compile(r"invalid generic resource|invalid gres|\bgres\b.*invalid", re.IGNORECASE),
     "no node here has such GPUs; cluster.gpus_per_node says how many each must have, and "
     "`sinfo --format='%P %G'` what there is"),
    (re.compile(r"invalid account", re.IGNORECASE),
     "change slurm.account" + SITE.format(name="ACCOUNT") + "; `sacctmgr show associations user=$USER` lists yours"),
    (re.compile(r"invalid qos", re.IGNORECASE), "change slurm.qos" + SITE.format(name="QOS")),
    (re.compile(r"invalid feature", re.IGNORECASE), "change slurm.constraint; `sinfo --format='%P %f'` lists features"),
    (re.compile(r"invalid node name", re.IGNORECASE), "change slurm.exclude, or slurm.extra.nodelist"),
    (re.compile(r"reservation is invalid|invalid reservation", re.IGNORECASE), "change slurm.reservation"),
    (re.compile(r"time limit is invalid|time limit specification required|invalid --?time", re.IGNORECASE),
     "change slurm.time; `launcher doctor --on slurm` tells each partition's limit"),
    (re.compile(r"invalid node count|node count specification invalid", re.IGNORECASE),
     "change cluster.nodes, or --nodes"),
    (re.compile(r"memory specification|memory required by task", re.IGNORECASE), "change slurm.extra.mem"),
    (re.compile(r"group not permitted to use this partition", re.IGNORECASE), "change slurm.partition"),
    (re.compile(r"requested node configuration is not available|CPU count per node can not be satisfied|"
                r"more processors requested than permitted", re.IGNORECASE),
     "no nodes here are like that; change slurm.cpus_per_task, cluster.gpus_per_node, cluster.nodes or slurm.partition "
     "(`sinfo --format='%P %D %c %G'` tells each partition's nodes, CPUs and GPUs)"),
    (re.compile(r"unrecogni[sz]ed option|ambiguous option|option.*(requires|doesn't allow) an argument",
                re.IGNORECASE), "change slurm.extra, which takes options of sbatch by their long names"),
)
"""In order, since the first that fits counts: Slurm's last line is its most general one."""


def refusal(said: str, partitions: Sequence[str] = ()) -> str:
    """Return what to tell the person whose request sbatch refuses, with partitions that there are; nothing where it
    says something else, as that its controller is away."""
    if PARTITION.search(said):
        named = NAMED.search(said)
        known = did_you_mean(named[1], partitions) if named and partitions else f"known: {', '.join(partitions)}"
        advice = "change slurm.partition" + SITE.format(name="PARTITION") + (f"; {known}" if partitions else "")
    else:
        advice = next((advice for words, advice in ADVICE if words.search(said)), "")
    return f"sbatch refuses the job ({_short(said)}): {advice}" if advice else ""


def _short(said: str) -> str:
    """Return sbatch's words in one line, without what it says of itself in each."""
    lines = (re.sub(r"^(sbatch: )*(error: |fatal: )?(Batch job submission failed: )?", "", line.strip())
             for line in said.splitlines())
    return "; ".join(dict.fromkeys(filter(None, lines)))
