import subprocess
import sys

import pytest

from study.detectors.catalog import CATALOG, SHIPPED, check_parameters, check_sizes, needs_of


def test_catalog_has_the_shipped_detectors_first_each_with_its_source_and_meanings():
    assert tuple(CATALOG)[: len(SHIPPED)] == SHIPPED
    for name in SHIPPED:
        assert CATALOG[name].source
        assert all(one.meaning for one in CATALOG[name].parameters.values())


@pytest.mark.parametrize("name", CATALOG)
def test_check_parameters_of_defaults_is_complete_and_fits(name):
    params = check_parameters(name)
    assert set(params) == set(CATALOG[name].parameters)
    assert check_parameters(name, params) == params


def test_check_parameters_keeps_what_is_given():
    assert check_parameters("odin", {"epsilon": 0.002}) == {"temperature": 1000, "epsilon": 0.002}


@pytest.mark.parametrize(
    ("name", "params", "rule"),
    [
        ("knn", {"k": 0}, "knn.k: 0 must be an integer at least 1"),
        ("knn", {"k": 2.5}, "must be an integer"),
        ("knn", {"k": True}, "must be an integer"),
        ("knn", {"k": None}, "must be an integer"),
        ("vim", {"dimension": 0}, "at least 1 (null: half of the features)"),
        ("energy", {"temperature": 0}, "must be a number above 0"),
        ("energy", {"temperature": float("nan")}, "must be a number above 0"),
        ("ash", {"pruned": 1.0}, "at least 0 and below 1"),
        ("ash", {"variant": "x"}, "must be one of ['s', 'p', 'b']"),
        ("dice", {"sparsity": "0.7"}, "must be a number"),
        ("react", {"quantile": 0.0}, "above 0 and at most 1"),
        ("she", {"k": 3}, "she.k: unknown; she has no parameters"),
    ],
)
def test_check_parameters_out_of_bounds_raises(name, params, rule):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        check_parameters(name, params)
    assert rule in str(error.value)


def test_check_parameters_tells_all_faults_at_once():
    with pytest.raises(ValueError, match=r"gen\.size: unknown.*\ngen\.gamma: -1 must"):
        check_parameters("gen", {"size": 3, "gamma": -1})


def test_check_parameters_of_unknown_detector_raises():
    with pytest.raises(ValueError, match="unknown detector 'magic'; there are"):
        check_parameters("magic")


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("vim", {"dimension": 64}, "dimension: 64 must be below the model's 64 features"),
        ("knn", {"k": 100}, "k: 100 must be below the 100 train ID images"),
        ("gen", {"top": 11}, "top: 11 must be at most the 10 classes"),
        ("scale", {"pruned": 0.999}, "leaves none of 64 features"),
    ],
)
def test_check_sizes_beyond_the_model_raises_and_unknown_sizes_pass(name, params, message):
    complete = check_parameters(name, params)
    check_sizes(name, complete)
    with pytest.raises(ValueError, match=message):
        check_sizes(name, complete, num_features=64, num_train=100, num_classes=10)


@pytest.mark.parametrize("name", ["mahalanobis", "rmd"])
def test_check_sizes_of_a_covariance_without_images_raises(name):
    with pytest.raises(ValueError, match="64 train ID images for 64 features"):
        check_sizes(name, {}, num_features=64, num_train=64)
    check_sizes(name, {}, num_features=64, num_train=65)


def test_check_sizes_at_the_bound_passes():
    check_sizes("vim", {"dimension": 63}, num_features=64)
    check_sizes("knn", {"k": 99}, num_train=100)


def test_needs_of_shaped_maps_adds_the_maps():
    assert needs_of("ash", check_parameters("ash")) == ("features",)
    assert needs_of("ash", check_parameters("ash", {"layer": "maps"})) == ("features", "maps")


def test_catalog_is_imported_without_torch_and_detectors_without_pytorch_ood():
    code = (
        "import sys, study.detectors.catalog\nassert 'torch' not in sys.modules\n"
        "from study.detectors.base import make_detector\nmake_detector('knn')\n"
        "assert 'pytorch_ood' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
