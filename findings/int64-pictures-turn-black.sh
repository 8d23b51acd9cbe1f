#!/usr/bin/env bash
# Software:  datasets 5.2.0, torchvision 0.29.1, torch 2.14.1, Pillow 13.0.0, numpy 2.4.6
# Behaviour: datasets stores an int64 or int32 array with values from 0 to 255 as a TIFF of Pillow's
#            mode I. torchvision's v2.ToImage and ToDtype(float32, scale=True) divide that by the
#            largest int32, so that every value is below 2e-7: a black picture. The older ToTensor
#            does not scale it at all and returns int32. The same values as uint8 are right.
# Expected:  the same picture for the same values, as the documentation of both suggests
#            (https://huggingface.co/docs/datasets/image_load: arrays are images; v2.ToDtype: scale
#            the values to the range of the type), or an error. Integers of NumPy are int64 by
#            default, so that arithmetic on pixels alone changes the type.
# Output:    uint8 L PNG: v2 largest 0.988, ToTensor torch.float32 largest 0.988
#            int64 I TIFF: v2 largest 1.17e-07, ToTensor torch.int32 largest 252
#            int32 I TIFF: v2 largest 1.17e-07, ToTensor torch.int32 largest 252
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet datasets==5.2.0 torch==2.14.1 torchvision==0.29.1 \
  pillow==13.0.0 numpy==2.4.6
cd "$place"
HF_HOME="$place/hf" "$place/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import torch
from datasets import Dataset, Features, Image
from torchvision import transforms
from torchvision.transforms import v2

both = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
seen = {}
for kind in ("uint8", "int64", "int32"):
    pixels = (4 * np.arange(64).reshape(8, 8)).astype(kind)
    table = Dataset.from_dict({"image": [pixels]}, features=Features({"image": Image()}))
    image = table[0]["image"]
    new, old = both(image), transforms.ToTensor()(image)
    seen[kind] = (image.mode, new.max().item(), old.dtype, old.max().item())
    print(
        f"{kind} {image.mode} {image.format}: v2 largest {new.max().item():.3g}, "
        f"ToTensor {old.dtype} largest {old.max().item():.3g}"
    )
assert seen["uint8"][0] == "L" and abs(seen["uint8"][1] - 252 / 255) < 1e-6
for kind in ("int64", "int32"):
    mode, largest, dtype, unscaled = seen[kind]
    assert mode == "I" and largest < 2e-7, "v2 scales mode I by another number now"
    assert dtype == torch.int32 and unscaled == 252, "ToTensor treats mode I otherwise now"
PYTHON
