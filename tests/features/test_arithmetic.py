import contextlib

import torch

from ganzoo.features.arithmetic import full_float32


def test_the_last_of_two_blocks_that_overlap_puts_back_what_was():
    """As those of two threads do, of which the first to begin ends first."""
    part = torch.backends.cudnn.conv
    before = part.fp32_precision
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(full_float32())
    second.enter_context(full_float32())
    first.close()
    within = part.fp32_precision
    second.close()
    assert (within, part.fp32_precision) == ("ieee", before)
