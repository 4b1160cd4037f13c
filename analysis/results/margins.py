"""Margins of the energy loss beside the energies that were measured and what they gave."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.bases import bases
from analysis.choice.selection import scores_at
from analysis.tables import BASE, Records, alphas_of
from study.errors import BadInput, Fault
from study.records.files import VAL_ID
from study.records.scores import SetScores
from study.scoring.objective import ID_ACCURACY

ENERGY = "energy"  # the score

_ENERGIES = ("id_energy_mean", "id_energy_sd", "outlier_energy_mean", "outlier_energy_sd")


def measured_energies(study: Records) -> pd.DataFrame:
    """Energies of the base before any fine-tuning.

    Returns:
        images ("validation ID", "outliers"), mean and sd of the energy (nats; lower = more ID);
        where arms start from several bases, the base too, and two rows each.

    Raises:
        BadInput: if the study measured none.
    """
    told = bases(study) or {BASE: {}}
    missing = [key for key in _ENERGIES if any(one.get(key) is None for one in told.values())]
    if missing:
        rule = f"the manifest has no {', '.join(missing)}: no base was measured in this study"
        way = "Margins are told for studies of the energy recipe over a base."
        raise BadInput(Fault(str(study.folder.manifest), "base", rule, way))
    rows = [
        (name, images, float(base[mean]), float(base[sd]))
        for name, base in told.items()
        for images, mean, sd in (("validation ID", *_ENERGIES[:2]), ("outliers", *_ENERGIES[2:]))
    ]
    table = pd.DataFrame(rows, columns=["base", "images", "mean", "sd"])
    return table.drop(columns=[] if len(told) > 1 else ["base"])


def margin_table(study: Records) -> pd.DataFrame:
    """The margins of every trial and what came out.

    Returns:
        trial_id, status, m_in and m_out (nats, resolved), m_in_sd and m_out_sd (standard
        deviations of the base's energies, missing where the margin was absolute), the study's
        metric and val/id_accuracy (fractions).

    Raises:
        BadInput: if the trials have no margins.
    """
    trials = study.trials
    columns = {"trial_id": trials["trial_id"], "status": trials["status"]}
    for margin in ("m_in", "m_out"):
        forms = (f"param/train.{margin}.value", f"param/train.{margin}")
        column = next((form for form in forms if form in trials.columns), None)
        if column is None:
            rule = "the trials of this study have no margins"
            raise BadInput(Fault(str(study.folder.trials), f"param/train.{margin}", rule))
        columns[margin] = pd.to_numeric(trials[column], errors="coerce")
        columns[f"{margin}_sd"] = trials.get(
            f"param/train.{margin}.sd", pd.Series(float("nan"), index=trials.index)
        )
    for metric in (study.metric, ID_ACCURACY):
        if metric in trials.columns:
            columns[metric] = trials[metric]
    return pd.DataFrame(columns)


def reached_energies(study: Records) -> pd.DataFrame:
    """What each finished trial's margins asked for, and the energies that it reached.

    Returns:
        trial_id; m_in and m_out (nats); id_energy and ood_energy, means over the validation ID
        images and over the images of all OOD validation sets at the checkpoint (nats; lower =
        more ID); id_above, the share of ID images above m_in; ood_below, the share of OOD images
        below m_out (both are what the loss still punishes, up to the outliers being others than
        the OOD validation images).

    Raises:
        BadInput: if the trials have no margins, or no finished trial kept its energies.
    """
    rows = []
    table = margin_table(study).set_index("trial_id")[["m_in", "m_out"]]
    finished = study.trials[study.trials["status"] == "finished"]
    places = (finished["trial_id"], finished["checkpoint_epoch"], alphas_of(finished))
    for trial_id, epoch, alpha in zip(*places, strict=True):
        if not study.has_scores(trial_id):
            continue
        sets = scores_at(study, trial_id, int(epoch), alpha)
        if ENERGY not in sets[VAL_ID].scores:
            continue
        inside, outside = energies_of(sets)
        wanted = table.loc[trial_id]
        rows.append(
            {
                "trial_id": trial_id,
                **wanted,
                "id_energy": float(inside.mean()),
                "ood_energy": float(outside.mean()),
                "id_above": float((inside > wanted["m_in"]).mean()),
                "ood_below": float((outside < wanted["m_out"]).mean()),
            }
        )
    if not rows:
        rule = "no finished trial kept the energies of its validation images"
        raise BadInput(Fault(str(study.folder.scores), ENERGY, rule))
    return pd.DataFrame(rows)


def energies_of(sets: Mapping[str, SetScores]) -> tuple[np.ndarray, np.ndarray]:
    """Energies of validation ID and of all OOD validation images, of one epoch."""
    outside = [one.scores[ENERGY][0] for name, one in sets.items() if name != VAL_ID]
    return sets[VAL_ID].scores[ENERGY][0], np.concatenate(outside)
