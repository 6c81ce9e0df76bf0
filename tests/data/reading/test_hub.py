"""Datasets of the hub, fetched by `datasets` itself from a server that speaks as the hub does."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.data.files import SUMS, lines
from tests.data.making import recipe_for
from tests.data.reading.fake_hub import FakeHub, serving

SCRIPT = """
import json, sys
from launcher.core.errors import DataInvalid
from launcher.core.recipe import Recipe
from launcher.data.prepare import look_up, prepare
from launcher.storage.store import LocalStore
store, asked = LocalStore(sys.argv[1]), json.loads(sys.argv[2])
for recipe in map(Recipe.from_json, asked):
    try:
        found = look_up(recipe, store)
        light = not {"datasets", "transformers", "huggingface_hub"} & set(sys.modules)
        index = (found or prepare(recipe, store)).sources["s"]
        told = [found is not None, light, index.read, index.fingerprint]
    except DataInvalid as error:
        told = str(error)
    print(json.dumps(told))
assert "torch" not in sys.modules
"""


@pytest.fixture
def launcher(tmp_path):
    def run(address, *said, **environment):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": address,
                       "HF_HUB_OFFLINE": "0", **environment}
        recipes = json.dumps([recipe_for({"s": source}).to_json() for source in said])
        done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "cache"), recipes], check=False,
                              capture_output=True, text=True, env=environment)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.mark.slow
def test_a_dataset_of_the_hub_is_fetched_once_and_stays_what_it_was(launcher):
    hub = FakeHub()
    first = hub.commit({"README.md": b"no card", "train.jsonl": lines(SUMS), "test.jsonl": lines(SUMS[:3])})
    with serving(hub) as address:
        made = launcher(address, {"path": "owner/sums"}, {"path": "owner/sums", "split": "test"},
                        {"path": "hub:owner/sums", "split": "train[:10]"}, {"path": "owner/sums", "split": "tests"},
                        {"path": "owner/sums", "subset": "en"}, {"path": "owner/sums", "revision": "v9"},
                        {"path": "owner/nothing"})
        assert [told[2] for told in made[:3]] == [36, 3, 10] and len({told[3] for told in made[:3]}) == 3
        assert made[3:] == [f"sources.s: hub:owner/{message}" for message in (
            "sums: has no split 'tests'; did you mean test?",
            "sums: cannot be loaded (BuilderConfig 'en' not found. Available: ['default']); say which with subset:",
            "sums: has no revision 'v9'; give a branch, tag or commit",
            "nothing: there is no such local path, nor such a dataset on the Hugging Face hub; check the name, and "
            "HF_TOKEN if it is private")]
        second = hub.commit({"train.jsonl": lines(SUMS[1:])})
        # What was pushed since is another revision.
        again, new, old = launcher(address, {"path": "owner/sums"}, {"path": "owner/sums", "revision": second},
                                   {"path": "owner/sums", "revision": first})
    assert again == [True, True, 36, made[0][3]] and new[2] == 35 != again[2] and old[::3] == again[::3]
    # Without network what was prepared is found, and what was fetched is prepared anew for another form of it.
    changed = {"path": "owner/sums", "separator": " "}
    found, other, renewed = launcher("http://127.0.0.1:9", {"path": "owner/sums"}, changed,
                                     {**changed, "revision": second}, HF_HUB_OFFLINE="1")
    assert found == again and renewed[0] is False and renewed[2] == 35
    assert re.fullmatch(rf"hub:owner/sums: commit {first[:12]} cannot be fetched, and the cache of datasets "
                        rf"offers {second[:12]} .*", other)
