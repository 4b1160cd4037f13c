"""Public networks on lossless images, through a study of detectors and its final test.

The numbers are those of the development data's README: a plain script, 1,000 test images and 500
of CIFAR-100's flowers, ID positive, the lowest threshold that keeps 95 % of ID. They hold to the
digits that are given there, the last one by one at most.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from analysis.__main__ import main as analysis_command
from study.cli import main as study_command
from tests.integration.runs import PROJECT, Shell

# Network -> accuracy, AUROC and FPR95 of MSP, and of energy.
KNOWN = {
    "resnet20": (0.915, 0.8936, 0.6180, 0.9241, 0.4480),
    "resnet32": (0.928, 0.8796, 0.6580, 0.9034, 0.4580),
    "resnet44": (0.933, 0.8851, 0.5960, 0.8986, 0.4920),
    "resnet56": (0.926, 0.8844, 0.6040, 0.9095, 0.4500),
}
SPACE = """\
recipe: baselines
data: {{leaks: drop}}   # CIFAR-100 has near-duplicates between its training and test images
model: {{backbone: {network}, init: {file}}}
search:
  detector: {{choice: [msp, energy]}}
tune: {{searcher: grid, scheduler: none, num_trials: 2}}
select: {{floor: {{id_accuracy: {{at_least: 0}}}}}}
"""


@pytest.mark.parametrize(
    "network", ["resnet20", *(pytest.param(one, marks=pytest.mark.slow) for one in [*KNOWN][1:])]
)
def test_public_network_on_lossless_images_has_its_known_numbers(
    network: str, shared_data: Path, tmp_path: Path
) -> None:
    file = shared_data / "weights" / f"{network}_cifar10_public.th"
    if not file.exists() or not (shared_data / "lossless").is_dir():
        pytest.skip("the lossless images or the public networks are not here")
    (tmp_path / "space.yaml").write_text(SPACE.format(network=network, file=file))
    caches = {name: str(tmp_path / name) for name in ("OOD_STUDY_CACHE", "OOD_STUDY_STATE")}
    env = {**os.environ, **caches, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
    shell = Shell(tmp_path, env, shared_data / "lossless")
    begin = ("--space", "space.yaml", "--data-root", "data", "--out", "run")
    code, _ = shell.without_ray(study_command, *begin)
    assert code == 0, shell.told()
    code, _ = shell.without_ray(analysis_command, "test", "run")
    assert code == 0, shell.told()
    table = pd.read_parquet(tmp_path / "run" / "final_test" / "results.parquet")
    rows = table[(table["model"] == "winner") & (table["dataset"] == "cifar100_flowers")]
    by_score = rows.set_index("score")
    accuracy, *numbers = KNOWN[network]
    found = [
        by_score.loc[score, metric] for score in ("msp", "energy") for metric in ("auroc", "fpr95")
    ]
    assert found == pytest.approx(numbers, abs=1e-4)  # a logit's last bit may round one up or down
    assert round(float(by_score["id_accuracy"].iloc[0]), 4) == accuracy
    base = json.loads((tmp_path / "run" / "manifest.json").read_text())["base"]
    assert base["from_file"]["file"] == str(file.resolve())
    assert base["from_file"]["head"] == "linear"
    assert base["from_file"]["layout"] == "state_dict.module"
    assert base["saw_validation"] is True
