"""Named random streams: every draw is a pure function of (seed, name, epoch ...).

Nothing in the project draws from a global generator. A stream is named after what it decides
("order", "outliers", "augment", "init", "split" ...), so that changing one leaves the others as
they were, and a run that resumes at epoch 7 needs no generator state: it asks for the streams of
epoch 7.
"""

from __future__ import annotations

import hashlib

import numpy as np


def seed_of(seed: int, *names: str | int) -> int:
    """The seed of the stream ``names`` under ``seed``.

    Args:
        seed: the study's or the trial's seed, any non-negative integer.
        names: what the stream decides, and where in the run ("order", epoch).

    Returns:
        A non-negative integer below 2**63, the same on every machine and Python version.
    """
    text = "/".join([str(int(seed)), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """NumPy generator of the stream ``names`` under ``seed``."""
    return np.random.Generator(np.random.PCG64(seed_of(seed, *names)))
