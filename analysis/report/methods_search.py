"""Sentences of a methods section about the search: who proposed, who stopped, what was known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.numbers import metric_label, parameter_label, value_text
from analysis.plots.search import scheduler_of
from analysis.tables import Records, direction_of
from study.errors import BadInput

STARTUP = 8  # ended trials before TPE or GP model anything
LEAST_JUDGED = 4  # finished trials before their median stops anyone
_LEARNING = ("gp", "cmaes", "nsga2")
_SEARCHERS = {
    "tpe": f"a tree-structured Parzen estimator (TPE; Bergstra et al., 2011), random until "
    f"{STARTUP} trials had ended",
    "random": "random search",
    "grid": "grid search",
    "gp": f"Bayesian optimisation with a Gaussian process, random until {STARTUP} trials had "
    "finished",
    "cmaes": "the covariance matrix adaptation evolution strategy (CMA-ES; Hansen, 2016)",
    "nsga2": "the genetic algorithm NSGA-II (Deb et al., 2002; population {population})",
}
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


def search_text(study: Records) -> str:
    """How parameters were searched, or empty where none were."""
    if not study.searched:
        return ""
    tune: Mapping[str, Any] = study.spec.get("tune") or {}
    searcher = str(tune.get("searcher"))
    how = _SEARCHERS.get(searcher, f"the searcher {searcher}")
    how = how.format(population=tune.get("population", 16))
    if tune.get("searcher") in ("tpe", "gp") and _warm(study):
        how = how.partition(", random until")[0]  # another study's trials count as ended
    seed = tune.get("seed")
    seeded = f", seed {seed}" if seed is not None else ""
    by = "" if searcher == "grid" else f" (Optuna{seeded})"
    counts = study.status_counts()
    ended = joined([f"{count} {status}" for status, count in counts.items()]) or "none"
    names = joined(_searched_names(study))
    trials = f"{len(study.trials)} trials" if len(study.trials) != 1 else "one trial"
    first = f"We searched {names} in {trials} ({ended}) by {how}{by}."
    parts = (first, _randomly(study, searcher), _objective(study), stopping_text(study))
    return " ".join(part for part in (*parts, _warm(study), _seeds(study)) if part)


def joined(words: list[str]) -> str:
    """Words as a list in a sentence."""
    return (
        " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part) if words else ""
    )


def epochs_text(count: Any) -> str:
    """A number of epochs."""
    return "1 epoch" if count == 1 else f"{count} epochs"


def _searched_names(study: Records) -> list[str]:
    """Each parameter, with the condition under which it exists."""
    names = []
    for column in study.searched:
        name = parameter_label(column)
        when = _domain(study, column).get("when")
        if isinstance(when, Mapping):
            of = joined([f"{key} is {' or '.join(_values(value))}" for key, value in when.items()])
            name += f" (where {of})"
        names.append(name)
    return names


def _values(value: Any) -> list[str]:
    return [value_text(one) for one in (value if isinstance(value, list) else [value])]


def _domain(study: Records, column: str) -> Mapping[str, Any]:
    name = column.removeprefix("param/")
    for key, domain in (study.spec.get("search") or {}).items():
        stem = key if "." in key else f"train.{key}"
        if name == stem or name.startswith(f"{stem}."):
            return domain if isinstance(domain, Mapping) else {}
    return {}


def _randomly(study: Records, searcher: str) -> str:
    """What a searcher leaves to chance."""
    if searcher not in _LEARNING:
        return ""
    domains = {column: _domain(study, column) for column in study.searched}
    left = [
        parameter_label(column)
        for column, domain in domains.items()
        if "when" in domain or (searcher == "cmaes" and "choice" in str(domain))
    ]
    return f"It does not model {joined(left)}, drawn at random." if left else ""


def _objective(study: Records) -> str:
    several = (study.spec.get("tune") or {}).get("objectives")
    if several:
        told = [f"{_named(one)} ({_aim(one)})" for one in several]
        return f"The searcher followed {len(told)} objectives at once: {joined(told)}."
    aim = _named(study.metric)
    aim = f"{'minimised' if _aim(study.metric) == 'minimised' else 'maximised'} {aim}"
    under = "; a trial under the floor counted as one plus its shortfall" if study.floor else ""
    searcher = str((study.spec.get("tune") or {}).get("searcher"))
    return "" if searcher in ("random", "grid") else f"The searcher {aim}{under}."


def _named(metric: str) -> str:
    return f"validation {metric_label(metric, '')}".replace(", ID positive", "")


def _aim(metric: str) -> str:
    try:
        return "minimised" if direction_of(metric) == "min" else "maximised"
    except BadInput:
        return "followed"


def stopping_text(study: Records) -> str:
    """Who stopped trials early, by which rule."""
    tune: Mapping[str, Any] = study.spec.get("tune") or {}
    scheduler = scheduler_of(study)
    text = _STOPPING.get(scheduler, f"Trials were stopped early by {scheduler}.")
    grace = epochs_text(int(tune.get("grace_epochs") or 1))
    if scheduler == "median":
        grace = f"epoch {int(tune.get('grace_epochs') or 1)}"
    return text.format(grace=grace, factor=tune.get("reduction_factor", 3))


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
