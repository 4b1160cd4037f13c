import io

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from study.data.leaks.alignment import measure
from study.data.leaks.near_duplicates import (
    Likeness,
    describe,
    find_near_duplicates,
)
from study.data.leaks.turns import TURNS
from tests.pictures import photographs


def jpeg(pixels, quality=75):
    result = []
    for image in pixels:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        result.append(np.asarray(Image.open(buffer)))
    return np.stack(result)


def shifted(pixels, y, x):
    return np.roll(pixels, (y, x), axis=(1, 2))


def zoomed(pixels, edge):
    rest = (32 - edge) // 2
    return np.stack(
        [
            np.asarray(Image.fromarray(p[rest : rest + edge, rest : rest + edge]).resize((32, 32)))
            for p in pixels
        ]
    )


ALTERATIONS = {
    "exact": lambda p: p,
    "jpeg": jpeg,
    "mirror": lambda p: p[:, :, ::-1].copy(),
    "mirror and jpeg": lambda p: jpeg(p[:, :, ::-1].copy()),
    "one pixel": lambda p: shifted(p, 1, -1),
    "two pixels": lambda p: shifted(p, 0, 2),
    "darker": lambda p: (p * 0.7).astype(np.uint8),
    "brighter": lambda p: np.clip(p * 1.3, 0, 255).astype(np.uint8),
    "zoomed": lambda p: zoomed(p, 30),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_find_near_duplicates_finds_planted_copies_and_nothing_else(name):
    originals = photographs(120)
    others = photographs(60, seed=1)
    first = np.concatenate([others[:30], ALTERATIONS[name](originals), others[30:]])
    pairs = find_near_duplicates(first, originals, Likeness())
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert found <= {(30 + row, row) for row in range(120)}
    assert len(found) >= 118
    if "mirror" in name:
        assert pairs.mirrored.all()
    elif name == "exact":
        assert not pairs.mirrored.any()


def test_find_near_duplicates_independent_images_have_none():
    assert len(find_near_duplicates(photographs(600, 2), photographs(600, 3), Likeness())) == 0


def flat_and_smooth():
    """Constant patches, noise around them, gradients and single edges: alike, but no copies."""
    generator = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 32)
    images = []
    for _ in range(60):
        angle, low, high = generator.uniform(0, 2 * np.pi), *generator.uniform(0, 255, 2)
        slope = np.cos(angle) * ramp[:, None] + np.sin(angle) * ramp
        slope = (slope - slope.min()) / np.ptp(slope)
        edge = (np.arange(32) < generator.integers(8, 24)).astype(float)[None].repeat(32, 0)
        images += [
            np.full((32, 32), low),
            low + generator.normal(0, 1.5, (32, 32)),
            low + (high - low) * slope,
            low + (high - low) * edge,
        ]
    grey = np.clip(np.stack(images), 0, 255).astype(np.uint8)
    return grey[..., None].repeat(3, axis=3)


def test_find_near_duplicates_flat_patches_gradients_and_single_edges_are_none():
    images = flat_and_smooth()
    encoded = jpeg(images)
    assert len(find_near_duplicates(images[:120], images[120:], Likeness())) == 0
    assert len(find_near_duplicates(encoded[:120], encoded[120:], Likeness())) == 0


def test_describe_marks_images_without_structure():
    usable = describe(np.concatenate([flat_and_smooth()[:2], photographs(3)]), Likeness()).usable
    assert usable.tolist() == [False, False, True, True, True]
    assert not describe(jpeg(flat_and_smooth()), Likeness()).usable.any()


def test_find_near_duplicates_other_image_sizes_are_compared_at_32():
    large = photographs(20, size=64)
    small = large.reshape(20, 32, 2, 32, 2, 3).mean(axis=(2, 4)).astype(np.uint8)
    pairs = find_near_duplicates(large, small, Likeness())
    assert pairs.first.tolist() == pairs.second.tolist() == list(range(20))


def test_measure_of_equal_images_is_one_one_zero():
    images = photographs(4)
    np.testing.assert_allclose(measure(images, images), [[1, 1, 0]] * 4, atol=2e-3)


def test_measure_is_symmetric():
    first, second = photographs(6), jpeg(zoomed(photographs(6), 30))
    np.testing.assert_allclose(
        measure(first, second), measure(second, first), atol=0.02, rtol=0.02
    )


def test_measure_stops_early_where_a_threshold_is_missed():
    first, second = photographs(40), np.concatenate([photographs(20), photographs(20, 5)])
    whole, early = measure(first, second), measure(first, second, 0.85, 0.65)
    np.testing.assert_allclose(early[:20], whole[:20], rtol=1e-5)
    assert np.isinf(early[20:, 2]).all()
    assert np.isfinite(whole[:, 2]).all()


def test_measure_of_no_pairs_is_empty():
    none = photographs(1)[:0]
    assert measure(none, none).shape == (0, 3)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 16), (7, 13)])
@pytest.mark.parametrize("share", [0, 0.2, 1])
def test_pairs_of_sets_of_any_size_are_all_found(shape, share):
    generator, pictures = np.random.default_rng(0), photographs(sum(shape))
    first, second = np.arange(shape[0]), np.arange(shape[0], sum(shape))  # which picture each is
    if share == 1:
        first, second = 0 * first, 0 * second
    else:
        again = generator.random(shape[1]) < share
        second = np.where(again, generator.integers(shape[0], size=shape[1]), second)
    pairs = find_near_duplicates(pictures[first], pictures[second], Likeness())
    expected = np.nonzero(first[:, None] == second)
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert found == set(zip(*(one.tolist() for one in expected), strict=True))
    assert len(found) == len(pairs)


def test_sets_beyond_a_block_of_rows_and_columns_are_compared_without_a_gap():
    first = photographs(600)
    # The same pictures 4, 8, ... pixels further are others.
    second = np.concatenate([np.roll(first, 4 * step, axis=1) for step in range(7)])[::-1]
    pairs = find_near_duplicates(first, second.copy(), Likeness())
    found = sorted(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert found == [(row, 4199 - row) for row in range(600)]


def test_rule_says_its_thresholds():
    text = str(Likeness(detail=0.7))
    assert "0.7" in text
    assert "grey levels" in text


@pytest.mark.parametrize("number", range(16))
def test_find_near_duplicates_finds_pictures_turned_any_way_and_encoded_again(number):
    originals, others = photographs(100), photographs(60, seed=1)
    first = np.concatenate([others, jpeg(np.ascontiguousarray(TURNS[number].of(originals)))])
    pairs = find_near_duplicates(first, originals, Likeness())
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert found <= {(60 + row, row) for row in range(100)}
    assert len(found) >= 98
    back = find_near_duplicates(originals, first, Likeness())
    assert len(back) == len(pairs)


def strokes(number, seed):
    """Drawings of one to three strokes on a plain ground, dark on light or light on dark."""
    generator = np.random.default_rng(seed)
    sheets = []
    for _ in range(number):
        ground, ink = generator.choice([0, 255], 2, replace=False).tolist()
        sheet = Image.new("L", (128, 128), ground)
        draw = ImageDraw.Draw(sheet)
        for _ in range(generator.integers(1, 4)):
            points = [tuple(point) for point in generator.integers(10, 118, (4, 2)).tolist()]
            draw.line(points, fill=ink, width=int(generator.integers(6, 16)), joint="curve")
        small = sheet.resize((32, 32), Image.Resampling.BILINEAR)
        sheets.append(np.asarray(small.convert("RGB")))
    return np.stack(sheets)


def bars(number, seed):
    """A single straight stroke through the middle, at any angle: a rifle's barrel, a one."""
    generator = np.random.default_rng(seed)
    sheets = []
    for _ in range(number):
        sheet = Image.new("L", (128, 128), 255)
        angle = generator.uniform(0, np.pi)
        x, y = 60 * np.cos(angle), 60 * np.sin(angle)
        ImageDraw.Draw(sheet).line((64 - x, 64 - y, 64 + x, 64 + y), fill=0, width=12)
        small = sheet.resize((32, 32), Image.Resampling.BILINEAR)
        sheets.append(np.asarray(small.convert("RGB")))
    return np.stack(sheets)


@pytest.mark.parametrize("make", [strokes, bars])
def test_find_near_duplicates_of_drawings_that_resemble_each_other_are_none(make):
    first, second = make(300, 1), make(300, 2)
    assert len(find_near_duplicates(first, second, Likeness())) == 0


def test_find_near_duplicates_copies_of_drawings_are_found():
    originals = strokes(100, 1)
    usable = describe(originals, Likeness()).usable
    pairs = find_near_duplicates(jpeg(originals, 90), originals, Likeness())
    found = {row for row, other in zip(pairs.first, pairs.second, strict=True) if row == other}
    assert len(found) >= 0.9 * usable.sum()


def digits(num):
    """Handwritten digits of 8x8 pixels, enlarged to 32."""
    sheets = (load_digits().images[:num] * 15).astype(np.uint8)
    large = np.stack([np.asarray(Image.fromarray(one).resize((32, 32))) for one in sheets])
    return large[..., None].repeat(3, axis=3)


def test_digits_of_few_pixels_are_no_near_duplicates_of_others_of_their_class():
    written = digits(1000)
    assert len(find_near_duplicates(written[:500], written[500:], Likeness())) == 0


@pytest.mark.parametrize("alter", [jpeg, lambda p: jpeg(shifted(p, 1, -1), 50)])
def test_copies_of_digits_of_few_pixels_are_found(alter):
    written = digits(300)
    usable = describe(written, Likeness()).usable
    pairs = find_near_duplicates(alter(written), written, Likeness())
    same = pairs.first[pairs.first == pairs.second]
    assert len(same) >= 0.95 * usable.sum()
    assert len(same) == len(pairs)
