import contextlib

import pytest
import torch

from ganzoo.core import device
from ganzoo.features import arithmetic
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


@pytest.mark.parametrize(
    ("amx", "feature", "name"),
    [
        (True, "amx_bf16", "bf16"),
        (False, "avx512_bf16", "fp32"),
        (False, "bf16", "fp32"),
        (False, None, "fp32"),
    ],
)
def test_scores_are_in_float32_on_a_cpu_without_amx(monkeypatch, amx, feature, name) -> None:
    monkeypatch.setattr(arithmetic, "has_amx", lambda: amx)
    monkeypatch.setattr(device, "bf16_feature", lambda: feature)
    cpu = torch.device("cpu")
    assert arithmetic.feature_precision("auto", cpu).name == name
    assert arithmetic.feature_precision("bf16", cpu).name == "bf16"
    assert arithmetic.feature_precision("fp32", cpu).name == "fp32"
