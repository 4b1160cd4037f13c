"""Which network a checkpoint holds, and what it calls its tensors: one finder for all backbones.

Public checkpoints hold the backbone at the top or some levels down, under one prefix or several,
beside projectors, momentum copies and optimizers:

| public code                 | where the backbone is                                       |
|-----------------------------|-------------------------------------------------------------|
| torchvision, timm           | at the top, its head beside it                              |
| energy, OE (WRN)            | at the top, blocks as ``block1.layer.0``, ``convShortcut``  |
| akamaster's, kuangliu's     | under ``state_dict`` or ``net``, behind ``module.``         |
| Barlow Twins, DINO          | at the top, without a head                                  |
| Barlow Twins, training      | under ``model``, behind ``module.backbone.``                |
| BYOL                        | under ``online_backbone``, behind ``module.``               |
| DINO, training              | under ``teacher`` (and ``student``), ``backbone.``          |
| MoCo                        | under ``state_dict``, behind ``module.encoder_q.``          |
| MoCo v3                     | under ``state_dict``, behind ``module.base_encoder.``       |
| SimSiam, SupCon             | under ``state_dict`` or ``model``, ``module.encoder.``      |
| SwAV                        | at the top, behind ``module.``                              |
| solo-learn                  | under ``state_dict``, ``backbone.``, ``momentum_backbone.`` |
| lightly                     | under ``state_dict``, ``backbone.`` and modules by number   |
| torch.compile               | behind ``_orig_mod.``                                       |

Rather than by this list, it is found by the names of the backbone's own tensors: a prefix behind
which most of them are, by their own names or by one of `SPELLINGS`. Of a network and its copies
the one is taken that is meant to be used: a moving average, or else what is no momentum copy.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

Spelling = Callable[[str], str]
_SHORTCUTS: Final = (r"\.shortcut\.([01])\.", r".downsample.\1.")  # kuangliu's ResNets
Place = tuple[str, str]  # the keys that lead to a dict of tensors, and a prefix in it


def _spelling(*pairs: tuple[str, str]) -> Spelling:
    compiled = [(re.compile(pattern), ours) for pattern, ours in pairs]

    def ours(name: str) -> str:
        for pattern, replacement in compiled:
            name = pattern.sub(replacement, name)
        return name

    return ours


def _numbered(first: int) -> Spelling:
    """A ResNet as a Sequential of its children: the stages from number ``first`` on."""
    stages = [(rf"^{first + stage}\.", f"layer{stage + 1}.") for stage in range(4)]
    return _spelling((r"^0\.", "conv1."), (r"^1\.", "bn1."), *stages, _SHORTCUTS)


_WRAPPERS: Final = (r"(?<=\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.", "")

SPELLINGS: Final[tuple[Spelling, ...]] = (
    _spelling(_WRAPPERS),
    # timm's norm behind the pooling is ours before it
    _spelling((r"^head\.norm\.", "norm_pre.")),
    # torchvision's old files of DenseNet have points in names that modules may no longer have
    _spelling((r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2")),
    # wide residual networks: the energy paper's; others name stages and shortcuts as ResNets do
    _spelling(
        (r"^(block\d)\.layer\.", r"\1."),
        (r"^layer(\d)\.", r"block\1."),
        (r"\.(?:convShortcut|shortcut\.0|downsample\.0)\.", ".shortcut."),
        (r"^bn\.", "bn1."),
    ),
    _spelling(_SHORTCUTS),
    _numbered(4),  # torchvision's children: ReLU and pooling have numbers too
    _numbered(2),  # lightly's own: they have none
)
"""Other names that public code gives the tensors of our backbones, each a rewriting to ours."""

_ENOUGH: Final = 0.5  # of the votes of the fullest place: what has fewer is no such network
_DEEPEST: Final = 8
_AVERAGES: Final = frozenset(("ema", "swa", "avg", "average", "averaged", "teacher"))
_COPIES: Final = frozenset(("momentum", "target", "student", "k"))
_NO_HEAD: Final = re.compile("proj|predict|prototype|queue|momentum|decod|rotation|jigsaw")
_USUAL_HEADS: Final = ("fc", "linear", "classifier", "head", "logits", "output", "last_linear")


@dataclass(frozen=True, eq=False)
class StoredNetwork:
    """One network of a checkpoint.

    Attributes:
        tensors: by the wanted names where a spelling gives them, else by their own behind the
            prefix.
        where: keys and prefix that lead to it, joined by points; empty for the top.
        others: what else the checkpoint holds, by the first parts of the names.
        heads: linear layers on its features by name, inside it or beside it: weight and bias.
        beside: tensors that stand where the prefix begins, such as a normalisation.
        copies: other networks of the same names, which were not taken.
    """

    tensors: dict[str, Tensor]
    where: str
    others: tuple[str, ...]
    heads: dict[str, tuple[Tensor, Tensor | None]]
    beside: dict[str, Tensor]
    copies: tuple[str, ...] = ()


def network_in(
    content: Mapping[str, Any],
    names: Collection[str],
    *,
    key: str | None = None,
    num_features: int | None = None,
) -> StoredNetwork:
    """The network with tensors of these names.

    Args:
        content: a checkpoint as read, dicts in dicts.
        names: of the tensors of the network that is wanted.
        key: keys and prefix that lead to the network, or the first of them; None finds it.
        num_features: what a head takes; None looks for no head.

    Returns:
        The network, with tensors of other names too where they stand behind the same prefix.

    Raises:
        ValueError: where nothing in it has such names, or several networks have.
    """
    folders = dict(_folders(content))
    found = _candidates(folders, frozenset(names))
    if not found:
        top = ", ".join(sorted(map(str, content))[:6])
        told = f"it holds {top or 'nothing'}"
        raise ValueError(f"no tensor in it has the name of one of the network's; {told}")
    place, copies = _chosen(found, key, frozenset(names))
    (folder, prefix), tensors = place, found[place]
    where = f"{folder}{prefix}"
    behind = {name for name in folders[folder] if name.startswith(prefix)}
    parent = prefix.removesuffix(".").rpartition(".")[0]
    parent = f"{parent}." if parent else ""
    beside = {
        name.removeprefix(parent): tensor
        for name, tensor in folders[folder].items()
        if prefix and name.startswith(parent) and name not in behind
    }
    unnamed = {name: one for name, one in tensors.items() if name not in names}
    heads = _heads(unnamed, num_features) or _heads(beside, num_features)
    others = _others(folders, folder, behind)
    return StoredNetwork(tensors, where.removesuffix("."), others, heads, beside, copies)


def _folders(
    content: Mapping[str, Any], above: str = "", depth: int = 0
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dict with tensors in it, by the keys that lead there."""
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield above, tensors
    for key, value in content.items():
        if isinstance(value, Mapping) and depth < _DEEPEST:
            yield from _folders(value, f"{above}{key}.", depth + 1)


def _candidates(
    folders: Mapping[str, Mapping[str, Tensor]], names: frozenset[str]
) -> dict[Place, dict[str, Tensor]]:
    """Where a network of these names may be -> its tensors, by the spelling that fits best."""
    votes: dict[Place, Counter[int]] = {}
    for folder, tensors in folders.items():
        for key in tensors:
            for number, prefix in _prefixes(key, names):
                votes.setdefault((folder, prefix), Counter())[number] += 1
    if not votes:
        return {}
    best = {place: of_place.most_common(1)[0] for place, of_place in votes.items()}
    most = max(count for _, count in best.values())
    return {
        (folder, prefix): {
            _named(key.removeprefix(prefix), SPELLINGS[number], names): tensor
            for key, tensor in folders[folder].items()
            if key.startswith(prefix)
        }
        for (folder, prefix), (number, count) in best.items()
        if count >= _ENOUGH * most
    }


def _prefixes(key: str, names: frozenset[str]) -> Iterator[tuple[int, str]]:
    """By spelling, what stands before the longest end of ``key`` that is one of the names."""
    starts = [0, *(point.end() for point in re.finditer(r"\.", key))]
    for number, spelling in enumerate(SPELLINGS):
        for start in starts:
            if key[start:] in names or spelling(key[start:]) in names:
                yield number, key[:start]
                break


def _named(name: str, spelling: Spelling, names: frozenset[str]) -> str:
    """A name as ours; one that has none of ours stays."""
    other = spelling(name)
    return name if name in names or other not in names else other


def _chosen(
    found: Mapping[Place, Mapping[str, Tensor]], key: str | None, names: frozenset[str]
) -> tuple[Place, tuple[str, ...]]:
    """The network that is meant, and where the others are."""
    wheres = {place: "".join(place).removesuffix(".") for place in found}
    told = ", ".join(sorted(where or "the top" for where in wheres.values()))
    left = list(found)
    if key is not None:
        wanted = key.removesuffix(".")
        exact = [place for place in left if wheres[place] == wanted]
        left = exact or [p for p in left if f"{wheres[p]}.".startswith(f"{wanted}.")]
        if not left:
            raise ValueError(f"model.weights_key: {key!r} leads to none of its networks: {told}")
    rank = max(_rank(wheres[place]) for place in left)
    left = [place for place in left if _rank(wheres[place]) == rank]
    if any(not _same(found[left[0]], found[other]) for other in left[1:]):
        most = max(len(names & found[place].keys()) for place in left)
        if most < _ENOUGH * len(names):
            rule = f"no more than {most} of the network's {len(names)} tensors are in one place"
            raise ValueError(f"{rule} of it by their names ({told})")
        raise ValueError(
            f"it holds {len(found)} such networks, {told}; name the one that is meant in "
            "model.weights_key"
        )
    copies = tuple(sorted(where for place, where in wheres.items() if place != left[0]))
    return left[0], copies


def is_average(where: str) -> bool:
    """Whether a network's place is named after a moving average."""
    return _rank(where) == 2


def _rank(where: str) -> int:
    """2 for a moving average, 0 for a momentum copy, 1 for any other network."""
    words = set(re.split(r"[._]", where.lower()))
    return 0 if words & _COPIES else 2 if words & _AVERAGES else 1


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def _heads(
    tensors: Mapping[str, Tensor], num_features: int | None
) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Linear layers on the features by name: those with a usual name, or else the only one."""
    found = {
        name.removesuffix(".weight"): (one, tensors.get(f"{name.removesuffix('weight')}bias"))
        for name, one in tensors.items()
        if name.endswith(".weight") and one.ndim == 2 and one.shape[1] == num_features
        if not _NO_HEAD.search(name.lower()) and _rank(name)
    }
    usual = {n: one for n, one in found.items() if n.rpartition(".")[2] in _USUAL_HEADS}
    return usual or (found if len(found) == 1 else {})


def _others(
    folders: Mapping[str, Mapping[str, Tensor]], taken: str, names: Collection[str]
) -> tuple[str, ...]:
    """First parts of the names of all other tensors, each once."""
    found = []
    for folder, tensors in folders.items():
        for key in tensors:
            if folder != taken or key not in names:
                found.append(_short(f"{folder}{key}"))
    return tuple(dict.fromkeys(found))


def _short(name: str) -> str:
    parts = name.split(".")
    kept = parts[:3] if "module" in parts[:2] else parts[:2]
    return ".".join(kept) + (".*" if len(parts) > len(kept) else "")
