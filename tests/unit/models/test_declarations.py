"""What the files of the backbones declare: read without running them, and true of what they build.

That a new file is all that a new backbone takes.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch.nn import functional

import study
from study.errors import BadInput
from study.models.names import BACKBONE_NAMES, Network, declaration, gathered, stride_of
from study.models.registry import build_classifier

META = torch.device("meta")  # shapes alone
BUILD = "\ndef build(name, *, dropout, image_size):\n    raise AssertionError('it is not run')\n"
PLAIN = '{"strides": (4,), "num_features": 5, "dropout": False}'


@cache
def built(name, image_size=32):
    """A backbone without numbers, as its file builds it, whatever it says of dropout."""
    file = import_module(f"study.models.{declaration(name).file.stem}")
    with META:
        return file.build(name, dropout=0.37, image_size=image_size)


def assert_maps(name, image_size, stride):
    backbone, declared = built(name, image_size), declaration(name)
    maps = backbone.maps(torch.rand(2, 3, image_size, image_size, device=META))
    side = image_size // stride
    assert maps.shape == (2, declared.num_features, side, side)
    assert (backbone.num_features, backbone.stride) == (declared.num_features, stride)


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_declared_features_and_smallest_stride_are_those_of_the_built_backbone(name):
    assert_maps(name, 32, min(declaration(name).strides))


@pytest.mark.parametrize(
    ("name", "stride"),
    [
        (n, s)
        for n in BACKBONE_NAMES
        for s in declaration(n).strides
        if s > min(declaration(n).strides)
    ],
)
def test_declared_larger_strides_are_those_of_the_backbone_for_larger_images(name, stride):
    image_size = stride * declaration(name).least_side
    assert stride_of(name, image_size) == stride
    assert_maps(name, image_size, stride)


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_declared_dropout_is_what_the_built_backbone_uses(name, monkeypatch):
    rates = set()

    def dropout(x, p=0.5, training=True, inplace=False):
        rates.update({p} if training else ())
        return x

    monkeypatch.setattr(functional, "dropout", dropout)
    built(name).train()(torch.rand(2, 3, 32, 32, device=META))
    assert (0.37 in rates) == declaration(name).dropout


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_declared_fresh_tensors_are_of_the_built_backbone(name):
    assert set(declaration(name).fresh) <= set(built(name).state_dict())


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_stem_of_imagenet_is_for_those_that_declare_it(name):
    network = Network(stem="imagenet")
    if declaration(name).stems:
        with META:
            backbone = build_classifier(name, 10, seed=0, network=network).backbone
        assert backbone.stride == 32
    else:
        with pytest.raises(ValueError, match=f"stem: imagenet is of .* not of {name}"):
            build_classifier(name, 10, seed=0, network=network)


def test_gathered_backbones_of_several_files_with_defaults_and_without_running_them(tmp_path):
    (tmp_path / "one.py").write_text(f'import nowhere\nBACKBONES = {{"a": {PLAIN}}}\n{BUILD}')
    (tmp_path / "two.py").write_text(
        "from typing import Final\n"
        'BACKBONES: Final = {"b": {"strides": (8, 32), "num_features": 7, "dropout": True,'
        f' "least_side": 8, "pretrained": "timm/b.in1k", "fresh": ("fc.",)}}}}\n{BUILD}'
    )
    (tmp_path / "other.py").write_text("def helps(:\n    '''No backbone: not even parsed.'''\n")
    found = gathered(tmp_path)
    assert list(found) == ["a", "b"]
    assert found["a"].model_dump(exclude_defaults=True) == {
        "strides": (4,), "num_features": 5, "dropout": False,
    }  # fmt: skip
    assert found["a"].file == tmp_path / "one.py"
    assert (found["b"].least_side, found["b"].fresh) == (8, ("fc.",))


@pytest.mark.parametrize(
    ("literal", "told"),
    [
        ('{"a": {"stride": (4,)}}', r"\.a\.stride: .*no such key. There are strides, num_"),
        ('{"a": {"strides": (4,), "dropout": True}}', r"\.a\.num_features: this key is required"),
        (f'{{"a": {PLAIN.replace("(4,)", "4")}}}', r"\.a\.strides: 4: a tuple of whole numbers"),
        (f'{{"a": {PLAIN.replace("(4,)", "()")}}}', r"\.a\.strides: \(\): a tuple of whole nu"),
        (f'{{"a": {PLAIN.replace("(4,)", "(4, 0)")}}}', r"\.a\.strides: .*a tuple of whole nu"),
        (f'{{"a": {PLAIN.replace("5", "True")}}}', r"\.a\.num_features: True: a whole number"),
        (f'{{"a": {PLAIN.replace("False", "0")}}}', r"\.a\.dropout: 0: True or False"),
        (f'{{"a": {PLAIN[:-1]}, "fresh": "fc."}}}}', r"\.a\.fresh: 'fc.': a tuple of strings"),
        (f'{{"a": {PLAIN[:-1]}, "pretrained": "b"}}}}', r"\.a\.pretrained: 'b': timm/"),
        (
            f'{{"a": {PLAIN[:-1]}, "stems": True}}}}',
            r"\.a: a file .* has a function with_native_s",
        ),
    ],
)
def test_gathered_wrong_declaration_is_told_with_file_line_key_and_rule(tmp_path, literal, told):
    (tmp_path / "mine.py").write_text(f"BACKBONES = {literal}\n{BUILD}")
    with pytest.raises(BadInput, match=rf"mine\.py:1: BACKBONES{told}"):
        gathered(tmp_path)


def test_gathered_file_without_build_is_told(tmp_path):
    (tmp_path / "mine.py").write_text(f'BACKBONES = {{"a": {PLAIN}}}\n')
    with pytest.raises(BadInput, match=r"mine\.py:1: BACKBONES\.a: a file .* a function build"):
        gathered(tmp_path)


TOY = '''
"""A toy: the mean colour of every 4x4 patch, in seven mixtures."""
from torch import nn
from torch.nn import functional

BACKBONES = {"toy": {"strides": (4,), "num_features": 7, "dropout": False}}


class Toy(nn.Module):
    num_features = 7
    stride = 4

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(3, 7, 1)

    def maps(self, x):
        return self.mix(functional.avg_pool2d(x, 4))

    def forward(self, x):
        return self.maps(x).mean(dim=(2, 3))


def build(name, *, dropout, image_size):
    return Toy()
'''
USES = """
import sys
from study.errors import BadInput
from study.space.loading import load_space
def told(*changes):
    try:
        load_space("cifar10", ["model.init=random", *changes])
    except BadInput as error:
        return str(error)
    return ""
assert not told("model.backbone=toy"), told("model.backbone=toy")
assert "toy has no dropout" in told("model.backbone=toy", "model.dropout=0.1")
assert "multiple of 4, the stride of toy" in told("model.backbone=toy", "data.image_size=30")
assert "torch" not in sys.modules
import torch
from study.models.registry import build_classifier
one, same = (build_classifier("toy", 10, seed=3) for _ in range(2))
assert one(torch.rand(2, 3, 32, 32)).shape == (2, 10)
assert torch.equal(one.backbone.mix.weight, same.backbone.mix.weight)
"""


def test_new_file_alone_is_a_backbone_for_spaces_and_for_building(tmp_path):
    root = Path(study.__file__).parents[1]
    ignored = shutil.ignore_patterns("__pycache__")
    for room in ("study", "search_spaces"):
        shutil.copytree(root / room, tmp_path / room, ignore=ignored)
    (tmp_path / "study/models/toy.py").write_text(TOY)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", USES],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
