"""Outlier Exposure (Hendrycks, Mazeika and Dietterich, ICLR 2019, arXiv:1812.04606)."""

from __future__ import annotations

from torch import Tensor

from study.losses.groups import at_least_float32, split_groups


def uniform_cross_entropy(logits: Tensor) -> Tensor:
    """Cross-entropy from the uniform distribution to each prediction.

    logsumexp(f(x)) - mean_k f_k(x), which is mean_k -log p_k(x): at least log K, and that only
    where all classes are equally probable.

    Args:
        logits: class logits, shape (N, K). Half precision is raised to float32 first.

    Returns:
        In nats, shape (N,), on the device of ``logits``.

    Raises:
        ValueError: if ``logits`` is not 2-D.
    """
    if logits.ndim != 2:
        raise ValueError(f"logits: shape {tuple(logits.shape)}, must be (N, K)")
    logits = at_least_float32(logits)
    return logits.logsumexp(dim=1) - logits.mean(dim=1)


def outlier_exposure_loss(logits: Tensor, num_id: int) -> Tensor:
    """Mean over the outliers of the cross-entropy to the uniform distribution.

    mean_OUT [ logsumexp(f(x)) - mean_k f_k(x) ]: Eq. 1 of the paper with the L_OE of its
    classification experiments (section 4.3). The whole objective is CE(ID) + oe_weight * this
    term, oe_weight being the paper's lambda, 0.5 there. The mean is over the outliers, as in the
    paper; pytorch-ood 0.4 divides the sums of both groups by the joint batch.

    Args:
        logits: class logits of one forward over both groups, shape (B, K), the first ``num_id``
            rows ID, the rest outliers.
        num_id: number of ID rows, 1 <= num_id < B.

    Returns:
        The term in nats, without dimensions, not yet weighted; at least log K.

    Raises:
        ValueError: if one of the groups is empty, or ``logits`` is not 2-D.
    """
    _, outliers = split_groups(logits, num_id)
    return uniform_cross_entropy(outliers).mean()
