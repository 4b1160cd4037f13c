"""What each detector takes and needs, torch-free so that a YAML can be checked without torch.

Names of parameters say what they are; pytorch-ood's own stand in `study.detectors.registry`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Need = Literal["logits", "features", "maps", "input_gradient"]
Params = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """One setting of a detector.

    Attributes:
        default: the value where none is given; None is a value of its own, told by ``null``.
        kind: "number", "integer" or "choice".
        low: least value; ``above`` leaves it out.
        high: greatest value, finite or not; ``below`` leaves it out.
        choices: of a "choice".
        null: what null means; empty where it is refused.
        meaning: what it is, with its unit.
    """

    default: float | int | str | None
    kind: Literal["number", "integer", "choice"]
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    choices: tuple[str, ...] = ()
    null: str = ""

    @property
    def rule(self) -> str:
        """What must hold, for a message."""
        if self.kind == "choice":
            return f"must be one of {list(self.choices)}"
        kind = "an integer" if self.kind == "integer" else "a number"
        low = (
            f" {'above' if self.above else 'at least'} {self.low:g}"
            if self.low > -math.inf
            else ""
        )
        high = (
            f" {'below' if self.below else 'at most'} {self.high:g}"
            if self.high < math.inf
            else ""
        )
        joined = " and".join(bound for bound in (low, high) if bound)
        return f"must be {kind}{joined}" + (f" (null: {self.null})" if self.null else "")

    def fits(self, value: Any) -> bool:
        """Whether ``value`` is of the kind and inside the bounds."""
        if value is None:
            return bool(self.null)
        if self.kind == "choice":
            return isinstance(value, str) and value in self.choices
        kinds = (int,) if self.kind == "integer" else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            return False
        over = value > self.low if self.above else value >= self.low
        return over and (value < self.high if self.below else value <= self.high)


@dataclass(frozen=True)
class Entry:
    """One detector.

    Attributes:
        needs: what the model must give, see `study.detectors.model_parts`.
        fitted: whether it has to see train ID.
        parameters: name -> setting.
        source: paper.
    """

    needs: tuple[Need, ...]
    fitted: bool
    source: str
    parameters: Mapping[str, Parameter]


def _temperature(default: float) -> Parameter:
    return Parameter(default, "number", "divides the logits, dimensionless", low=0, above=True)


_PRUNED: Final = Parameter(
    0.65, "number", "share of an image's activations below the cut", low=0, high=1, below=True
)
_LAYER: Final = Parameter(
    "features", "choice", "what is shaped: pooled features, or the maps before the pooling",
    choices=("features", "maps"),
)  # fmt: skip

CATALOG: Final[dict[str, Entry]] = {
    "msp": Entry(
        ("logits",), False, "Hendrycks and Gimpel 2017, arXiv:1610.02136",
        {"temperature": _temperature(1.0)},
    ),
    "max_logit": Entry(("logits",), False, "Hendrycks et al. 2022, arXiv:1911.11132", {}),
    "energy": Entry(
        ("logits",), False, "Liu et al. 2020, arXiv:2010.03759",
        {"temperature": _temperature(1.0)},
    ),
    "gen": Entry(
        ("logits",), False, "Liu et al. 2023 (GEN), CVPR 2023",
        {
            "gamma": Parameter(0.1, "number", "power of p (1 - p)", low=0, above=True),
            "top": Parameter(
                None, "integer", "most probable classes that count", low=1, null="all classes"
            ),
        },
    ),
    "odin": Entry(
        ("logits", "input_gradient"), False, "Liang et al. 2018, arXiv:1706.02690",
        {
            "temperature": _temperature(1000.0),
            "epsilon": Parameter(
                0.0014, "number", "step on each pixel, in images of [0, 1]", low=0, high=1
            ),
        },
    ),
    "mahalanobis": Entry(("features",), True, "Lee et al. 2018, arXiv:1807.03888", {}),
    "rmd": Entry(("features",), True, "Ren et al. 2021, arXiv:2106.09022", {}),
    "knn": Entry(
        ("features",), True, "Sun et al. 2022, ICML 2022 (arXiv:2204.06507)",
        {"k": Parameter(50, "integer", "the neighbour whose distance counts", low=1)},
    ),
    "vim": Entry(
        ("features",), True, "Wang et al. 2022, arXiv:2203.10807",
        {
            "dimension": Parameter(
                None, "integer", "of the principal subspace", low=1, null="half of the features"
            )
        },
    ),
    "react": Entry(
        ("features",), True, "Sun et al. 2021, arXiv:2111.12797",
        {
            "quantile": Parameter(
                0.9, "number", "of train features, where they are clipped", low=0, high=1,
                above=True,
            )
        },
    ),
    "dice": Entry(
        ("features",), True, "Sun and Li 2022, arXiv:2111.09805",
        {
            "sparsity": Parameter(
                0.7, "number", "share of the head's weights left out", low=0, high=1, below=True
            )
        },
    ),
    "she": Entry(("features",), True, "Zhang et al. 2023 (SHE), ICLR 2023", {}),
    "ash": Entry(
        ("features",), False, "Djurisic et al. 2023 (ASH), arXiv:2209.09858",
        {
            "variant": Parameter(
                "s", "choice", "what happens to what is kept", choices=("s", "p", "b")
            ),
            "pruned": _PRUNED,
            "layer": _LAYER,
        },
    ),
    "scale": Entry(
        ("features",), False, "Xu et al. 2024, arXiv:2310.00227",
        {"pruned": _PRUNED, "layer": _LAYER},
    ),
}  # fmt: skip
"""Detector name -> what it takes and needs."""


def needs_of(name: str, params: Mapping[str, Any]) -> tuple[Need, ...]:
    """What the model must give for these parameters; ``layer: maps`` adds the maps."""
    needs = CATALOG[name].needs
    return (*needs, "maps") if params.get("layer") == "maps" else needs


def check_parameters(name: str, params: Mapping[str, Any] | None = None) -> Params:
    """Parameters of a detector, complete.

    Args:
        name: a key of `CATALOG`.
        params: those that differ from the defaults.

    Returns:
        Every parameter with its value.

    Raises:
        ValueError: for an unknown detector, or naming every parameter that is unknown or does
            not fit, with its rule.
    """
    if name not in CATALOG:
        raise ValueError(f"unknown detector {name!r}; there are {sorted(CATALOG)}")
    parameters, given = CATALOG[name].parameters, dict(params or {})
    faults = [
        f"{name}.{key}: unknown; {name} has {sorted(parameters) or 'no parameters'}"
        for key in given
        if key not in parameters
    ]
    faults += [
        f"{name}.{key}: {value!r} {parameters[key].rule}"
        for key, value in given.items()
        if key in parameters and not parameters[key].fits(value)
    ]
    if faults:
        raise ValueError("\n".join(faults))
    return {key: given.get(key, parameter.default) for key, parameter in parameters.items()}


def check_sizes(
    name: str,
    params: Mapping[str, Any],
    *,
    num_features: int | None = None,
    num_train: int | None = None,
    num_classes: int | None = None,
) -> None:
    """Hold parameters against the sizes of model and data, as far as they are known.

    Args:
        name: a key of `CATALOG`.
        params: complete, from `check_parameters`.
        num_features: D, width of the penultimate features; None where not known yet.
        num_train: N, train ID images; likewise.
        num_classes: K; likewise.

    Raises:
        ValueError: naming every parameter that is too large and the size that it must respect.
    """
    faults: list[str] = []
    dimension, k, top = (params.get(key) for key in ("dimension", "k", "top"))
    if dimension is not None and num_features is not None and dimension >= num_features:
        faults.append(
            f"{name}.dimension: {dimension} must be below the model's {num_features} features; "
            "what is left over is the score"
        )
    if k is not None and num_train is not None and k >= num_train:
        faults.append(f"{name}.k: {k} must be below the {num_train} train ID images")
    if top is not None and num_classes is not None and top > num_classes:
        faults.append(f"{name}.top: {top} must be at most the {num_classes} classes")
    if name == "vim" and num_features is not None and num_features < 2:
        faults.append(f"{name}: the model has {num_features} feature; two are needed")
    if "pruned" in params and params.get("layer") == "features" and num_features is not None:
        kept = num_features - round(num_features * params["pruned"])
        if kept < 1:
            faults.append(
                f"{name}.pruned: {params['pruned']:g} leaves none of {num_features} features"
            )
    if name in ("mahalanobis", "rmd") and num_train is not None and num_features is not None:
        faults += [
            f"{name}: {num_train} train ID images for {num_features} features; a covariance needs "
            "more images than features"
        ] * (num_train <= num_features)
    if faults:
        raise ValueError("\n".join(faults))
