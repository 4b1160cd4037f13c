from __future__ import annotations

import numpy as np

from study.models.registry import build_classifier
from study.training.starting import BaseWeights, Starting


def _base(seed: int) -> BaseWeights:
    state = build_classifier("resnet20", 3, image_size=8, seed=seed).state_dict()
    arrays = {name: values.numpy() for name, values in state.items()}
    for values in arrays.values():
        values.flags.writeable = False  # as memory that workers share
    return BaseWeights("resnet20", 0.0, 3, 8, arrays)


def test_base_is_built_with_its_weights() -> None:
    base = _base(5)
    built = base.build().state_dict()
    assert built.keys() == base.weights.keys()
    assert all(np.array_equal(built[name].numpy(), one) for name, one in base.weights.items())


def test_weights_are_of_the_named_base_or_of_the_backbone() -> None:
    one, other = _base(1), _base(2)
    starting = Starting(one, {"resnet20": one.weights}, {"base_2": other})
    assert starting.weights_of("base", "resnet20") is one.weights
    assert starting.weights_of("base_2", "resnet20") is other.weights
    assert starting.weights_of("base", "resnet32") is None
    assert (starting.base_of("base"), starting.base_of("base_2")) == (one, other)
