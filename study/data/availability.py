"""What ``--data auto`` asks of the machine before it downloads anything."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

PROBE_TIMEOUT_S = 5.0


def has_gpu() -> bool:
    """Whether torch sees a CUDA device."""
    import torch  # seconds to import, and only asked where CIFAR-10 is not on disk

    return bool(torch.cuda.is_available())


def answers(url: str, timeout_s: float = PROBE_TIMEOUT_S) -> bool:
    """Whether ``url`` answers a HEAD request within ``timeout_s`` seconds, all in all."""
    reached = threading.Event()

    def probe() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s):
                reached.set()
        except (OSError, ValueError):
            pass  # no answer is an answer

    # a thread of its own: a name look-up that hangs does not heed the socket's timeout
    threading.Thread(target=probe, daemon=True).start()
    return reached.wait(timeout_s)
