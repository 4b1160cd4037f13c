"""manifest.json: with what a study was made: code, versions, machine, data, base, command."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from study.errors import BadInput, Fault
from study.records.files import RunFolder, write_bytes, write_json
from study.records.shapes import OF_MANIFEST, misshapen

CODE_DIFF = "code.diff"  # beside the manifest: what the code had beyond its commit
_PACKAGES = (
    "ray", "torch", "torchvision", "timm", "optuna", "numpy", "pandas", "pyarrow", "scipy",
    "scikit-learn", "pillow", "safetensors", "pydantic",
)  # fmt: skip
_CODE = ("*.py", "*.yaml", "*.yml", "*.toml")  # untracked files that count as code
# Variables that change numbers, threads, devices or where Ray and the project keep things.
_ENVIRONMENT = re.compile(
    r"(OMP|MKL|KMP|OPENBLAS|BLIS|NUMEXPR|CUDA|CUBLAS|CUDNN|NVIDIA|NCCL|TORCH|PYTORCH|RAY|TUNE"
    r"|OOD_STUDY)_|(PYTHONHASHSEED|PYTHONPATH|LD_PRELOAD|TZ|LANG|LC_ALL)$"
)
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|KEY|CREDENTIAL|AUTH", re.IGNORECASE)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_state() -> dict[str, Any]:
    """Commit of the code and the files that differ from it; empty outside a checkout."""
    commit = _git("rev-parse", "HEAD") if _is_tracked() else None
    if commit is None:
        return {"commit": None, "dirty": None, "changed": []}
    changed = (_git("status", "--porcelain", "--", _top()) or "").splitlines()
    return {"commit": commit, "dirty": bool(changed), "changed": changed}


def code_diff() -> str:
    """What the code has beyond its commit, as a patch; empty outside a checkout.

    Changes of tracked files of the project, and untracked files that are code. Nothing outside
    the project's folder, nothing that git ignores, and the checkout's own index stays as it is.
    """
    index = _git("rev-parse", "--path-format=absolute", "--git-path", "index")
    if not _is_tracked() or index is None:
        return ""
    with tempfile.TemporaryDirectory(prefix="index-") as folder:
        copy = Path(folder) / "index"
        if Path(index).exists():
            shutil.copy2(index, copy)  # with its time, by which git knows what to look into
        ours = [f":(glob){_top()}/**/{pattern}" for pattern in _CODE]
        new = _git("ls-files", "--others", "--exclude-standard", "-z", "--full-name", "--", *ours)
        paths = [f":(top,literal){name}" for name in (new or "").split("\0") if name]
        if paths:
            _git("add", "--intent-to-add", "--", *paths, index=copy)
        return _git("diff", "HEAD", "--no-color", "--no-ext-diff", "--", _top(), index=copy) or ""


def _top() -> str:
    """The project's folder: the one that holds the package."""
    return str(Path(__file__).resolve().parents[2])


def _is_tracked() -> bool:
    """Whether git knows this very file: a package installed below some checkout is not of it."""
    return _git("ls-files", "--error-unmatch", Path(__file__).name) is not None


def _git(*arguments: str, index: Path | None = None) -> str | None:
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    environment = dict(os.environ) | ({"GIT_INDEX_FILE": str(index)} if index else {})
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=10, check=True,
            env=environment,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.rstrip("\n")


def hardware() -> dict[str, Any]:
    """Processor, cores, memory in bytes and GPUs of the driver's machine."""
    import psutil  # this room is torch-free for those that only read
    import torch

    return {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "num_cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),  # picks torch's kernels
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }


def threads() -> dict[str, int]:
    """Threads of the driver; those of a trial are in the ledger's event ``session``."""
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"driver": torch.get_num_threads(), "usable_cpus": usable or 1}


def environment() -> dict[str, str]:
    """The variables that matter; none whose name says that it holds a secret."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if _ENVIRONMENT.match(name) and not _SECRET.search(name)
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def made_now(command: str, diff: str = "") -> dict[str, Any]:
    """The part of a manifest that the machine and the moment decide.

    Args:
        command: as it was typed.
        diff: `code_diff`, whose hash is noted; its text belongs into the file `CODE_DIFF`.
    """
    return {
        "command": command,
        "created": datetime.now(UTC).isoformat(),
        "python": sys.executable,
        "versions": versions(),
        "git": git_state() | {"diff_sha256": hashlib.sha256(diff.encode()).hexdigest()},
        "hardware": hardware(),
        "threads": threads(),
        "environment": environment(),
    }


def read_manifest(run: RunFolder) -> dict[str, Any]:
    """manifest.json.

    Raises:
        BadInput: where it cannot be read.
    """
    try:
        content: dict[str, Any] = json.loads(run.manifest.read_text())
    except (OSError, ValueError) as error:
        rule = f"cannot be read ({error})"
        raise BadInput(Fault(str(run.manifest), "", rule, "Restore it from a copy.")) from error
    if faults := misshapen(run.manifest, content, OF_MANIFEST):
        raise BadInput(faults)
    return content


def manifest_entry(run: RunFolder, *keys: str) -> Any:
    """An entry of manifest.json, by the keys that lead to it.

    Raises:
        BadInput: where the manifest cannot be read, or has no such entry.
    """
    entry: Any = read_manifest(run)
    for key in keys:
        if not isinstance(entry, dict) or key not in entry:
            rule = "is not there, so this is no manifest of a study that can be read"
            fault = Fault(str(run.manifest), ".".join(keys), rule, "Restore it from a copy.")
            raise BadInput(fault)
        entry = entry[key]
    return entry


def note_session(run: RunFolder, command: str) -> list[str]:
    """Add a later session to the manifest, its code's diff beside the first where it is another.

    Returns:
        What differs from the study's beginning, as "name: then -> now".

    Raises:
        BadInput: where the manifest cannot be read, or does not tell of the beginning.
    """
    manifest = read_manifest(run)
    diff = code_diff()
    now = made_now(command, diff)
    try:
        differs = changed_machine(manifest)
        then, git = manifest["git"], now["git"]
        pairs = {key: (then[key], git[key]) for key in ("commit", "diff_sha256")}
    except KeyError as error:
        rule = f"does not tell how the study began: {error} is missing"
        raise BadInput(Fault(str(run.manifest), "", rule, "Restore it from a copy.")) from error
    if pairs["diff_sha256"][0] != git["diff_sha256"]:
        write_bytes(run.path / f"{git['diff_sha256'][:8]}.{CODE_DIFF}", diff.encode())
    manifest.setdefault("resumed", []).append(now)
    write_json(run.manifest, manifest)
    return differs + [
        f"code, {key}: {str(old)[:8]} -> {str(new)[:8]}"
        for key, (old, new) in pairs.items()
        if old != new
    ]


def changed_machine(manifest: dict[str, Any]) -> list[str]:
    """Versions and hardware that are not those of the manifest, as "name: then -> now"."""
    pairs = {f"version of {k}": (manifest["versions"].get(k), v) for k, v in versions().items()}
    then = manifest["hardware"]
    pairs |= {f"hardware, {k}": (then.get(k), v) for k, v in hardware().items() if k in then}
    return [f"{name}: {old} -> {new}" for name, (old, new) in pairs.items() if old != new]
