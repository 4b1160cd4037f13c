"""Bringing what trials start from: bases by content, pretrained weights by backbone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from study.bases.base_models import BaseModel, RecordedBase, copied_base, loaded_base, measured
from study.bases.files import usable
from study.bases.initial import Initial, bring_initial
from study.bases.needed import Base
from study.bases.training import BASE_RECIPE, BaseSpec, FoundBase, trained_base
from study.data.roles import StudyData
from study.models.names import Network
from study.recipes.registry import make_recipe
from study.records.cache import cache_folder
from study.space.points import substitute
from study.space.reading.yamlfile import KeyPath
from study.space.study_spec import StudySpec
from study.training.starting import Arrays, network_of
from study.watch.progress import Progress


@dataclass(frozen=True, eq=False)
class Bringer:
    """Brings a study's bases and pretrained weights.

    Attributes:
        spec: the study.
        data: the roles that bases are trained and measured on.
        progress: is told of every base.
        device: "cuda" or "cpu".
    """

    spec: StudySpec
    data: StudyData
    progress: Progress
    device: str

    def base(self, wanted: Base, recorded: RecordedBase | None) -> BaseModel | None:
        """The run's own copy, a trained base, or a file's; None where there is none.

        Raises:
            BadInput: where weights do not fit or are not to be had.
            TrialFailed: where its training diverges.
        """
        spec, data = self.spec, self.data
        named = spec.model.init not in ("random", "imagenet")
        if recorded is None and spec.base is None and (spec.params.base != "start" or not named):
            return None
        device = torch.device(self.device)
        found: FoundBase | None
        if recorded is not None:
            found = copied_base(recorded, wanted.spec, data)
        elif spec.base is None:
            found = self._from_file(wanted.spec)
        else:
            found = trained_base(
                wanted.spec,
                data,
                cache=cache_folder() / "bases",
                device=device,
                progress=self.progress,
                start=self._start_of(wanted),
            )
        if found is None:
            return None
        if spec.params.measures_base:
            scored_by = make_recipe(spec.recipe, substitute(spec, wanted.point)[0])
        else:
            scored_by = make_recipe(BASE_RECIPE, wanted.spec.train)
        return measured(found, data, device=device, scored_by=scored_by)

    def initial(self, base: BaseModel | None) -> tuple[Initial, ...]:
        """Pretrained weights of every backbone that trials have; none where a base is all."""
        spec, init = self.spec, self.spec.model.init
        if init in ("random", "base") or (spec.params.base == "start" and base is not None):
            return ()
        backbones = list(dict.fromkeys(spec.values_of("model.backbone")))
        network = network_of(spec.model.model_dump())
        return self._brought(backbones, network, ("model", "init"), init)

    def _start_of(self, base: Base) -> Arrays | None:
        """The weights that a base's training starts from; None for fresh ones."""
        init = base.spec.init
        if init == "random":
            return None
        path: KeyPath = ("base", "init")
        if self.spec.ablate is not None:
            given = self.spec.ablate.set_at("base.init")
            path = next((place for value, place in given if value == init), path)
        return self._brought([base.spec.backbone], base.spec.network, path, init)[0].weights

    def _brought(
        self, backbones: list[str], network: Network, path: KeyPath, init: str
    ) -> tuple[Initial, ...]:
        file = None if init == "imagenet" else Path(init)
        with self.progress.stage("Pretrained weights"), usable(self.spec, path, init):
            found = bring_initial(
                backbones,
                self.data.image_size,
                dropout=self.spec.model.dropout,
                file=file,
                network=network,
                key=self.spec.model.weights_key,
            )
        return tuple(found)

    def _from_file(self, wanted: BaseSpec) -> FoundBase | None:
        """The classifier that a file holds; None where it holds a network without a head."""
        init = self.spec.model.init
        with usable(self.spec, ("model", "init"), init):
            return loaded_base(Path(init), wanted, self.data, self.spec.model.weights_key)
