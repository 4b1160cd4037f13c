"""Where a checkpoint keeps the network that is wanted: layouts of self-supervised training.

Public checkpoints hold the backbone at the top or some levels down, under one prefix or several,
beside projectors, momentum copies and optimizers:

| public code            | where the backbone is                                   |
|------------------------|---------------------------------------------------------|
| torchvision, timm      | at the top, ``fc.`` beside it                           |
| Barlow Twins, DINO     | at the top, without ``fc.``                             |
| Barlow Twins, training | under ``model``, behind ``module.backbone.``            |
| BYOL                   | under ``online_backbone``, behind ``module.``           |
| DINO, training         | under ``teacher`` (and ``student``), ``backbone.``      |
| MoCo                   | under ``state_dict``, behind ``module.encoder_q.``      |
| MoCo v3                | under ``state_dict``, behind ``module.base_encoder.``   |
| SimSiam, SupCon        | under ``state_dict`` or ``model``, ``module.encoder.``  |
| SwAV                   | at the top, behind ``module.``                          |

Rather than by this list, it is found by the names of the backbone's own tensors: a prefix behind
which most of them are. Of a network and its moving copy the one is taken that its paper evaluates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

# The first of each pair is what the papers evaluate; the other is its copy.
_EVALUATED: Final = (
    ("online", "target"),
    ("teacher", "student"),
    ("encoder_q", "encoder_k"),
    ("base_encoder", "momentum_encoder"),
)
_ENOUGH: Final = 0.5  # of the votes of the fullest prefix: what has fewer is no such network
_DEEPEST: Final = 5


@dataclass(frozen=True, eq=False)
class Network:
    """One network of a checkpoint.

    Attributes:
        tensors: by the names behind its prefix.
        where: keys and prefix that lead to it, joined by points; empty for the top.
        others: what else the checkpoint holds, by the first parts of the names.
    """

    tensors: dict[str, Tensor]
    where: str
    others: tuple[str, ...]


def network_in(content: Mapping[str, Any], names: Collection[str]) -> Network:
    """The network with tensors of these names.

    Args:
        content: a checkpoint as read, dicts in dicts.
        names: of the tensors of the network that is wanted.

    Returns:
        The network, with tensors of other names too where they stand behind the same prefix.

    Raises:
        ValueError: where nothing in it has such names, or several networks have.
    """
    found = _candidates(content, frozenset(names))
    if not found:
        top = ", ".join(sorted(map(str, content))[:6])
        raise ValueError(f"no tensor in it has the name of one of the network's; it holds {top}")
    wheres = _evaluated(list(found))
    if len(wheres) > 1:
        raise ValueError(
            f"it holds {len(wheres)} such networks, {', '.join(sorted(wheres))}; save the one "
            "that is meant in a file of its own"
        )
    where = wheres[0]
    tensors = found[where]
    others = _others(content, where, set(tensors))
    return Network(tensors, where.removesuffix("."), others)


def _candidates(content: Mapping[str, Any], names: frozenset[str]) -> dict[str, dict[str, Tensor]]:
    """Where a network of these names may be -> its tensors."""
    votes: Counter[tuple[str, str]] = Counter()
    folders = dict(_folders(content))
    for folder, tensors in folders.items():
        for key in tensors:
            prefix = _prefix(key, names)
            if prefix is not None:
                votes[folder, prefix] += 1
    most = max(votes.values(), default=0)
    return {
        f"{folder}{prefix}": {
            key.removeprefix(prefix): tensor
            for key, tensor in folders[folder].items()
            if key.startswith(prefix)
        }
        for (folder, prefix), count in votes.items()
        if count >= _ENOUGH * most
    }


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


def _prefix(key: str, names: frozenset[str]) -> str | None:
    """What stands before the longest end of ``key`` that is one of the names."""
    start = 0
    while True:
        if key[start:] in names:
            return key[:start]
        point = key.find(".", start)
        if point < 0:
            return None
        start = point + 1


def _evaluated(wheres: list[str]) -> list[str]:
    """Without the copies of networks that are there too."""
    for evaluated, copy in _EVALUATED:
        if any(evaluated in where for where in wheres):
            wheres = [where for where in wheres if copy not in where]
    return wheres


def _others(content: Mapping[str, Any], where: str, taken: Collection[str]) -> tuple[str, ...]:
    """First parts of the names of all other tensors, each once."""
    found = []
    for folder, tensors in _folders(content):
        for key in tensors:
            full = f"{folder}{key}"
            if not (full.startswith(where) and full.removeprefix(where) in taken):
                found.append(_short(full))
    return tuple(dict.fromkeys(found))


def _short(name: str) -> str:
    parts = name.split(".")
    kept = parts[:3] if parts[1:2] == ["module"] or parts[:1] == ["module"] else parts[:2]
    return ".".join(kept) + (".*" if len(parts) > len(kept) else "")
