"""docs/cluster.md: what it tells people to type is parsed by those who would read it."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.arguments import parse
from study.options import ResumeOptions, RunOptions

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_scripts_are_bash() -> None:
    scripts = _blocks("bash")
    assert len(scripts) == 2
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_ray_takes_the_cluster_file() -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    config: dict[str, Any] = yaml.safe_load(_blocks("yaml")[0])
    util.validate_config(util.prepare_config(config))


def test_ray_job_asks_for_one_head_and_its_workers() -> None:
    job = yaml.safe_load(_blocks("yaml")[1])
    assert job["kind"] == "RayJob"
    cluster = job["spec"]["rayClusterSpec"]
    assert {"rayStartParams", "template"} <= cluster["headGroupSpec"].keys()
    assert [group["groupName"] for group in cluster["workerGroupSpecs"]] == ["gpus"]


def _commands() -> list[list[str]]:
    text = "\n".join([*_blocks("bash"), *re.findall(r"entrypoint: (.*)", PAGE)])
    return [shlex.split(line) for line in re.findall(r"run_study\.py (.*)", text)]


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_every_command_is_one_that_the_command_line_takes(
    words: list[str], tmp_path: Path
) -> None:
    named = {"/shared/data": str(tmp_path), "$out": str(tmp_path), "$head:$port": "head:6379"}
    options = parse([named.get(word, word) for word in words])
    assert isinstance(options, RunOptions | ResumeOptions)
    assert options.address
