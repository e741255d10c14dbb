"""What PyTorch can compute on."""

from __future__ import annotations

import torch


def gpu_names() -> list[str]:
    """The GPUs that PyTorch sees."""
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
