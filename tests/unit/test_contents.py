from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from study.contents import ARRAY, TEXT, instead_of, kind_of


def _written(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def _tar() -> bytes:
    with tarfile.open(fileobj=(stream := io.BytesIO()), mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return stream.getvalue()


def _zip() -> bytes:
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
        archive.writestr("a", "b")
    return stream.getvalue()


def _picture(form: str) -> bytes:
    return _written(lambda stream: Image.new("RGB", (8, 8)).save(stream, form))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (POINTER, "git lfs pull"),
        (b"\n <!DOCTYPE html>\n<title>404</title>", "a page"),
        (b"\xef\xbb\xbf<HTML>", "a page"),
        (b'<?xml version="1.0"?><svg>', "SVG"),
        (b"cat/1.png 3\n", "text"),
        (("ä" * 1000).encode(), "text"),
        (("a" + "ä" * 1000).encode(), "text"),
        ("cat".encode("utf-16"), "UTF-16"),
        (b"caf\xe9", ""),
        (b"", ""),
        (bytes(300), "nothing but zeros"),
        (_written(lambda stream: np.save(stream, np.zeros(3))), "NumPy"),
        (_written(lambda stream: np.savez(stream, np.zeros(3))), r"(.npz)"),
        (_written(lambda stream: pq.write_table(pa.table({"a": [1]}), stream)), "Parquet"),
        (_written(lambda stream: torch.save({"a": torch.ones(2)}, stream)), "torch"),
        (save({"a": torch.ones(2)}), "safetensors"),
        (pickle.dumps([1]), "pickle"),
        (_tar(), "tar archive"),
        (_zip(), "zip archive of files"),
        (b"PK\x03\x04", "zip archive"),
        (gzip.compress(b"a", mtime=0), "gzip"),
        (_picture("PNG"), "PNG"),
        (_picture("JPEG"), "JPEG"),
        (_picture("AVIF"), "AVIF"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
        (b"\0\0\0\x18ftypisom" + bytes(20), "film"),
    ],
)  # fmt: skip
def test_kind_of_file_is_told_by_its_beginning(content: bytes, told: str, tmp_path: Path) -> None:
    assert told in kind_of(content)
    assert bool(kind_of(content)) == bool(told)
    (tmp_path / "file").write_bytes(content)
    assert kind_of(tmp_path / "file") == kind_of(content)


def test_kind_of_what_cannot_be_opened_is_unknown(tmp_path: Path) -> None:
    assert kind_of(tmp_path) == kind_of(tmp_path / "absent") == ""


def test_instead_of_tells_another_kind_alone() -> None:
    assert instead_of(TEXT, b"cat") == ""
    assert instead_of(TEXT, b"caf\xe9") == ""
    assert instead_of(ARRAY, b"cat") == TEXT
