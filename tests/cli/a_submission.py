"""A person's desk from which jobs are submitted: a machine whose sbatch only writes down what it is told."""

import json
import sys
from pathlib import Path

SBATCH = f"""#!{sys.executable}
import json, os, sys
with open("told", "w") as file:
    json.dump([sys.argv[1:], dict(os.environ)], file)
if "--test-only" in sys.argv and os.environ.get("UNFIT"):
    sys.exit("allocation failure: " + os.environ["UNFIT"])
elif "--test-only" in sys.argv:
    starts = os.environ.get("STARTS", "N/A")
    sys.stderr.write("sbatch: Job 78 to start at " + starts + " using 2 processors on nodes node[1-2]\\n")
elif os.environ.get("UNCLEAR"):
    print("welcome to the cluster")
elif os.environ.get("REFUSED"):
    sys.exit("sbatch: error: " + os.environ["REFUSED"])
else:
    with open("began", "a") as file:
        file.write(sys.argv[1] + "\\n")
    with open("began") as file:
        count = len(file.readlines())
    if count > int(os.environ.get("REFUSED_AFTER", count)):
        sys.exit("sbatch: error: too many jobs")
    print(76 + count)
"""
SINFO = """#!/bin/sh
case "$*" in
    *--exact*) printf 'low|2|4|gpu:8(S:0-1)\\nlow|1|1|(null)\\nhigh|1|64|(null)\\n';;
    *) printf 'node1\\nnode2\\n';;
esac
"""
SCONTROL = """#!/bin/sh
[ -z "$SILENT" ] || { echo 'slurm_load_partitions: Unable to contact slurm controller (connect failure)' >&2; exit 1; }
echo 'PartitionName=low Default=YES MaxNodes=UNLIMITED MaxTime=UNLIMITED State=UP TotalNodes=3'
echo 'PartitionName=high Default=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED State=UP TotalNodes=1'
"""
RECIPE = """
name: small
model:
  init: {architecture: llama, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2}
  tokenizer: {train: {vocab_size: 300}}
  chat_template: own.jinja
deepspeed: own.json
sequence_length: 64
sources: {texts: {path: texts.jsonl}}
stages: [{name: only, length: {steps: 3}, mix: {texts: 1}}]
batch: {rows: 2}
learning_rate: 1e-3
"""


def sit_down(folder: Path) -> str:
    """Put commands of a small Slurm into a folder; return what goes before PATH."""
    put(folder / "bin/sbatch", SBATCH).chmod(0o755)
    put(folder / "bin/sinfo", SINFO).chmod(0o755)
    put(folder / "bin/scontrol", SCONTROL).chmod(0o755)
    return str(folder / "bin")


def write_recipe() -> Path:
    """Write a recipe that names files of every kind, in a folder of its own."""
    put("mine/own.json", '{"zero_optimization": {"stage": 2}, "train_micro_batch_size_per_gpu": "auto"}')
    put("mine/own.jinja", "{% for message in messages %}{{ message.content }}<|end|>{% endfor %}")
    put("mine/texts.jsonl", "".join(json.dumps({"text": f"{number} follows {number - 1}. " * 9}) + "\n"
                                    for number in range(40)))
    return put("mine/small.yaml", RECIPE)


def put(name: str | Path, text: str) -> Path:
    """Write a file, its folder made."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def told() -> tuple[list[str], dict[str, str]]:
    """Return what sbatch was given last: arguments and environment."""
    arguments, environment = json.loads(Path("told").read_text())
    return arguments, environment


def script_arguments() -> list[str]:
    """Return what the batch script will be given."""
    arguments = told()[0]
    return arguments[next(at for at, word in enumerate(arguments) if word.endswith("train.sbatch")) + 1:]
