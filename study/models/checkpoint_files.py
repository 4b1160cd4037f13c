"""A checkpoint as it lies on disk, read without running what a pickle may hold.

torch's own reader for weights makes tensors and plain data alone. Training scripts keep more than
that: numpy numbers, bags of options, whole networks. What is of another library becomes an inert
stand-in, for which nothing is imported and nothing is called; a file that names functions of
Python itself or of the system is refused.
"""

from __future__ import annotations

import pickle
import re
import sys
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from study.contents import PICKLE, SAFETENSORS, ZIP, kind_of
from study.errors import BadInput, Fault
from study.models.weights import load_weights

_WAY_OUT: Final = (
    "Take the file again from where it came. If you trust it, keep its weights alone: "
    "torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'weights.pth')."
)
_TORCHS: Final = (ZIP, PICKLE)  # torch's own format, and that until 2020
_PARTS: Final = ("_parameters", "_buffers", "_modules")  # of a pickled torch.nn.Module
# Of Python's own: types of data, which options are made of. No function is among them.
_DATA: Final = frozenset(
    (
        *("argparse.Namespace", "types.SimpleNamespace", "collections.defaultdict"),
        *("pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath", "pathlib.Path"),
        *("pathlib._local.PosixPath", "datetime.datetime", "datetime.date", "datetime.timedelta"),
        *("builtins.set", "builtins.frozenset", "builtins.slice", "builtins.complex"),
        *("builtins.dict", "builtins.list", "builtins.int", "builtins.float", "builtins.str"),
    )
)


class _Inert:
    """In the place of an object of numpy: takes whatever it is given and keeps nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        """Pass over it."""


class _Bag:
    """In the place of any other object: an empty dict that keeps its items and attributes."""

    def __new__(cls, *_: Any) -> OrderedDict[str, Any]:  # type: ignore[misc]
        """An ordered dict, the one kind that torch's reader gives both items and attributes."""
        return OrderedDict()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A safetensors or pickled file as it is, whatever its suffix; see the module's text.

    Args:
        path: holds dicts, lists or a pickled network, with tensors anywhere below.

    Returns:
        What is in it by its keys, tensors on the CPU; of a pickled network the tensors by the
        names of its modules.

    Raises:
        BadInput: naming the file, if it is missing, torn, would run code, or holds no weights.
    """
    kind = kind_of(path)
    if kind == SAFETENSORS or (path.suffix == ".safetensors" and kind not in _TORCHS):
        return dict(load_weights(path)[0])
    if kind and kind not in _TORCHS:
        rule = f"cannot be read as weights (it is {kind})"
        raise BadInput(Fault(str(path), "", rule, "Take the file again from where it came."))
    try:
        with torch.serialization.safe_globals(_stand_ins(path)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols: what is wrong is an error
            with path.open("rb") as file:  # by its name torch would go by the suffix
                content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        rule = "cannot be read as weights: it is torn, or reading it could run code (refused)"
        named = re.search(r"GLOBAL (\S+)", str(error))
        told = f"{rule}; it names {named[1]}" if named else rule
        raise BadInput(Fault(str(path), "", told, _WAY_OUT)) from error
    # A pickle that was tampered with ends in almost any error of the reader's.
    except Exception as error:
        # its first sentence: what torch says then advises to read the file unsafely
        first = re.split(r"\n|(?<=\.)\s", str(error))[0]
        rule = f"cannot be read as weights ({type(error).__name__}: {first})"
        raise BadInput(Fault(str(path), "", rule, _WAY_OUT)) from error
    plain = _plain(content)
    if not isinstance(plain, dict):
        rule = f"holds {type(content).__name__}, and not a dict of weights"
        raise BadInput(Fault(str(path), "", rule, _WAY_OUT))
    return plain


def _stand_ins(path: Path) -> list[Any]:
    """What the file names beside what torch reads, each with the stand-in that it gets."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:
        return []  # torch's format until 2020, or none: the reader will tell
    return [(_stand_in(name), name) for name in names if _is_data(name)]


def _is_data(name: str) -> bool:
    """Whether a name may be of data: it is no function of Python's own."""
    module = name.partition(".")[0]
    return name in _DATA or (module not in sys.stdlib_module_names and module != "__builtin__")


def _stand_in(name: str) -> type:
    """A class of its own for each name: torch knows them apart by the class."""
    return type("StandIn", (_Inert if name.startswith("numpy") else _Bag,), {})


def _plain(content: Any) -> Any:
    """Dicts by text, lists by number, of pickled networks the tensors by their whole names."""
    if isinstance(content, Mapping):
        attributes = getattr(content, "__dict__", {})
        if any(part in attributes for part in _PARTS):
            inside: dict[str, Any] = {}
            for part in _PARTS:
                for name, value in _plain(attributes.get(part) or {}).items():
                    below = value.items() if isinstance(value, dict) else ()
                    inside |= {f"{name}.{inner}": one for inner, one in below} or {name: value}
            return inside
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return {str(index): _plain(value) for index, value in enumerate(content)}
    if isinstance(content, torch.Tensor) and content.layout != torch.strided:
        return content.to_dense()
    return content
