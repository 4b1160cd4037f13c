from __future__ import annotations

import numpy as np
import pytest
import torch

from study.explain.explanation import CLASS, SIMILARITY, as_images, explain
from study.explain.options import MapOptions
from study.explain.rows import ScoreTexts, panel_image, rows_of
from study.explain.targets import has_upper
from study.models.registry import build_classifier
from study.records.scores import SetScores
from tests.explain_toys import ToyNordF, toy_chosen

CPU = torch.device("cpu")
FAST = MapOptions(steps=4)


def test_explanation_has_answers_and_maps_of_every_branch() -> None:
    model, chosen = ToyNordF(), toy_chosen(4)
    told = explain(model, chosen, FAST, CPU)
    images = as_images(chosen.images.pixels, CPU)
    with torch.no_grad():
        probabilities = model.eval()(images).softmax(dim=1)
        upper, others = (
            model.upper_features(one) for one in (images, as_images(chosen.partner_pixels, CPU))
        )
    np.testing.assert_array_equal(told.predicted, probabilities.argmax(dim=1).numpy())
    np.testing.assert_allclose(told.confidence, probabilities.amax(dim=1).numpy(), rtol=1e-5)
    cosine = torch.nn.functional.cosine_similarity(upper, others)
    np.testing.assert_allclose(told.cosine, cosine.numpy(), atol=1e-6)
    np.testing.assert_allclose(told.reconstruction, chosen.images.pixels / 255 * 0.5, atol=1e-6)
    assert list(told.maps) == [CLASS, SIMILARITY]
    assert not torch.allclose(told.maps[SIMILARITY], told.maps[CLASS])


def test_classifier_is_explained_by_its_logits_alone() -> None:
    model = build_classifier("resnet20", 3, dropout=0.0, image_size=8, seed=0)
    told = explain(model, toy_chosen(2), FAST, CPU)
    assert not has_upper(model)
    assert {name: maps.shape for name, maps in told.maps.items()} == {CLASS: (2, 8, 8)}
    assert (told.cosine, told.reconstruction) == (None, None)


def _score_texts() -> ScoreTexts:
    values = np.array([[9.0, 9.0, 9.0], [-3.0, -1.0, 1.0]])  # two epochs
    names = np.array(["000", "001", "002"], dtype="S3")
    one = SetScores(
        {"energy": values}, np.zeros((2, 3), np.int16), np.zeros(3, np.int16), names, names
    )
    return ScoreTexts.of({"val_id": one}, "energy", 1)


def test_score_is_told_with_its_place_among_id_images() -> None:
    scores = _score_texts()
    assert scores.text("val_id", b"001") == "energy −1.00\n> 33 % of ID"
    assert scores.text("val_id", b"999") == ""
    assert scores.text("far", b"001") == ""


def test_rows_name_classes_sets_and_scores() -> None:
    model = ToyNordF()
    row = rows_of(toy_chosen(3), explain(model, toy_chosen(3), FAST, CPU), _score_texts())[1]
    assert row.title == "ID\ndog"
    assert row.image_text.startswith("energy −1.00")
    assert row.class_text.split("\n")[0] in ("cat", "dog", "frog")
    assert row.partner_text == "frog\n(ID)"
    far = toy_chosen(2, "far")
    assert rows_of(far, explain(model, far, FAST, CPU))[0].title == "OOD\nfar"


def test_panel_of_a_model_in_training_leaves_it_as_it_was() -> None:
    model = ToyNordF().train()
    sets = [toy_chosen(2), toy_chosen(1, "far")]
    before = torch.random.get_rng_state()
    picture = panel_image(model, sets, CPU, options=FAST)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(panel_image(model, sets, CPU, options=FAST), picture)


@pytest.mark.parametrize("pixels", [0, 255])
def test_images_are_floats_between_zero_and_one(pixels: int) -> None:
    images = as_images(np.full((1, 4, 4, 3), pixels, np.uint8), CPU)
    assert images.shape == (1, 3, 4, 4)
    assert float(images.mean()) == pixels / 255
