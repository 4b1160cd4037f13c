"""Cross-entropy with label smoothing."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cross_entropy(
    logits: Tensor, labels: Tensor, *, label_smoothing: float | Tensor = 0.0
) -> Tensor:
    """Mean cross-entropy against labels softened by s: the mean of `cross_entropy_per_image`.

    Args:
        logits: class logits, shape (N, K).
        labels: class indices in [0, K), int64, shape (N,).
        label_smoothing: s in [0, 1), dimensionless, a float or a tensor without dimensions.

    Returns:
        The loss in nats, without dimensions.

    Raises:
        ValueError: as `cross_entropy_per_image`.
    """
    _check(logits, labels, label_smoothing)
    hard = functional.cross_entropy(logits, labels)
    if not isinstance(label_smoothing, Tensor) and label_smoothing == 0.0:
        return hard
    # torch's own smoothing takes a float only; a population of trials carries a tensor.
    uniform = -functional.log_softmax(logits, dim=1).mean()
    return (1 - label_smoothing) * hard + label_smoothing * uniform


def cross_entropy_per_image(
    logits: Tensor, labels: Tensor, *, label_smoothing: float | Tensor = 0.0
) -> Tensor:
    """Cross-entropy of each image against its label softened by s.

    (1 - s) * -log p[y] + s * mean_k -log p[k] (Szegedy et al. 2016, arXiv:1512.00567, section
    7); s = 0 is the plain cross-entropy.

    Args:
        logits: class logits, shape (N, K).
        labels: class indices in [0, K), int64, shape (N,).
        label_smoothing: s in [0, 1), dimensionless, a float or a tensor without dimensions.

    Returns:
        The losses in nats, shape (N,).

    Raises:
        ValueError: if the shapes do not fit, there is no row, or ``label_smoothing`` is a float
            outside [0, 1).
    """
    _check(logits, labels, label_smoothing)
    hard = functional.cross_entropy(logits, labels, reduction="none")
    if not isinstance(label_smoothing, Tensor) and label_smoothing == 0.0:
        return hard
    uniform = -functional.log_softmax(logits, dim=1).mean(dim=1)
    return (1 - label_smoothing) * hard + label_smoothing * uniform


def _check(logits: Tensor, labels: Tensor, label_smoothing: float | Tensor) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} must be (N, K) and "
            "(N,) with N >= 1"
        )
    if not isinstance(label_smoothing, Tensor) and not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing: {label_smoothing} must be in [0, 1)")
