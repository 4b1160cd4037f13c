"""Golden studies driven from outside: a copy of a checkout, its command line, what is on disk.

Nothing here imports the project, so that any version of it can be driven.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SPACES = HERE / "spaces"
RUNS = HERE / "runs"
AS_FINISHED = "as_finished.txt"
STUDIES = ("energy", "nordf", "ablation")
WALL_CLOCK = ("time_s", "images_per_s")  # metrics that no two runs share
# Enough trials for TPE to ask by what it has seen, and a rung to cut at after every epoch.
_LONGER = ("tune.num_trials=12", "tune.grace_epochs=1", "tune.reduction_factor=2")
# The golden studies with a backbone that every version has, for what is compared on one machine.
SHIPPED = {
    name: (
        "model.backbone=resnet20",
        "base.epochs=2",
        "base.epoch_images=512",
        "base.lr=0.05",
        "train.epoch_images=64",
        *more,
    )
    for name, more in {
        "energy": _LONGER,
        "nordf": ("train.perceptual_layers=[layer1, layer2]",),
        "ablation": (),
    }.items()
}
# The same with one that forgives rounding, for what is compared with another machine's numbers.
SMOOTH = {
    name: ("model.backbone=smooth", "base.epochs=8", "base.lr=0.02", *more)
    for name, more in {
        "energy": _LONGER,
        "nordf": ("train.perceptual_layers=[conv1, conv2]", "train.norm=group"),
        "ablation": (),
    }.items()
}
_CODE = ("study", "analysis", "run_study.py")
_PATIENCE_S = 300


def recorded(name: str, folder: Path) -> Path:
    """A copy of a golden run, whole: with what lies in the finished run of its study alone."""
    run = Path(shutil.copytree(RUNS / name, folder / name))
    if (names := run / AS_FINISHED).exists():
        for one in names.read_text(encoding="utf-8").splitlines():
            (run / one).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(RUNS / f"{name.partition('-')[0]}-finished" / one, run / one)
        names.unlink()
    return run


@dataclass(frozen=True)
class Checkout:
    """A copy of a version of the project, and its commands.

    Attributes:
        code: the copy.
        folder: where commands run and runs are written.
        python: the interpreter.
    """

    code: Path
    folder: Path
    python: str = sys.executable

    @classmethod
    def copied(cls, source: Path, folder: Path) -> Checkout:
        """Copy the code of ``source`` to ``folder/code`` as it lies there, changes and all."""
        code = folder / "code"
        code.mkdir(parents=True)
        for name in _CODE:
            if (source / name).is_dir():
                shutil.copytree(source / name, code / name)  # with what is compiled of it
            else:
                shutil.copy(source / name, code / name)
        return cls(code, folder)

    def with_backbone(self) -> Checkout:
        """Itself, once those of ``tiny.py`` are among the backbones."""
        shutil.copy(HERE / "tiny.py", self.code / "study" / "models" / "tiny.py")
        return self

    def run(
        self, *arguments: str, until: Callable[[], bool] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python ARGUMENTS``; interrupt it, as ^C does, as soon as ``until`` holds."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),  # the caches are there
            "PYTHONPATH": str(self.code),  # Ray starts workers elsewhere
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "LC_ALL": "C.UTF-8",
        }
        with (self.folder / "told.txt").open("w+") as told:
            process = subprocess.Popen(
                [self.python, *arguments],
                cwd=self.folder,
                env=environment,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=told,
                start_new_session=True,
                # A shell ignores it for what runs in the background, and children inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
            try:
                if until is not None:
                    _wait(process, until)
                    os.killpg(process.pid, signal.SIGINT)
                out, _ = process.communicate(timeout=_PATIENCE_S)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
            told.seek(0)
            return subprocess.CompletedProcess(arguments, process.returncode, out, told.read())

    def study(
        self, *arguments: str, until: Callable[[], bool] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``run_study.py``, one trial at a time."""
        script = os.path.relpath(self.code / "run_study.py", self.folder)
        return self.run(script, *arguments, until=until)

    def begin(
        self,
        name: str,
        out: str,
        *overrides: str,
        until: Callable[[], bool] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the golden studies into ``out``."""
        space = f"{name}.yaml"
        shutil.copy(SPACES / space, self.folder / space)
        arguments = ["--space", space, "--data", "demo", "--out", out, "--max-concurrent", "1"]
        if overrides:
            arguments += ["--set", *overrides]
        return self.study(*arguments, until=until)


def _wait(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not until():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the study ended before it could be interrupted")
        time.sleep(0.002)
