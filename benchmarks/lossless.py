"""Fourteen post-hoc detectors on public networks and lossless images.

    python benchmarks/lossless.py --data-root ../shared/data
    python benchmarks/lossless.py --data-root ../shared/data --networks resnet20 resnet56

ID: CIFAR-10's lossless images, 1,000 of its test; OOD: 500 test images of CIFAR-100's flowers.
Detectors have the parameters of their papers, nothing is chosen; what they fit is of 1,800
training images, which the networks have seen. Intervals: percentile bootstrap over images, ID and
OOD apart, 95 %. ``docs/results.md`` has the last run; MSP and energy are those of the golden table
(``tests/golden/test_lossless.py``). Half a minute a network on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from common import print_table

from analysis.statistics.compare import compare
from study.bases.base_models import loaded_base
from study.bases.training import BaseSpec
from study.data.file_formats import read_source
from study.data.plan import make_plan
from study.data.section import DataSection
from study.data.sources import Source
from study.detectors.catalog import SHIPPED
from study.recipes.baselines_params import OWN_SCORE
from study.recipes.registry import make_recipe
from study.training.evaluation import evaluate_sets

NETWORKS = ("resnet20", "resnet32", "resnet44", "resnet56")
ID, OOD = "cifar10", "flowers"


def measured(root: Path, network: str) -> list[list[str]]:
    """A row a detector: its name, AUROC and FPR95, each with its interval."""
    lossless, cpu = root / "lossless", torch.device("cpu")
    section = DataSection()
    data = make_plan(section, "cifar10", lossless).load_study(section)
    tested = {
        name: read_source(Source(name, "parquet", str(lossless / file)))
        for name, file in {
            ID: "cifar10/test.parquet",
            OOD: "ood_test/cifar100_flowers.parquet",
        }.items()
    }
    file = root / "weights" / f"{network}_cifar10_public.th"
    found = loaded_base(file, BaseSpec(network, 0.0, {}, 0, init=str(file)), data)
    if found is None:
        raise SystemExit(f"{file}: holds no classifier")
    found.model.to(memory_format=torch.channels_last).eval()
    models = {}
    for name in SHIPPED:
        recipe = make_recipe("baselines", {"detector": name})
        fitted = recipe.fit(found.model, data, cpu)
        scored = evaluate_sets(recipe, found.model, tested[ID], {OOD: tested[OOD]}, cpu, fitted)
        models[name] = scored.as_epoch(1, id_name=ID).sets
    table = compare(models, id_name=ID)
    rows = table[(table["score"] == OWN_SCORE) & (table["dataset"] == OOD)].set_index("model")
    accuracy = 100 * rows["id_accuracy"].iloc[0]
    sizes = f"{rows['n_id'].iloc[0]:,} ID and {rows['n_ood'].iloc[0]:,} OOD images"
    print(f"\n{network}, accuracy {accuracy:.1f} %, {sizes}, fitted on {len(data.train.images):,}")
    return [
        [
            str(name),
            *(
                f"{100 * row[m]:.1f} [{100 * row[f'{m}_low']:.1f}, {100 * row[f'{m}_high']:.1f}]"
                for m in ("auroc", "fpr95")
            ),
        ]
        for name, row in rows.sort_values("fpr95").iterrows()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    options = parser.parse_args()
    for network in options.networks:
        rows = measured(options.data_root, network)
        print_table([["detector", "AUROC, %", "FPR95, %"], *rows])


if __name__ == "__main__":
    main()
