"""What an initialisation was trained on, as declared, against the sets of a study."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from study.data.plan import DataPlan
from study.data.roles import StudyData
from study.space.study_spec import StudySpec


def declared(sources: Sequence[str], plan: DataPlan, data: StudyData) -> dict[str, Any]:
    """What the manifest says of ``model.pretrained_on``.

    Args:
        sources: as declared: sources such as ``imagenet``, names of sets, or roles.
        plan: knows the test sets by name.
        data: the roles that the study sees.

    Returns:
        ``declared``: the sources. ``overlaps``: role -> those of them that the role's set is
        from, as far as names and paths tell; a source that no set names marks nothing.
    """
    named = {role: f"{one.name}/{_end(one.provenance)}" for role, one in data.sets().items()}
    for row in plan.table():
        if "test" in row["role"]:
            named[f"test/{row['set']}"] = " / ".join(_end(text) for text in row.values())
    if "val_id" in named:  # cut from the training images: who saw those saw these
        named["val_id"] += f"/{named['train']}"
    return {"declared": list(sources), "overlaps": overlaps(sources, named)}


def trained_on(model: Mapping[str, Any], base_init: str) -> list[str]:
    """What a trial's initialisation was trained on: as declared, and what its name says.

    Args:
        model: the section ``model`` of the trial.
        base_init: ``init`` of its base; empty without one.
    """
    known = ["imagenet"] if "imagenet" in (model["init"], base_init) else []
    return list(dict.fromkeys([*model["pretrained_on"], *known]))


def sources_declared(spec: StudySpec) -> list[str]:
    """What the initialisations of all trials of a study were trained on, each source once."""
    found = [one for sources in spec.values_of("model.pretrained_on") for one in sources]
    inits = spec.values_of("base.init") if spec.base is not None else []
    known = {"init": spec.model.init, "pretrained_on": found}
    return trained_on(known, "imagenet" if "imagenet" in inits else "")


def overlaps(sources: Sequence[str], named: Mapping[str, str]) -> dict[str, list[str]]:
    """Role -> the sources that are its name or occur in its text; roles without any are left out.

    Letters' case, points and dashes do not matter: ``CIFAR-10`` is ``cifar10``.
    """
    found = {
        role: [one for one in sources if one == role or _bare(one) in _bare(text)]
        for role, text in named.items()
    }
    return {role: ours for role, ours in found.items() if ours}


def _bare(text: str) -> str:
    return re.sub(r"[^a-z0-9/]", "", text.casefold())


def _end(provenance: str) -> str:
    """The last two parts of a path: above them are folders of the machine."""
    return "/".join(re.split(r"[\\/]", provenance)[-2:])
