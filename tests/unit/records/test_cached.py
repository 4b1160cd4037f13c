"""study.records.cached: what is damaged is never read, what is used stays."""

import logging
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.records import cache
from study.records.cached import fill_array, load_array, read_bytes, save_array, write_bytes

ARRAY = np.arange(600, dtype=np.uint8).reshape(10, 20, 3)


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path))
    path = tmp_path / "decoded" / "one.npy"
    save_array(path, ARRAY)
    return path


def test_array_is_read_back_as_it_was(entry: Path) -> None:
    found = load_array(entry)
    assert found is not None
    assert np.array_equal(found, ARRAY)
    assert not found.flags.writeable
    assert [path.name for path in entry.parent.iterdir()] == ["one.npy"]


def test_array_that_is_computed_into_its_file_is_read_back(entry: Path) -> None:
    def fill(into: np.ndarray) -> None:
        into[:] = 0.5

    fill_array(entry, np.float32, (2, 3, 4), fill)
    found = load_array(entry)
    assert found is not None
    assert found.shape == (2, 3, 4)
    assert (found == 0.5).all()


@pytest.mark.parametrize("place", [0, 70, 130, -17, -3])
def test_one_flipped_bit_is_found_wherever_it_is(
    entry: Path, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    content = bytearray(entry.read_bytes())
    content[place] ^= 1
    entry.write_bytes(content)
    assert load_array(entry) is None
    assert f"{entry}: its checksum is not that of its content" in caplog.text


@pytest.mark.parametrize("length", [0, 5, 128, 400, -1])
def test_cut_is_found(entry: Path, length: int) -> None:
    entry.write_bytes(entry.read_bytes()[:length])
    assert load_array(entry) is None


def test_damage_after_a_first_reading_is_found_too(entry: Path) -> None:
    assert load_array(entry) is not None
    entry.write_bytes(entry.read_bytes().replace(bytes([7, 8, 9]), bytes([7, 8, 8])))
    assert load_array(entry) is None


def test_file_of_an_older_version_is_not_taken(entry: Path) -> None:
    np.save(entry, ARRAY)
    assert load_array(entry) is None


def test_nothing_there_is_no_damage(entry: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_array(entry.with_name("other.npy")) is None
    assert read_bytes(entry.parent / "deep" / "other") is None
    assert not caplog.records


def test_folder_in_a_files_place_is_taken_away_and_told(
    entry: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry.unlink()
    (entry / "below").mkdir(parents=True)
    assert load_array(entry) is None
    save_array(entry, ARRAY)
    assert load_array(entry) is not None
    assert f"{entry}: is a folder in a file's place; it is taken away" in caplog.text


def test_file_in_a_folders_place_is_taken_away_and_told(
    entry: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry.unlink()
    entry.parent.rmdir()
    entry.parent.write_text("in the way")
    write_bytes(entry, b"content")
    assert read_bytes(entry) == b"content"
    assert "is a file in a folder's place" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="others have no posix_fallocate")
def test_array_has_its_room_on_the_disk_before_it_is_filled(entry: Path) -> None:
    def fill(_: np.ndarray) -> None:
        (half_written,) = entry.parent.glob(".two.npy.*")
        room.append(512 * half_written.stat().st_blocks)

    room: list[int] = []
    fill_array(entry.with_name("two.npy"), np.uint8, (1 << 20,), fill)
    assert room[0] >= 1 << 20  # a map onto a disk that is full by then would end the process


def test_write_that_fails_leaves_nothing(entry: Path) -> None:
    def fill(_: np.ndarray) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_array(entry.with_name("two.npy"), np.uint8, (3,), fill)
    assert [path.name for path in entry.parent.iterdir()] == ["one.npy"]


def _use(path: Path, ready: Any, stop: Any) -> None:
    load_array(path)
    ready.set()
    stop.wait(60)


def test_array_that_another_process_maps_is_not_removed(entry: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    process = context.Process(target=_use, args=(entry, ready, stop))
    process.start()
    try:
        assert ready.wait(60)
        (found,) = cache.entries("decoded")
        assert not cache.remove(found)
        assert cache.trim(0) == []
    finally:
        stop.set()
        process.join()
    assert cache.remove(found)
    assert not entry.exists()


def test_telling_says_nothing_where_there_is_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    cache.tell("")
    assert not caplog.records
