"""Many ranks, one page of 80 columns."""

from launcher.core.events import Decision
from launcher.core.failure import WorkerFailure
from launcher.core.failure_page import Evidence, decided, failure_page
from launcher.core.failure_report import died

LOG = Evidence(log="attempts/003/rank-008.log")


def failure(rank: int, message: str, **more: object) -> WorkerFailure:
    told = {"rank": rank, "node": "b17", "kind": "worker_crash", "message": message, **more}
    return WorkerFailure.model_validate(told)


def sentences(text: str) -> str:
    """Return a page without its line breaks."""
    return " ".join(text.split())


def deep(frames: int) -> str:
    folder = "/home/x/lib/python3.12/site-packages/deepspeed/runtime"
    lines = [f'  File "{folder}/engine_{number}.py", line {number}, in call\n'
             f"    return self.call_{number}(*arguments)" for number in range(frames)]
    return "\n".join(["Traceback (most recent call last):", *lines, "ValueError: x"])


def test_equal_failures_are_told_once_with_all_their_ranks_and_the_first_of_them():
    failures = [failure(rank, "RuntimeError: uncorrectable ECC error", step=12, phase="forward")
                for rank in (9, 8, *range(10, 16))]
    text = sentences(failure_page(3, 11, failures, LOG))
    assert text.startswith("attempt 3 failed after step 11: worker_crash on ranks 8-15 (rank 9 on node b17 first) in "
                           "forward and backward of step 12: RuntimeError: uncorrectable ECC error")
    assert "log: attempts/003/rank-008.log" in text


def test_the_rank_that_died_is_the_cause_and_its_peers_are_an_afterthought():
    echo = failure(0, "RuntimeError: Connection closed by peer [127.0.0.1]:4711", traceback="Traceback: echo")
    text = sentences(failure_page(1, 7, [echo, died(1, "b17", -9, 7)], LOG))
    assert "worker_crash on rank 1 (node b17) of step 7: ended by SIGKILL" in text
    assert "rank 0 then lost their peers" in text
    assert "Traceback" not in text


def test_one_traceback_is_shown_with_short_paths_and_without_the_middle():
    failures = [failure(rank, "ValueError: x", traceback=deep(40)) for rank in range(3)]
    lines = failure_page(1, 0, failures, LOG).splitlines()
    assert sum("Traceback" in line for line in lines) == 1
    assert lines[-1] == "ValueError: x"
    assert '  File "deepspeed/runtime/engine_0.py", line 0, in call' in lines
    assert "  ... 31 more, in the log" in lines
    assert '  File "deepspeed/runtime/engine_39.py", line 39, in call' in lines


def test_a_stall_shows_where_the_rank_was_what_is_done_and_where_to_look():
    decision = Decision(decision="restart", reason="stall, 1 of 3 without a new checkpoint", delay=4.2)
    frames = (*(f"transformers/models/llama/modeling_llama.py:{number} in forward" for number in range(12)),
              "launcher/runtime/engine.py:82 in accumulate", "launcher/runtime/loop.py:74 in _train_step")
    stalled = failure(1, "no progress for 9 s; a step usually takes 0.2 s", kind="stall", phase="data", step=12)
    evidence = Evidence("runs/a/attempts/003/rank-001.log", decided(decision, stalled.message),
                        "runs/a/attempts/003/rank-001.stacks", 1, frames)
    text = failure_page(3, 11, [stalled], evidence)
    assert text == """\
attempt 3 failed after step 11: stall on rank 1 (node b17) over the data of step
    12: no progress for 9 s; a step usually takes 0.2 s
  decision: restart in 4 s: stall, 1 of 3 without a new checkpoint
  log: runs/a/attempts/003/rank-001.log
  stacks: runs/a/attempts/003/rank-001.stacks

rank 1 was here, the innermost call first:
  transformers/models/llama/modeling_llama.py:0 in forward
  transformers/models/llama/modeling_llama.py:1 in forward
  transformers/models/llama/modeling_llama.py:2 in forward
  transformers/models/llama/modeling_llama.py:3 in forward
  transformers/models/llama/modeling_llama.py:4 in forward
  transformers/models/llama/modeling_llama.py:5 in forward
  transformers/models/llama/modeling_llama.py:6 in forward
  transformers/models/llama/modeling_llama.py:7 in forward
  ...
  launcher/runtime/engine.py:82 in accumulate"""
    assert max(map(len, text.splitlines())) <= 80


def test_a_decision_does_not_say_the_failure_again():
    decision = Decision(decision="end the run", reason="the same error at the same step, 2 times: ValueError: x")
    assert decided(decision, "ValueError: x") == "end the run: the same error at the same step, 2 times"


def test_a_failure_while_loading_has_no_step():
    assert "on rank 2 (node b17) while loading: OSError" in sentences(
        failure_page(1, 0, [failure(2, "OSError: gone", phase="loading", step=0)], LOG))


def test_ranks_that_hang_together_have_no_first_and_deep_files_fit_the_page():
    frames = ("deepspeed/runtime/zero/partitioned_param_coordinator.py:406 in _fetch_sub_module_impl_of_all",)
    stalled = [failure(rank, "no progress for 9 s", kind="stall", step=3, phase="evaluating", node=f"n{rank // 2}")
               for rank in range(12)]
    text = failure_page(1, 3, stalled, Evidence("log", rank=3, stacks="stacks", frames=frames))
    assert "stall on ranks 0-11 (nodes n0, n1, n2, n3, ...) evaluating after step 3:" in sentences(text)
    assert "  zero/partitioned_param_coordinator.py:406 in _fetch_sub_module_impl_of_all" in text
    assert max(map(len, text.splitlines())) <= 80
