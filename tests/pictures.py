"""Random images that behave like photographs for whoever compares them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def photographs(num: int, seed: int = 0, size: int = 32) -> npt.NDArray[np.uint8]:
    """Images (num, size, size, 3) with a photograph's 1/f spectrum and correlated colours."""
    generator = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    frequency[0, 0] = np.inf
    noise = np.fft.fft2(generator.normal(size=(num, 4, size, size)))
    planes = np.fft.ifft2(noise / frequency).real
    planes /= planes.std(axis=(2, 3), keepdims=True)
    rgb = planes[:, :3] * 0.4 + planes[:, 3:]
    return np.clip(128 + 50 * rgb, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1).copy()
