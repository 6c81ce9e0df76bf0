"""Stacks as Python writes them, and what is told of them."""

from launcher.core.stacks import main_frames, odd_one_out

BEATING = """\
Thread 0x00007f1b2c7fe6c0 [heartbeat] (most recent call first):
  File "/usr/lib/python3.12/threading.py", line 359 in wait
  File "/home/x/launcher/runtime/reporter.py", line 97 in _beat_for_ever
  File "/usr/lib/python3.12/threading.py", line 1032 in _bootstrap

"""
MAIN = """\
Current thread 0x00007f1b3b1f0740 (most recent call first):
  File "/v/lib/python3.12/site-packages/torch/%s
  File "/home/x/launcher/runtime/loop.py", line 74 in _train_step
  File "/home/x/launcher/runtime/worker.py", line 60 in main
  File "<frozen runpy>", line 88 in _run_code
  File "<frozen runpy>", line 198 in _run_module_as_main
"""
HOOK = """\
Thread 0x00007f1b2c7fe6d0 (most recent call first):
  File "/v/lib/python3.12/site-packages/deepspeed/runtime/zero/stage3.py", line 9 in reduce
  File "/v/lib/python3.12/site-packages/deepspeed/runtime/zero/stage3.py", line 3 in hook

"""


def test_the_main_thread_is_told_with_short_paths():
    assert main_frames(BEATING + MAIN % 'x.py", line 1 in wait')[:2] == (
        "torch/x.py:1 in wait", "launcher/runtime/loop.py:74 in _train_step")


def test_the_last_of_several_stacks_counts():
    first, last = MAIN % 'x.py", line 1 in early', MAIN % 'x.py", line 2 in late'
    assert main_frames(BEATING + first + BEATING + last)[0] == "torch/x.py:2 in late"


def test_a_hook_of_the_backward_pass_is_told_instead_of_waiting_for_it():
    assert main_frames(HOOK + BEATING + MAIN % 'autograd/graph.py", line 8 in _engine_run_backward')[0] == (
        "deepspeed/runtime/zero/stage3.py:9 in reduce")


def test_of_a_crash_the_thread_that_crashed_is_told():
    waiting = (MAIN % 'x.py", line 1 in wait').replace("Current thread", "Thread")
    crash = "Fatal Python error: Segmentation fault\n\n" + waiting + "\n" + BEATING.replace("Thread", "Current thread")
    assert main_frames(BEATING + MAIN % 'x.py", line 1 in wait' + crash)[1] == (
        "launcher/runtime/reporter.py:97 in _beat_for_ever")


def test_no_stacks_are_no_frames():
    assert main_frames("") == ()
    assert main_frames("Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n") == ()


def test_the_rank_that_the_others_wait_for_stands_alone():
    waiting, sleeping = ("all_gather",), ("read",)
    assert odd_one_out({0: waiting, 1: waiting, 2: sleeping, 3: waiting}) == 2
    assert odd_one_out({4: waiting, 1: waiting}) == 1
    assert odd_one_out({1: (), 2: waiting}) == 2
    assert odd_one_out({1: ()}) is None
    collective = ("torch/distributed/distributed_c10d.py:3021 in all_gather", "launcher/runtime/loop.py:1 in run")
    assert odd_one_out({0: collective, 1: sleeping}) == 1


def test_wrappers_are_left_out():
    wrapped = MAIN % 'nn/modules/module.py", line 7 in _call_impl'
    assert main_frames(BEATING + wrapped)[0] == "launcher/runtime/loop.py:74 in _train_step"
