"""How many parameters are trained, by hand for an 8B model, and what that leaves of memory."""

import pytest

from launcher.core.architectures import KNOWN
from launcher.core.run_plan import SegmentPlan
from launcher.core.trainable import Globs, Top
from launcher.core.trained_parameters import parked_beside, sizes_of, trained_at_most, trained_in_all
from tests.core.planned import planned
from tests.core.test_memory import needed, part

FACTS = KNOWN["meta-llama/Llama-3.1-8B"]
LAYER, EMBEDDINGS, WIDTH = 218_112_000, 128_256 * 4096, 4096
SIZES = {"a": 400}
PARTIAL = [{"length": {"steps": 4}, "mix": {"a": 1}, "trainable": ["model.layers.3[01].*", "lm_head"]},
           {"length": {"steps": 8}, "mix": {"a": 1}, "unfreeze": {"every": "1 steps", "layers": 8}}]
MODEL = {"init": {"architecture": "llama", "num_hidden_layers": 32}, "tokenizer": {"train": {}}}


def segment(trainable):
    return SegmentPlan(index=0, first_step=1, steps=4, sequence_length=4096, deepspeed="", trainable=trainable)


@pytest.mark.parametrize("name", KNOWN)
def test_the_parts_of_a_model_are_the_whole(name):
    assert sum(sizes_of(KNOWN[name]).values()) == KNOWN[name].parameters


@pytest.mark.parametrize(("trainable", "count"), [
    ("all", FACTS.parameters), (Top(top=0), WIDTH + EMBEDDINGS), (Top(top=2), 2 * LAYER + WIDTH + EMBEDDINGS),
    (Globs(globs=("model.layers.31.*",)), LAYER), (Globs(globs=("lm_head", "model.norm")), EMBEDDINGS + WIDTH),
    (Globs(globs=("*.o_proj",)), 32 * 4096 * 4096),
    (Globs(globs=("model.layers.31.*", "*.input_layernorm")), FACTS.parameters),  # not known here: too much is told
])
def test_what_a_segment_trains_is_counted(trainable, count):
    plan = planned(SIZES, PARTIAL, model=MODEL).model_copy(update={"segments": (segment(trainable),)})
    assert trained_at_most(plan, FACTS) == count


def test_each_stage_keeps_what_it_trains_and_parks_what_others_have_trained():
    plan = planned(SIZES, [PARTIAL[0], {**PARTIAL[0], "trainable": ["model.layers.29.*"]}], model=MODEL)
    first, second = (plan.as_of(stage) for stage in plan.stages)
    assert (trained_at_most(first, FACTS), parked_beside(first, FACTS)) == (2 * LAYER + EMBEDDINGS, 0)
    assert (trained_at_most(second, FACTS), parked_beside(second, FACTS)) == (LAYER, 2 * LAYER + EMBEDDINGS)
    assert trained_in_all(plan, FACTS) == 3 * LAYER + EMBEDDINGS
    opening = planned(SIZES, PARTIAL, model=MODEL)
    assert [segment.trainable for segment in opening.segments[1:]] == [Top(top=8 * k) for k in (1, 2, 3, 4)] + ["all"]
    opened = opening.as_of(opening.stages[1])
    assert (trained_at_most(opened, FACTS), parked_beside(opened, FACTS)) == (FACTS.parameters, 0)


def test_what_is_not_trained_needs_weights_alone():
    whole, top = needed(), needed(segments=(segment(Globs(globs=("model.layers.31.*",))),))
    assert part(whole, "weights") == part(top, "weights")
    assert part(top, "optimizer") == pytest.approx(12 / 8 * LAYER) and part(top, "gradients") < part(whole, "gradients")
