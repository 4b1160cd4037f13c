"""The sentences that a paper's methods section needs, made from what the study recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.bases import bases
from analysis.choice.confirmation import confirmation, confirmation_rule
from analysis.choice.frozen import corrected_how, corrected_text
from analysis.choice.selection import ID_ACCURACY, TIE_BREAK
from analysis.numbers import metric_label, number, score_label, with_percent
from analysis.plots.search import scheduler_of
from analysis.report.methods_search import epochs_text, joined, search_text, stopping_text
from analysis.report.retuned import retuned_text
from analysis.report.views import waiting_text
from analysis.results.final_test import load_results, load_seeds, openings
from analysis.statistics.bootstrap import NUM_RESAMPLES
from analysis.tables import Records, direction_of
from study.errors import BadInput
from study.records.frozen import read_frozen


def methods_text(study: Records) -> str:
    """Data, splits, sizes, backbone, recipe, search, selection, correction, confirmation, test.

    Only what the records hold is said; a part that they lack is left out.
    """
    told = (_model, _data, _search, _selection, _correction, _confirmation, _test)
    parts = (*told, _intervals, _software)
    return " ".join(text for part in parts if (text := part(study)))


def _model(study: Records) -> str:
    model = study.spec.get("model") or {}
    backbone, recipe = model.get("backbone"), study.spec.get("recipe")
    if not recipe:
        return ""
    text = f"We trained {_network(backbone)} with the {recipe} recipe"
    base = study.base.get("spec") or {}
    several = len(bases(study))
    if several > 1:
        text += f", each arm starting from one of {several} classifiers made on the same split"
    elif base:
        epochs = (base.get("train") or {}).get("epochs")
        told = f" for {epochs_text(epochs)}" if epochs else ""
        text += f", starting from a classifier trained on the same split{told}"
        accuracy = study.base.get("val_id_accuracy")
        if accuracy is not None:
            text += f" (validation accuracy {100 * accuracy:.1f} %)"
    train = study.spec.get("train") or {}
    if train.get("epochs"):
        text += f"; each trial ran for up to {epochs_text(train['epochs'])}"
        if train.get("epoch_images"):
            text += f" of {train['epoch_images']:,} images"
    return f"{text}."


def _network(backbone: Any) -> str:
    return f"a {backbone}" if isinstance(backbone, str) else "a network"


def _data(study: Records) -> str:
    data = study.manifest.get("data") or {}
    roles: Mapping[str, Any] = data.get("roles") or {}
    if not roles:
        return ""
    train = roles.get("train") or roles.get("train_id") or {}
    split = study.spec.get("data") or {}
    text = ""
    if study.is_demo:
        text = "The data were the embedded demo set, not CIFAR-10. "
    if train.get("num_images") is not None:
        text += f"Training used {train['num_images']:,} ID images"
        outliers = [r for name, r in roles.items() if name.split("/")[0] == "outliers"]
        if outliers and _takes_outliers(study):
            text += f" and {_size(outliers)} of auxiliary outliers"
        text += "; "
    val_id = roles.get("val_id") or {}
    fraction = split.get("val_fraction")
    cut = f"a stratified {100 * fraction:.3g} % of the training set, " if fraction else ""
    seed = split.get("split_seed")
    drawn = f", split seed {seed}" if seed is not None else ""
    text += f"validation used {val_id.get('num_images', 0):,} held-out ID images ({cut}"
    text = f"{(text + drawn.removeprefix(', ')).rstrip(', ')})" if cut or drawn else text[:-2]
    sets = [
        f"{name.removeprefix('ood_val/')} (n = {_size([role])})"
        for name, role in roles.items()
        if name.startswith("ood_val/")
    ]
    text += f" and the OOD set{'s' * (len(sets) > 1)} {joined(sets)}" if sets else ""
    if data.get("leak_check"):
        text += (
            ". Exact and near-duplicates between all roles, test sets included, were searched for"
        )
    return f"{text[0].upper()}{text[1:]}."


def _takes_outliers(study: Records) -> bool:
    """Whether the recipe trains on the outliers that the study has."""
    return any("outlier_batch_size" in (study.spec.get(key) or {}) for key in ("train", "search"))


def _size(roles: list[Any]) -> str:
    images = sum(role.get("num_images", 0) for role in roles)
    groups = sum(role.get("num_groups", role.get("num_images", 0)) for role in roles)
    return f"{images:,} images" + (f" from {groups:,} sources" if groups != images else "")


def _search(study: Records) -> str:
    ablate = study.spec.get("ablate")
    if not ablate:
        return search_text(study)
    counts = study.status_counts()
    ended = joined([f"{count} {status}" for status, count in counts.items()]) or "none"
    design = str(ablate.get("design", "")).replace("_", "-")
    seeds = joined([str(one) for one in ablate.get("seeds") or ["?"]])
    arms = study.trials["arm"].nunique() if "arm" in study.trials.columns else 0
    stopped = stopping_text(study) if scheduler_of(study) != "none" else ""
    said = (retuned_text(study), stopped, _early_stop(study))
    return (
        f"The ablation ({design}) had {arms} arms, each at the seeds {seeds} "
        f"({len(study.trials)} trials: {ended}); failed trials were counted, not replaced. "
        f"{' '.join(text for text in said if text)}"
    ).rstrip()


def _early_stop(study: Records) -> str:
    """The sequential rule of the ablation, where it has one."""
    rule = (study.spec.get("ablate") or {}).get("stop")
    if not rule:
        return ""
    num = study.status_counts().get("stopped", 0)
    return (
        f"From {rule['min_seeds']} seeds on, an arm ended early where the one-sided t-bound of "
        f"its mean paired difference to the baseline (level {rule['alpha']:g}, divided by the "
        f"number of looks) was worse by more than {rule['margin']:g}; "
        f"{num} {'trial was' if num == 1 else 'trials were'} not run for that."
    )


def _selection(study: Records) -> str:
    metric = metric_label(study.metric, "").replace(", ID positive", "")
    extreme = "lowest" if direction_of(study.metric) == "min" else "highest"
    over = ""
    if study.metric.count("/") == 1 and study.metric != ID_ACCURACY and len(study.trials):
        over = (
            f" ({_lower(score_label(study.own_score))} score, mean over the OOD validation sets)"
        )
    floor = ""
    if study.floor and study.floor.value > 0:
        how = f" ({study.floor.how})" if study.floor.how else ""
        least = f"{study.floor.value:.4f}{how}"
        floor = f" among those with a validation ID accuracy of at least {least}"
    epoch = (
        "each at its last epoch"
        if study.checkpoint_rule == "last"
        else "each at its best epoch by the same rule"
    )
    what = f"finished trial with the {extreme} validation {metric}"
    if study.spec.get("ablate"):
        what = f"arm with the {extreme} mean validation {metric} over its seeds"
        epoch = epoch.replace("each", "each trial")
    return (
        f"We selected the {what}{over}{floor}, "
        f"{epoch}, ties by {metric_label(TIE_BREAK, '')}; test sets played no part."
    )


def _correction(study: Records) -> str:
    """Of the frozen choice; without one there is no number to correct."""
    frozen = _frozen(study)
    if not corrected_how(frozen):
        return ""
    return f"{corrected_text(frozen, str(frozen.get('metric') or study.metric))}. " + (
        corrected_how(frozen)
    )


def _frozen(study: Records) -> Mapping[str, Any]:
    try:
        return read_frozen(study.folder.path)
    except BadInput:
        return {}


def _confirmation(study: Records) -> str:
    found = confirmation(study)
    if found is None:
        return waiting_text(study)
    text = confirmation_rule(study, found)
    winner = found.winner
    if winner is None:
        return f"{text} None of the candidates passed."
    form = number if study.metric.endswith("objective") else with_percent
    interval = ""
    if winner.interval:
        low, high = (form(end) for end in winner.interval)
        interval = f" (95 % t-interval over seeds {low.removesuffix(' %')} to {high})"
    return (
        f"{text} Over its fresh seeds the winner had a mean {metric_label(study.metric, '')} of "
        f"{form(winner.mean)}{interval}, against {form(winner.discovery)} in the search."
    )


def _lower(label: str) -> str:
    """A label inside a sentence; abbreviations such as MSP stay as they are."""
    return label if label.isupper() else label.lower()


def _test(study: Records) -> str:
    table = load_results(study.folder)
    if table is None or table.empty:
        return "The test sets have not been opened."
    sets = table[table["dataset"] != "mean"].drop_duplicates("dataset")
    names = [
        f"{row['dataset']} (n = "
        + _size([{"num_images": row["n_ood"], "num_groups": row["num_ood_groups"]}])
        + ")"
        for _, row in sets.iterrows()
    ]
    times = len(openings(study))
    told = {0: "at a time that the ledger lacks", 1: "once"}.get(times, f"{times} times")
    return (
        f"The frozen choice was tested {told} on {table['n_id'].iloc[0]:,} ID test images and the "
        f"OOD set{'s' * (len(names) > 1)} {joined(names)}{_over_seeds(study)}."
    )


def _over_seeds(study: Records) -> str:
    seeds = load_seeds(study.folder)
    if seeds is None:
        return ""
    return (
        f"; its numbers are means over {seeds['trial_id'].nunique()} fresh seeds, with intervals "
        "over images and seeds"
    )


def _intervals(study: Records) -> str:
    if study.spec.get("ablate"):
        return (
            "Effects are paired differences over the shared seeds with 95 % t-intervals below 10 "
            "seeds and bootstrap intervals from 10 on, exact sign-flip p values, and Holm's "
            "correction."
        )
    return (
        f"Intervals are 95 % percentile bootstraps ({NUM_RESAMPLES:,} resamples) over images, by "
        "source where a set has several crops of one image, ID and OOD apart. FPR95 is the share "
        "of OOD images accepted at 95 % ID recall."
    )


def _software(study: Records) -> str:
    found = study.manifest.get("versions") or {}
    known = {"torch": "PyTorch", "ray": "Ray", "optuna": "Optuna"}
    names = [f"{label} {found[key]}" for key, label in known.items() if found.get(key)]
    commit = (study.manifest.get("git") or {}).get("commit")
    at = f"; code at commit {str(commit)[:10]}" if commit else ""
    dirty = " with local changes" if (study.manifest.get("git") or {}).get("dirty") else ""
    return f"Software: {joined(names)}{at}{dirty}." if names else ""
