"""The sentences that a paper's methods section needs, made from what the study recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis.bases import bases, file_of
from analysis.choice.confirmation import confirmation, confirmation_rule, waiting_text, winner_text
from analysis.choice.frozen import corrected_how, corrected_text, frozen_or_nothing
from analysis.choice.selection import TIE_BREAK
from analysis.numbers import (
    listed,
    metric_label,
    parameter_label,
    percent,
    score_label,
    value_text,
    with_unit,
)
from analysis.plots.search import scheduler_of
from analysis.report.arms import retuned_text
from analysis.results.final_test import load_results, load_seeds, openings
from analysis.statistics.bootstrap import NUM_RESAMPLES
from analysis.statistics.compare import MEAN
from analysis.tables import Records, direction_of
from study.counted import counted
from study.errors import BadInput
from study.scoring.objective import ID_ACCURACY
from study.scoring.path import path_text
from study.searchers.catalog import Searcher, searchers

LEAST_JUDGED = 4  # finished trials before their median stops anyone
_STOPPING = {
    "asha": "Trials were stopped early by asynchronous successive halving (ASHA; Li et al., 2020; "
    "{grace} before the first comparison, one in {factor} going on).",
    "hyperband": "Trials were stopped early by Hyperband (Li et al., 2018): asynchronous "
    "successive halving in brackets of several first rungs, the earliest after {grace}, one in "
    "{factor} going on.",
    "median": "From {grace} on, a trial was stopped where its best objective so far was worse "
    "than the median, at that epoch, of the trials that had finished, once there were "
    f"{LEAST_JUDGED} of them (median rule; Golovin et al., 2017).",
    "none": "No trial was stopped early.",
}


def methods_text(study: Records) -> str:
    """Data, splits, sizes, backbone, recipe, search, selection, correction, confirmation, test.

    Only what the records hold is said; a part that they lack is left out.
    """
    told = (_model, _data, _search, _selection, _correction, _confirmation, _test)
    parts = (*told, _intervals, _software)
    return " ".join(text for part in parts if (text := part(study)))


def _model(study: Records) -> str:
    backbone, recipe = study.section("model").get("backbone"), study.spec.get("recipe")
    if not recipe:
        return ""
    network = f"a {backbone}" if isinstance(backbone, str) else "a network"
    text = f"We trained {network} with the {recipe} recipe"
    base = study.base.get("spec") or {}
    several = len(bases(study))
    if several > 1:
        text += f", each arm starting from one of {several} classifiers made on the same split"
    elif base:
        text += f", starting from {_base(study)}"
        accuracy = study.base.get("val_id_accuracy")
        if accuracy is not None:
            text += f" (validation accuracy {100 * accuracy:.1f} %)"
    elif sources := _initial(study):
        text += f", starting from {sources}"
    train = study.section("train")
    if train.get("epochs"):
        text += f"; each trial ran for up to {counted(train['epochs'], 'epoch')}"
        if train.get("epoch_images"):
            text += f" of {train['epoch_images']:,} images"
    return f"{text}."


def _base(study: Records) -> str:
    """The classifier that trials start from: trained for the study, or a file's."""
    if file := file_of(study, study.base):
        digest = f", SHA-256 {file['sha256'][:12]}" if "sha256" in file else ""
        return (
            f"a classifier that was not trained for this study (file {Path(file['file']).name}"
            f"{digest}), which may have seen the validation images"
        )
    epochs = ((study.base.get("spec") or {}).get("train") or {}).get("epochs")
    trained = f" for {counted(epochs, 'epoch')}" if epochs else ""
    return f"a classifier trained on the same split{trained}"


def _initial(study: Records) -> str:
    """Pretrained weights without a head that trials start from."""
    sources = {str(one.get("source")) for one in (study.manifest.get("initial") or {}).values()}
    return listed(sorted(f"the weights of {Path(one).name}" for one in sources))


def _data(study: Records) -> str:
    data = study.manifest.get("data") or {}
    roles: Mapping[str, Any] = data.get("roles") or {}
    if not roles:
        return ""
    used = ""
    train = roles.get("train") or roles.get("train_id") or {}
    if train.get("num_images") is not None:
        used = f"Training used {train['num_images']:,} ID images"
        outliers = [role for name, role in roles.items() if name.split("/")[0] == "outliers"]
        taken = any("outlier_batch_size" in study.section(key) for key in ("train", "search"))
        if outliers and taken:
            used += f" and {_size(outliers)} of auxiliary outliers"
        used += "; "
    val_id = roles.get("val_id") or {}
    how = _validation_cut(study, train, val_id)
    sets = [
        f"{name.removeprefix('ood_val/')} (n = {_size([role])})"
        for name, role in roles.items()
        if name.startswith("ood_val/")
    ]
    ood = f" and the OOD set{'s' * (len(sets) > 1)} {listed(sets)}" if sets else ""
    demo = "The data were the embedded demo set, not CIFAR-10. " if study.is_demo else ""
    leaks = ""
    if data.get("leak_check"):
        leaks = (
            ". Exact and near-duplicates between all roles, test sets included, were searched for"
        )
    held_out = f"validation used {val_id.get('num_images', 0):,} held-out ID images{how}"
    text = f"{demo}{used}{held_out}{ood}{leaks}{_near(study)}."
    return text[0].upper() + text[1:]


def _near(study: Records) -> str:
    """Which classes of the ID set are no ID classes here; empty where all are."""
    held: Mapping[str, Any] = study.section("data").get("hold_out") or {}
    roles = {"near_val": "validation", "near_test": "test"}
    told = [
        f"{listed(held[name])} for {role} ({name})" for name, role in roles.items() if name in held
    ]
    return f". Classes of the ID set were held out as near-OOD: {'; '.join(told)}" if told else ""


def _validation_cut(study: Records, train: Mapping[str, Any], val_id: Mapping[str, Any]) -> str:
    """How validation ID was cut from the training images; of a set of its own nothing."""
    plan, section = study.manifest["data"].get("plan") or {}, study.section("data")
    if plan.get("val_id"):
        return ""
    share, seed = section.get("val_fraction"), section.get("split_seed")
    if share is None and train.get("num_images"):  # by default it depends on the set
        held_out = int(val_id.get("num_images", 0))
        share = held_out / (held_out + int(train["num_images"]))
    cut = [f"a stratified {100 * share:.2g} % of the training set"] if share else []
    cut += [] if seed is None else [f"split seed {seed}"]
    return f" ({', '.join(cut)})" if cut else ""


def _size(roles: list[Any]) -> str:
    images = sum(role.get("num_images", 0) for role in roles)
    groups = sum(role.get("num_groups", role.get("num_images", 0)) for role in roles)
    return counted(images, "image") + (
        f" from {counted(groups, 'source')}" if groups != images else ""
    )


def _search(study: Records) -> str:
    ablate = study.section("ablate")
    if not ablate:
        return search_text(study)
    ended = listed(study.counts_told()) or "none"
    seeds = listed([str(one) for one in ablate.get("seeds") or ["?"]])
    arms = study.trials["arm"].nunique() if "arm" in study.trials.columns else 0
    stopped = stopping_text(study) if scheduler_of(study) != "none" else ""
    said = (retuned_text(study), stopped, _early_stop(study))
    return (
        f"The ablation ({study.design.replace('_', '-')}) had {arms} arms, each at the seeds "
        f"{seeds} ({counted(len(study.trials), 'trial')}: {ended}); failed trials were counted, "
        "not replaced. "
        f"{' '.join(text for text in said if text)}"
    ).rstrip()


def _early_stop(study: Records) -> str:
    """The sequential rule of the ablation, where it has one."""
    rule = study.section("ablate").get("stop")
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
    metric = metric_label(study.metric, "", short=True)
    extreme = "lowest" if direction_of(study.metric) == "min" else "highest"
    over = floor = each = ""
    if study.metric.count("/") == 1 and study.metric != ID_ACCURACY and len(study.trials):
        label = score_label(study.own_score)
        label = label if label.isupper() else label.lower()  # MSP stays as it is
        over = f" ({label} score, mean over the OOD validation sets)"
    if study.floor and study.floor.value > 0:
        how = f" ({study.floor.how})" if study.floor.how else ""
        least = f"{study.floor.value:.4f}{how}"
        floor = f" among those with a validation ID accuracy of at least {least}"
        if study.floor.confidence is not None:
            floor += f", {study.floor.sure} (normal approximation, by source{_paired(study)})"
    what = f"finished trial with the {extreme} validation {metric}"
    if study.section("ablate"):
        what, each = f"arm with the {extreme} mean validation {metric} over its seeds", " trial"
    last = study.checkpoint_rule == "last"
    epoch = "its last epoch" if last else "its best epoch by the same rule"
    if study.has_path:
        select = study.section("select")
        scored = path_text(select.get("path") or (), int(select.get("path_halvings", 0)))
        epoch += (
            f" and, by the same rule, at its best place there on the line of weights from the "
            f"base (alpha 0) to the trained ones (alpha 1), scored at both ends, at {scored} "
            f"(Wortsman et al., 2022)"
        )
    return (
        f"We selected the {what}{over}{floor}, each{each} at {epoch}, "
        f"ties by {metric_label(TIE_BREAK, '')}; test sets played no part."
    )


def _paired(study: Records) -> str:
    reference = study.floor.reference if study.floor else ""
    return ", paired with the base" if reference == "base" else ""


def _correction(study: Records) -> str:
    """Of the frozen choice; without one there is no number to correct."""
    frozen = frozen_or_nothing(study)
    how, holds = corrected_how(frozen), frozen.get("floor_holds")
    held = f"Its floor holds with a probability of {with_unit(holds)}. " if holds else ""
    return f"{held}{corrected_text(frozen)}. {how}" if how else held.strip()


def _confirmation(study: Records) -> str:
    found = confirmation(study)
    if found is None:
        return waiting_text(study)
    text, winner = confirmation_rule(study, found), found.winner
    if winner is None:
        return f"{text} None of the candidates passed."
    interval = ""
    if winner.interval:
        low, high = winner.interval
        interval = f" (95 % t-interval over seeds {percent(low)} to {with_unit(high)})"
    return (
        f"{text} Over its fresh seeds the winner had a mean {metric_label(study.metric, '')} of "
        f"{with_unit(winner.mean)}{interval}, against {with_unit(winner.discovery)} in the "
        f"search. {winner_text(found)}"
    )


def _test(study: Records) -> str:
    table = load_results(study.folder)
    if not study.has_ood_test:
        return "The study has no OOD test set."
    if table is None or table.empty:
        return "The test sets have not been opened."
    sets = table[table["dataset"] != MEAN].drop_duplicates("dataset")
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
        f"OOD set{'s' * (len(names) > 1)} {listed(names)}{_over_seeds(study)}."
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
    if study.section("ablate"):
        return (
            "Effects are paired differences over the shared seeds with 95 % t-intervals below 10 "
            "seeds and bootstrap intervals from 10 on, exact sign-flip p values, and Holm's "
            "correction."
        )
    return (
        f"Intervals are 95 % bootstrap intervals ({NUM_RESAMPLES:,} resamples) over images, by "
        "source where a set has several crops of one image, ID and OOD apart, of Student's t by "
        "the number of sources (AUROC and AUPR on the logit scale). FPR95 is the share "
        "of OOD images accepted at 95 % ID recall."
    )


def _software(study: Records) -> str:
    found, git = study.manifest.get("versions") or {}, study.manifest.get("git") or {}
    known = {"torch": "PyTorch", "ray": "Ray", "optuna": "Optuna"}
    names = [f"{label} {found[key]}" for key, label in known.items() if found.get(key)]
    at = f"; code at commit {str(git['commit'])[:10]}" if git.get("commit") else ""
    dirty = " with local changes" if git.get("dirty") else ""
    return f"Software: {listed(names)}{at}{dirty}." if names else ""


def search_text(study: Records) -> str:
    """How parameters were searched, or empty where none were."""
    if not study.searched:
        return ""
    tune = study.section("tune")
    searcher, warm = _searcher(study), _warm(study)
    how = f"the searcher {tune.get('searcher')}"
    if searcher:
        values = {name: tune.get(name, one.default) for name, one in searcher.parameters.items()}
        how = searcher.text.format(**values)
        if searcher.startup and not warm:  # another study's trials have ended
            how += f", {searcher.startup}"
    seeded = "" if tune.get("seed") is None else f", seed {tune['seed']}"
    by = "" if searcher and searcher.points else f" (Optuna{seeded})"
    trials = f"{len(study.trials)} trials" if len(study.trials) != 1 else "one trial"
    names, ended = listed(_searched_names(study)), listed(study.counts_told()) or "none"
    first = f"We searched {names} in {trials} ({ended}) by {how}{by}."
    parts = (first, _randomly(study, searcher), _objective(study), stopping_text(study))
    return " ".join(part for part in (*parts, warm, _seeds(study)) if part)


def _searcher(study: Records) -> Searcher | None:
    """What the searcher declares; None where nobody declares it any more."""
    return searchers().get(str(study.section("tune").get("searcher")))


def _searched_names(study: Records) -> list[str]:
    """Each parameter, with the condition under which it exists."""
    names = []
    for column in study.searched:
        name = parameter_label(column)
        when = study.domain(column).get("when")
        if isinstance(when, Mapping):
            of = listed([f"{key} is {' or '.join(_values(value))}" for key, value in when.items()])
            name += f" (where {of})"
        names.append(name)
    return names


def _values(value: Any) -> list[str]:
    return [value_text(one) for one in (value if isinstance(value, list) else [value])]


def _randomly(study: Records, searcher: Searcher | None) -> str:
    """What a searcher leaves to chance."""
    if searcher is None or not searcher.learns:
        return ""
    left = [
        parameter_label(column)
        for column in study.searched
        if ("when" in study.domain(column) and not searcher.conditional)
        or (study.has_domain(column, "choice") and not searcher.choices)
    ]
    return f"It does not model {listed(left)}, drawn at random." if left else ""


def _objective(study: Records) -> str:
    tune = study.section("tune")
    if several := tune.get("objectives"):
        told = [f"{_named(one)} ({_aim(one)})" for one in several]
        return f"The searcher followed {len(told)} objectives at once: {listed(told)}."
    if (searcher := _searcher(study)) and not searcher.learns:
        return ""
    under = f"; {_under_floor(study)}" if study.floor else ""
    return f"The searcher {_aim(study.metric)} {_named(study.metric)}{under}."


def _under_floor(study: Records) -> str:
    """What the objective is under the floor, as a clause."""
    penalty = study.section("select").get("penalty")
    if penalty is None:
        return "under the floor the objective was one plus the shortfall"
    return f"under the floor each point of shortfall cost {penalty:g}"


def objective_text(study: Records) -> str:
    """What val/objective is, as a phrase."""
    under = f", {_under_floor(study)}" if study.floor else ""
    return f"the selection metric as a cost{under}"


def _named(metric: str) -> str:
    return f"validation {metric_label(metric, '', short=True)}"


def _aim(metric: str) -> str:
    try:
        return "minimised" if direction_of(metric) == "min" else "maximised"
    except BadInput:
        return "followed"


def stopping_text(study: Records) -> str:
    """Who stopped trials early, by which rule."""
    tune = study.section("tune")
    scheduler = scheduler_of(study)
    text = _STOPPING.get(scheduler, f"Trials were stopped early by {scheduler}.")
    grace = counted(int(tune.get("grace_epochs") or 1), "epoch")
    if scheduler == "median":
        grace = f"epoch {int(tune.get('grace_epochs') or 1)}"
    text = text.format(grace=grace, factor=tune.get("reduction_factor", 3))
    return " ".join([text, *_promoted(study)])


def _promoted(study: Records) -> Iterator[str]:
    """What became of trials that a rung had stopped; nothing in studies that promoted nobody."""
    whys = [event["why"] for event in study.events("promoted")]
    if by_rung := whys.count("rung"):
        yield (
            "A stopped trial kept its state and went on when it came to be among the best of its "
            f"rung, which happened {_times(by_rung)}."
        )
    if to_finish := whys.count("finish"):
        yield (
            "Once all trials were begun, the best of those that were stopped went on to their end "
            f"({_times(to_finish)}), for {study.section('tune').get('finish')} to finish above "
            "the floor."
        )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _warm(study: Records) -> str:
    told = study.manifest.get("warm_start") or {}
    if not told:
        return ""
    name = str(told.get("source", "")).rstrip("/").rsplit("/", 1)[-1] or "another study"
    text = f"The searcher was told {told.get('num_trials', 0)} finished trials of the study {name}"
    if told.get("left_out"):
        text += f" ({told['left_out']} more lay outside this space)"
    if told.get("fixed_otherwise"):
        text += f", which differed in {'; '.join(map(str, told['fixed_otherwise']))}"
    return f"{text}; they are not among the trials here."


def _seeds(study: Records) -> str:
    if "seed" not in study.trials.columns or len(study.trials) < 2:
        return ""
    seeds = study.trials["seed"].dropna().unique()
    if len(seeds) != 1:
        return ""
    return f"All trials shared the training seed {seeds[0]}, so they differ by their parameters."
