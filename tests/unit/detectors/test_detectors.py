from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from study.data.roles import TrainID
from study.detectors import base
from study.detectors.base import make_detector
from study.detectors.catalog import CATALOG
from study.detectors.model_parts import (
    TrainFeatures,
    check_model,
    features_of,
    features_of_train,
    served_by,
)
from study.models.classifier import Classifier, LinearHead
from study.scoring.scores import compute_scores
from tests.toys import toy_images

NUM_CLASSES, WIDTH, NUM_TRAIN = 3, 12, 90
# Where the default does not fit so small a model.
PARAMS = {"knn": {"k": 5}, "odin": {"epsilon": 0.02}, "gen": {"top": 2}}
FITTED = [name for name, entry in CATALOG.items() if entry.fitted]
CPU = torch.device("cpu")


class Backbone(nn.Module):
    """One convolution and the mean over space."""

    num_features, stride = WIDTH, 2

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, 3, 2, padding=1)
        self.norm = nn.BatchNorm2d(WIDTH)

    def maps(self, x):
        return functional.relu(self.norm(self.conv(x)))

    def forward(self, x):
        return self.maps(x).mean(dim=(2, 3))


def images_of(seed, count=NUM_TRAIN):
    """Noise around one colour a class, and the classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % NUM_CLASSES
    pixels = 0.4 * torch.rand(count, 3, 8, 8, generator=generator)
    pixels += 0.6 * torch.eye(NUM_CLASSES)[labels][:, :, None, None]
    return pixels, labels


@cache
def model():
    """A classifier that knows its classes, from a head at the class means."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Classifier(Backbone(), NUM_CLASSES).eval()
    images, labels = images_of(0)
    with torch.no_grad():
        features = made.features(images)
        means = torch.stack([features[labels == k].mean(dim=0) for k in range(NUM_CLASSES)])
        made.fc.weight.copy_(2 * means)
        made.fc.bias.copy_(-means.square().sum(dim=1))
    return made


@cache
def on_train():
    images, labels = images_of(0)
    return TrainFeatures(features_of(model(), images), labels)


def fitted(name, params=None):
    detector = make_detector(name, PARAMS.get(name, {}) if params is None else params)
    detector.fit_features(model(), on_train())
    return detector


def head(features):
    return model().fc(features.flatten(2).mean(dim=2) if features.ndim == 4 else features)


def pooled(images):
    return model().features(images)[:, :, None, None]


def maps(images):
    return model().backbone.maps((images - model().mean) / model().std)


def direct(name):
    """pytorch-ood's detector as its documentation uses it, in float32."""
    ood = base.pytorch_ood()
    net, features, fc = model(), model().features, model().fc
    return {
        "msp": lambda: ood.MaxSoftmax(net),
        "max_logit": lambda: ood.MaxLogit(net),
        "energy": lambda: ood.EnergyBased(net),
        "gen": lambda: ood.GEN(net, M=2),
        "odin": lambda: ood.ODIN(net, eps=0.02),
        "mahalanobis": lambda: ood.Mahalanobis(features),
        "rmd": lambda: ood.RMD(features),
        "knn": lambda: ood.KNN(features, k=5),
        "vim": lambda: ood.ViM(features, d=WIDTH // 2, w=fc.weight, b=fc.bias),
        "react": lambda: ood.ReAct(features, head),
        "dice": lambda: ood.DICE(features, w=fc.weight, b=fc.bias, p=0.9),
        "she": lambda: ood.SHE(features, fc),
        "ash": lambda: ood.ASH(pooled, head, percentile=0.9),
        "scale": lambda: ood.SCALE(pooled, head, percentile=0.85),
    }[name]()


@pytest.mark.parametrize("name", CATALOG)
def test_detector_agrees_with_direct_use_of_pytorch_ood(name):
    oracle = direct(name)
    if oracle.requires_fit:
        oracle.fit(DataLoader(TensorDataset(*images_of(0)), batch_size=32))
    images, _ = images_of(1)
    with torch.set_grad_enabled(name == "odin"):
        expected = oracle.predict(images)
    ours = fitted(name).score(model(), images)
    assert ours.dtype == np.float64
    assert ours.shape == (NUM_TRAIN,)
    assert np.ptp(ours) > 0
    # RMD is a difference of two distances, each through a matrix that it inverts in float32.
    atol = (1e-3 if name == "rmd" else 1e-5) * np.ptp(ours)
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-4, atol=atol)


@pytest.mark.parametrize("variant", ["s", "p", "b"])
def test_ash_on_maps_agrees_with_direct_use_of_pytorch_ood(variant):
    oracle = base.pytorch_ood().ASH(maps, head, variant=f"ash-{variant}", percentile=0.8)
    images, _ = images_of(1)
    ours = fitted("ash", {"variant": variant, "pruned": 0.8, "layer": "maps"})
    expected = oracle.predict(images).detach().numpy()
    np.testing.assert_allclose(ours.score(model(), images), expected, rtol=1e-4)


def test_scale_on_maps_in_channels_last_agrees_with_direct_use_of_pytorch_ood():
    images, _ = images_of(1)
    expected = (
        base.pytorch_ood().SCALE(maps, head, percentile=0.85).predict(images).detach().numpy()
    )
    ours = fitted("scale", {"layer": "maps"}).score(
        model(), images.contiguous(memory_format=torch.channels_last)
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


@pytest.mark.parametrize("name", CATALOG)
def test_detector_scores_images_of_no_class_higher(name):
    # Inverted: every class's colour is now the one that is missing.
    detector, (images, _) = fitted(name), images_of(1)
    id_scores, ood_scores = (detector.score(model(), one) for one in (images, 1 - images))
    assert np.mean(ood_scores[:, None] > id_scores) > 0.6


@pytest.mark.parametrize("name", CATALOG)
def test_detector_scores_do_not_depend_on_the_cut_into_batches(name):
    detector, (images, _) = fitted(name), images_of(1, 31)
    whole = detector.score(model(), images)
    parts = [detector.score(model(), part) for part in images.split(7)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CATALOG)
def test_detector_saved_and_loaded_scores_the_same_bits(name, tmp_path):
    from safetensors.torch import load_file, save_file

    first, (images, _) = fitted(name), images_of(1)
    save_file({k: t.contiguous() for k, t in first.state().items()}, tmp_path / "state")
    second = make_detector(name, PARAMS.get(name))
    second.load_state(load_file(tmp_path / "state"))
    np.testing.assert_array_equal(
        second.score(model(), images), first.score(model(), images), strict=True
    )


@pytest.mark.parametrize("name", FITTED)
def test_detector_fitted_twice_has_the_same_bits(name):
    one, other = fitted(name).state(), fitted(name).state()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", CATALOG)
def test_detector_works_in_inference_mode_and_leaves_the_model_alone(name):
    before = {key: tensor.clone() for key, tensor in model().state_dict().items()}
    detector, (images, _) = fitted(name), images_of(1, 6)
    outside = detector.score(model(), images)
    with torch.inference_mode():
        inside = detector.score(model(), images * 1.0)
    np.testing.assert_array_equal(inside, outside)
    assert all(torch.equal(before[key], now) for key, now in model().state_dict().items())
    assert all(parameter.grad is None for parameter in model().parameters())


def test_logit_detectors_are_the_scores_of_the_study():
    images, _ = images_of(1)
    with torch.no_grad():
        scores = compute_scores(model()(images))
    for name, score in (("max_logit", "max_logit"), ("energy", "energy")):
        np.testing.assert_allclose(
            fitted(name).score(model(), images), scores[score], rtol=1e-12, atol=1e-12
        )
    # The study's MSP is log(1 - p).
    ours = fitted("msp").score(model(), images)
    np.testing.assert_allclose(ours, np.expm1(scores["msp"]), rtol=1e-9)


def test_mahalanobis_with_a_dead_and_a_doubled_feature_stays_finite():
    train = on_train().features.clone()
    train[:, 0], train[:, 1] = 0.0, train[:, 2]
    detector = make_detector("mahalanobis")
    detector.fit_features(model(), TrainFeatures(train, on_train().labels))
    scores = detector.score(LinearHead(model().fc).eval(), train)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()


def test_features_of_train_are_those_of_the_role():
    train = TrainID(toy_images("train", 20, classes=3))
    made = features_of_train(model(), train, CPU)
    assert made.labels.tolist() == train.images.labels.tolist()
    pixels = torch.from_numpy(train.images.pixels).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        torch.testing.assert_close(made.features, model().features(pixels))


class LogitsOnly(nn.Module):
    def forward(self, images):
        return images.mean(dim=(2, 3))


def test_gen_of_confident_images_is_the_papers_and_keeps_their_order():
    lead = np.array([20.0, 30.0, 900.0])
    images = torch.zeros(3, NUM_CLASSES, 1, 1, dtype=torch.float64)
    images[:, 0, 0, 0] = torch.from_numpy(lead)
    scores = make_detector("gen", {"gamma": 0.1}).score(LogitsOnly().eval(), images)
    # p (1 - p) is 2 exp(-lead) for the first of the three classes, exp(-lead) for the others.
    expected = (2**0.1 + 2) / 3 * np.exp(-0.1 * lead)
    np.testing.assert_allclose(scores, expected, rtol=1e-8)


@pytest.mark.parametrize("name", ["knn", "ash", "vim"])
def test_detector_on_a_model_without_features_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name} cannot score a LogitsOnly: it has no method"):
        make_detector(name, PARAMS.get(name)).score(LogitsOnly().eval(), images_of(1)[0])


def test_served_by_a_model_with_logits_alone_is_the_logit_detectors():
    served = served_by(LogitsOnly())
    assert served == ["msp", "max_logit", "energy", "gen", "odin"]
    assert served_by(model()) == list(CATALOG)


def test_check_model_without_maps_is_refused():
    with pytest.raises(ValueError, match=r"no method backbone\.maps"):
        check_model(LogitsOnly().eval(), "ash", ("maps",))


@pytest.mark.parametrize("name", CATALOG)
def test_detector_on_a_model_in_training_mode_is_refused(name):
    training = Classifier(Backbone(), NUM_CLASSES)
    with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
        make_detector(name).score(training, images_of(1)[0])


@pytest.mark.parametrize("name", FITTED)
def test_detector_not_fitted_refuses_to_score(name):
    with pytest.raises(ValueError, match=f"{name}: not fitted"):
        make_detector(name).score(model(), images_of(1)[0])


@pytest.mark.parametrize("name", FITTED)
def test_detector_of_another_model_refuses_to_score(name):
    other = Classifier(Backbone(), NUM_CLASSES).eval()
    with pytest.raises(ValueError, match="not the one that the detector was fitted on"):
        fitted(name).score(other, images_of(1)[0])


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("vim", {"dimension": WIDTH}, f"must be below the model's {WIDTH} features"),
        ("knn", {"k": NUM_TRAIN}, f"must be below the {NUM_TRAIN} train ID images"),
    ],
)
def test_detector_fit_beyond_its_sizes_raises(name, params, message):
    with pytest.raises(ValueError, match=message):
        fitted(name, params)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("gen", {"top": NUM_CLASSES + 1}, "at most the 3 classes"),
        ("ash", {"pruned": 0.97}, f"leaves none of {WIDTH} features"),
        ("scale", {"pruned": 0.999, "layer": "maps"}, r"leaves none of \d+ activations"),
    ],
)
def test_detector_score_beyond_its_sizes_raises(name, params, message):
    with pytest.raises(ValueError, match=message):
        fitted(name, params).score(model(), images_of(1)[0])


@pytest.mark.parametrize("name", ["mahalanobis", "rmd", "she"])
def test_detector_without_images_of_a_class_raises(name):
    rows = on_train().labels != 1
    part = TrainFeatures(on_train().features[rows], on_train().labels[rows])
    with pytest.raises(ValueError, match=r"classes \[1\]; it needs some of each"):
        make_detector(name).fit_features(model(), part)


def test_she_of_a_class_that_is_never_right_raises():
    wrong = on_train().labels.clone()
    wrong[wrong != 0] = 3 - wrong[wrong != 0]
    with pytest.raises(ValueError, match=r"classes \[1, 2\] is classified correctly"):
        make_detector("she").fit_features(model(), TrainFeatures(on_train().features, wrong))


def test_detector_state_of_another_detector_raises():
    with pytest.raises(ValueError, match=r"lacks \['masked_weight'\] and has \['patterns'\]"):
        make_detector("dice").load_state(fitted("she").state())


@pytest.mark.parametrize("labels", [torch.tensor([0, -1]), torch.zeros(3, dtype=torch.int64)])
def test_train_features_that_are_not_train_id_raise(labels):
    with pytest.raises(ValueError, match="label"):
        TrainFeatures(torch.zeros(2, 4), labels)


def test_train_features_not_finite_raise():
    with pytest.raises(ValueError, match="not finite"):
        TrainFeatures(torch.full((2, 4), torch.nan), torch.zeros(2, dtype=torch.int64))


def test_train_features_of_nothing_raise():
    with pytest.raises(ValueError, match="no train ID image"):
        TrainFeatures(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


def test_pytorch_ood_missing_says_how_to_install_it(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="pytorch_ood")

    detector = make_detector("max_logit")
    monkeypatch.setattr(base, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'ood-study\[detectors\]'"):
        detector.score(model(), images_of(1)[0])
