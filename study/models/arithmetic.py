"""What decides the last bits of what a network computes, beside its code and its numbers."""

from __future__ import annotations

import torch


def arithmetic_of(device: torch.device) -> list[str]:
    """What two computations on such a device must share to give the same bits.

    The kernels: torch's version, and the GPU's name, or of a CPU its instructions and the number
    of threads, among which sums are split.
    """
    if device.type == "cuda":
        return [torch.__version__, torch.cuda.get_device_name(device), str(torch.version.cuda)]
    capability = torch.backends.cpu.get_cpu_capability()
    return [torch.__version__, device.type, capability, f"{torch.get_num_threads()} threads"]
