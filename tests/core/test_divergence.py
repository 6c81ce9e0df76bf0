"""What is a spike, and what healthy training is never taken for one."""

import json
import random
from itertools import pairwise
from math import exp
from pathlib import Path

import pytest

from launcher.core.divergence import FEWEST, WINDOW, Sample, Usual, spike, too_many
from launcher.core.recipe_running import DivergencePolicy

WIDTH = 10.0
RECORDED = Path(__file__).parent / "quickstart_steps.json"


def test_this_is_the_width_that_recipes_have() -> None:
    assert DivergencePolicy().width == WIDTH


def sample(loss: float, norm: float = 1.0, tokens: int = 1000) -> Sample:
    return Sample(norm=norm, losses={"a": loss}, tokens={"a": tokens})


def after(samples: list[Sample], stage: str = "s") -> Usual:
    usual = Usual()
    for each in samples:
        usual = usual.with_step(stage, each)
    return usual


def noisy(seed: int, loss: float, by: float, norms_by: float, steps: int = WINDOW) -> list[Sample]:
    chance = random.Random(seed)
    return [sample(loss * exp(chance.gauss(0, by)), exp(chance.gauss(0, norms_by))) for _ in range(steps)]


USUAL = after(noisy(0, loss=2.0, by=0.05, norms_by=0.3))


@pytest.mark.parametrize(("one", "told"), [
    (sample(9.0), "the loss is 9, where 2"), (sample(2.0, norm=400.0), "the gradient norm is 400, where"),
    (sample(4.0), None), (sample(2.0, norm=12.0), None), (sample(0.01, norm=0.001), None),
], ids=["loss", "norm", "a hard batch", "a steep batch", "far below"])
def test_what_lies_far_above_the_usual_is_a_spike(one: Sample, told: str | None) -> None:
    found = spike(USUAL, "s", one, WIDTH)
    assert found is None if told is None else found is not None and found.startswith(told), found


def test_a_narrower_width_tells_smaller_spikes() -> None:
    assert spike(USUAL, "s", sample(4.0), 3.0) and not spike(USUAL, "s", sample(4.0), 30.0)


def test_a_new_stage_is_not_judged_by_the_one_before() -> None:
    assert spike(USUAL, "next", sample(9.0), WIDTH) is None
    begun = after(noisy(1, 2.0, 0.05, 0.3, FEWEST - 1))
    assert spike(begun, "s", sample(9.0, 900.0), WIDTH) is None
    assert spike(begun.with_step("s", sample(2.0)), "s", sample(9.0), WIDTH)


def test_a_step_of_few_tokens_is_not_judged() -> None:
    assert spike(USUAL, "s", sample(9.0, 900.0, tokens=200), WIDTH) is None


def test_text_learnt_by_heart_is_no_divergence_when_it_is_once_forgotten() -> None:
    assert spike(after([sample(0.01)] * 30), "s", sample(0.5), WIDTH) is None


def test_more_rows_of_a_hard_source_are_no_spike_but_a_rise_of_its_own_loss_is() -> None:
    easy = [Sample(norm=1.0, losses={"easy": 0.3}, tokens={"easy": 1000})] * 8
    mixed = Sample(norm=1.0, losses={"easy": 0.3, "hard": 3.0}, tokens={"easy": 900, "hard": 100})
    usual = after([*easy, mixed] * 5)
    assert spike(usual, "s", Sample(norm=1.0, losses={"hard": 3.0}, tokens={"hard": 1000}), WIDTH) is None
    assert spike(usual, "s", Sample(norm=1.0, losses={"hard": 9.0}, tokens={"hard": 1000}), WIDTH)
    unknown = Sample(norm=1.0, losses={"new": 9.0}, tokens={"new": 1000})
    assert spike(usual, "s", unknown, WIDTH) is None, "nothing is known of this source yet"


def test_what_is_usual_is_the_last_fifty_steps_and_survives_json() -> None:
    usual = after([sample(float(number)) for number in range(WINDOW + 7)])
    assert [each.losses["a"] for each in usual.steps] == [float(number) for number in range(7, WINDOW + 7)]
    assert Usual.from_json(usual.to_json()) == usual


def widest(samples: list[tuple[str, Sample]]) -> float:
    """Return the least whole width at which no step is a spike."""
    usual, most = Usual(), 0.0
    for stage, each in samples:
        while spike(usual, stage, each, most):
            most += 1
        usual = usual.with_step(stage, each)
    return most


def test_the_quickstart_has_no_spike() -> None:
    steps = [(stage, Sample.model_validate(each)) for stage, each in json.loads(RECORDED.read_text())]
    assert len(steps) == 120 and len({stage for stage, _ in steps}) == 3
    assert widest(steps) <= WIDTH / 2, "with room"


@pytest.mark.parametrize(("by", "norms_by"), [(0.01, 0.05), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0)],
                         ids=["large batches", "small ones", "single rows", "reinforcement-like"])
def test_healthy_noise_of_any_size_has_no_spike(by: float, norms_by: float) -> None:
    """Curves that fall from 8 to 1, with noise of which every hundredth step is three times as strong."""
    for seed in range(3):
        chance = random.Random(seed)
        curve = [1 + 7 * exp(-step / 100) for step in range(600)]
        strong = [3.0 if chance.random() < 0.01 else 1.0 for _ in curve]
        samples = [("s", sample(level * exp(chance.gauss(0, by * much)), exp(chance.gauss(0, norms_by * much))))
                   for level, much in zip(curve, strong, strict=True)]
        assert widest(samples) <= WIDTH, f"seed {seed}"


def test_a_loss_that_runs_away_is_told_in_time() -> None:
    """A loss that grows by a fifth each step, as with a rate that is too high."""
    for seed in range(10):
        usual, losses = after(noisy(seed, 2.0, 0.05, 0.3)), [2.0 * 1.2 ** step for step in range(1, 12)]
        assert all(low < high for low, high in pairwise(losses))
        for loss in losses:
            if spike(usual, "s", sample(loss), WIDTH):
                break
            usual = usual.with_step("s", sample(loss))
        else:
            pytest.fail(f"seed {seed}: a loss of {losses[-1]} is not told")
        assert loss < 8, f"seed {seed}: told at {loss} only"


@pytest.mark.parametrize(("skipped", "step", "told"), [
    ((7,), 7, ()), ((6, 7), 7, ()), ((2, 5, 6, 7), 7, (5, 6, 7)), ((1, 3, 5, 7), 7, ()),
    (tuple(range(2, 21, 2)), 20, tuple(range(2, 21, 2))), (tuple(range(20, 220, 20)), 200, ()),
], ids=["one", "two", "three", "every other", "ten of a hundred", "one in twenty"])
def test_a_few_steps_may_be_left_out_and_not_many(skipped: tuple[int, ...], step: int, told: tuple[int, ...]) -> None:
    assert too_many(skipped, step) == told
