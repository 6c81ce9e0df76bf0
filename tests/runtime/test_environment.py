"""What a worker sets in its own process."""

import warnings

import torch
import torch.distributed as dist

from launcher.runtime.environment import hide_known_warnings


def test_collectives_that_torch_renamed_do_not_fill_the_log_and_other_warnings_are_kept():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            hide_known_warnings()
            dist.all_gather_into_tensor(torch.zeros(1), torch.zeros(1))
            warnings.warn("something else", FutureWarning, stacklevel=1)
    finally:
        dist.destroy_process_group()
    assert [str(warning.message) for warning in told] == ["something else"]
