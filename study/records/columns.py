"""The order in which people read a table of trials."""

from __future__ import annotations

from collections.abc import Collection, Sequence

SEARCHED = "searched"
"""Key of a table's ``attrs``: columns of the parameters that vary, in the space's order."""
_FIRST = ("trial_id", "status", "reason")
_NUMBERS = ("val/id_accuracy", "val/fpr95")
_THEN = (
    "val/auroc", "val/objective", "val/floor_holds", "val/floor_shortfall", "epochs",
    "checkpoint_epoch", "val/alpha",
)  # fmt: skip
_LATER = ("time_s", "seed", "arm", "cause", "lost", "retried", "confirms", "tunes")


def in_reading_order(
    columns: Collection[str], searched: Sequence[str], metric: str, *, arms: bool
) -> list[str]:
    """Columns of a table of trials: which, how it ended and why, how good, with what.

    Args:
        columns: of the table.
        searched: columns ``param/...`` of the parameters that vary.
        metric: what the study selects by.
        arms: whether trials are of an ablation, told apart by arm and seed.
    """
    first = [_FIRST[0], *(("arm", "seed") if arms else ()), *_FIRST[1:]]
    wanted = [*first, *_NUMBERS, metric, *_THEN, *searched, *_LATER]
    known = [name for name in dict.fromkeys(wanted) if name in columns]
    rest = [name for name in columns if name not in known]
    metrics = [name for name in rest if not name.startswith("param/")]
    # What was fixed says least of a trial.
    return [*known, *metrics, *(name for name in rest if name not in metrics)]
