from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from study.explain.panel import Row, draw_panel, overlay, panel_array, save_panel

IMAGE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
MAP = np.zeros((8, 8), np.float32)
MAP[2, 3] = -5.0


def _row(**more: Any) -> Row:
    return Row("ID\ncat", IMAGE, "energy −3.1", MAP, "dog\np = 0.61", **more)


def _full_row() -> Row:
    return _row(
        reconstruction=IMAGE / 255,
        reconstruction_text="L1 0.000",
        similarity_map=MAP,
        similarity_text="cos 0.42",
        partner=IMAGE,
        partner_text="frog",
    )


def _texts(rows: list[Row]) -> set[str]:
    figure = draw_panel(rows, method="grad_cam")
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    found += [axes.get_title() for axes in figure.axes]
    return {*found, *(text.get_text() for text in figure.texts)}


def test_panel_shows_every_picture_with_its_text() -> None:
    texts = _texts([_full_row()])
    assert {"image", "reconstruction", "class map", "similarity map", "partner"} <= texts
    assert {"ID\ncat", "energy −3.1", "L1 0.000", "dog\np = 0.61", "cos 0.42", "frog"} <= texts
    assert any(text.startswith("grad cam") for text in texts)


def test_panel_of_a_classifier_has_no_empty_columns() -> None:
    assert not {"reconstruction", "similarity map", "partner"} & _texts([_row()])


def test_row_without_a_branch_stands_beside_one_that_has_it() -> None:
    picture = panel_array(draw_panel([_row(), _full_row()], method="saliency"), dpi=60)
    alone = panel_array(draw_panel([_full_row(), _full_row()], method="saliency"), dpi=60)
    assert picture.shape == alone.shape


def test_no_text_leaves_the_figure() -> None:
    for row in (_row(), _full_row()):
        figure = draw_panel([row], method="integrated_gradients")
        panel_array(figure)
        width, height = figure.canvas.get_width_height()
        everything = [text for axes in figure.axes for text in axes.texts] + list(figure.texts)
        for text in everything:
            box = text.get_window_extent()
            assert box.x0 >= 0, text
            assert box.x1 <= width, text
            assert box.y0 >= 0, text
            assert box.y1 <= height, text


def test_array_and_file_hold_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "panel.png"
    save_panel(draw_panel([_full_row()], method="saliency"), path, dpi=80)
    with Image.open(path) as image:
        saved = np.asarray(image.convert("RGB"))
    array = panel_array(draw_panel([_full_row()], method="saliency"), dpi=80)
    assert array.shape == saved.shape
    assert np.abs(array.astype(int) - saved).mean() < 1
    assert array.std() > 20


def test_overlay_shows_a_maps_size_and_leaves_the_rest_grey() -> None:
    values = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    shown = overlay(IMAGE, values)
    assert shown.shape == (8, 8, 3)
    assert shown.min() >= 0
    assert shown.max() <= 1
    np.testing.assert_allclose(overlay(IMAGE, -values), shown, atol=1e-6)
    flat = overlay(IMAGE, np.zeros((8, 8), np.float32))
    np.testing.assert_allclose(flat[..., 0], flat[..., 2])


def test_single_strong_pixel_is_still_seen() -> None:
    shown = overlay(np.full((8, 8, 3), 128, np.uint8), MAP)
    assert np.abs(shown[2, 3] - shown[5, 5]).max() > 0.2
