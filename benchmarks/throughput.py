"""Training speed inside a trial, beside a bare loop and beside the script people write today.

    python benchmarks/throughput.py --data-root ../shared/data

Claim: the energy recipe trains at least 0.95 of the images per second of a bare loop over the
same network, batches and threads. Three ways, all with a ResNet-20 of ``build_classifier``, 128 ID
images and 64 outliers a batch, SGD with Nesterov momentum:

- project: ``study.training.loop.train``, as a trial calls it; its metric images_per_s, which times
  the epoch from the first draw to the last step and leaves validation out.
- bare loop: forward, loss, backward, step over batches that lie ready in memory as floats. It
  does less than the claim compares with (it makes no batches), so the ratio is a lower bound.
- plain script: a torchvision-style Dataset over decoded images (PIL, RandomCrop, flip,
  ToTensor), a DataLoader with 2 workers each for ID images and outliers, ``.item()`` and a
  scheduler every step. Its clock starts once the workers have sent their first batch. Beside
  the training threads it keeps the workers' cores busy, which the other two leave to other
  trials.

One process; every round runs the three in turn, every other round backwards; ratios are taken
within a round. Takes about five minutes.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from common import (
    Spread,
    options,
    print_table,
    say_how,
    study_data,
    verdict,
    with_small_validation,
)
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from study.data.batches import Batch
from study.data.images import ImageSet
from study.data.roles import StudyData
from study.models.registry import build_classifier
from study.recipes.energy import EnergyRecipe
from study.recipes.energy_params import EnergyParams
from study.training.loop import Goal, train

TARGET = 0.95
STEPS, ROUNDS, WARM_UP_STEPS = 40, 5, 1
ID_IMAGES, OUTLIER_IMAGES = 128, 64
M_IN, M_OUT, ENERGY_WEIGHT, LR = -9.0, -5.0, 0.1, 1e-3
WORKERS = 2
CPU = torch.device("cpu")

Way = Callable[[StudyData, int, int], float]


def new_model(seed: int) -> nn.Module:
    """A ResNet-20 with fresh weights."""
    return build_classifier("resnet20", 10, seed=seed)


def new_recipe(steps: int) -> EnergyRecipe:
    """The energy recipe over one epoch of ``steps`` batches."""
    sizes = {"batch_size": ID_IMAGES, "outlier_batch_size": OUTLIER_IMAGES}
    epoch = {"epochs": 1, "epoch_images": steps * ID_IMAGES, "scheduler_step": "batch"}
    loss = {"m_in": M_IN, "m_out": M_OUT, "energy_weight": ENERGY_WEIGHT}
    return EnergyRecipe(EnergyParams.model_validate({**sizes, **epoch, **loss, "lr": LR}))


def project(data: StudyData, steps: int, seed: int) -> float:
    """Images per second of one epoch of the project's training."""
    goal = Goal("val/fpr95", None)
    epochs = train(new_recipe(steps), new_model(seed), data, seed=seed, goal=goal, device=CPU)
    return next(epochs).metrics["images_per_s"]


def bare_loop(data: StudyData, steps: int, seed: int) -> float:
    """Images per second of the loop alone, over the project's own batches made beforehand."""
    recipe = new_recipe(steps)
    batches: list[Batch] = list(recipe.batches(data, seed=seed, epoch=1, device=CPU))
    model = new_model(seed).to(memory_format=torch.channels_last)
    model.train()
    optimizer = new_optimizer(model)
    num_images = 0
    begun = time.perf_counter()
    for batch in batches:
        loss = energy_loss(model(batch.images), batch.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        num_images += len(batch.images)
    return num_images / (time.perf_counter() - begun)


def plain_script(data: StudyData, steps: int, seed: int) -> float:
    """Images per second of the script that people write today."""
    assert data.outliers is not None
    id_batches = loader(data.train.images, ID_IMAGES, seed)
    outlier_batches = loader(data.outliers.images, OUTLIER_IMAGES, seed + 1)
    model = new_model(seed)
    model.train()
    optimizer = new_optimizer(model)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    pairs: Iterable[Any] = zip(id_batches, outlier_batches, strict=False)
    num_images, total, begun = 0, 0.0, 0.0
    for (images, labels), (outliers, _) in itertools.islice(pairs, steps):
        begun = begun or time.perf_counter()
        both = torch.cat([images, outliers])
        loss = energy_loss(model(both), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += loss.item()
        num_images += len(both)
    return num_images / (time.perf_counter() - begun)


def new_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that the energy recipe's defaults make."""
    return torch.optim.SGD(
        model.parameters(), lr=LR, momentum=0.9, nesterov=True, weight_decay=5e-4
    )


def energy_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy and the two squared hinges (Liu et al. 2020, Eq. 7 to 9), written plainly."""
    num_id = len(labels)
    energy = -logits.logsumexp(dim=1)
    hinge_in = functional.relu(energy[:num_id] - M_IN).square().mean()
    hinge_out = functional.relu(M_OUT - energy[num_id:]).square().mean()
    classification = functional.cross_entropy(logits[:num_id], labels)
    return classification + ENERGY_WEIGHT * (hinge_in + hinge_out)


class DecodedImages(Dataset[tuple[Tensor, int]]):
    """Decoded images behind torchvision's transforms, one at a time."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        # No Normalize: it is part of the network that all three ways train.
        crop = transforms.RandomCrop(32, padding=4)
        steps = [crop, transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self.images.pixels[row])
        return self.transform(picture), int(self.images.labels[row])


def loader(images: ImageSet, batch_size: int, seed: int) -> DataLoader[tuple[Tensor, int]]:
    """A shuffling loader with worker processes."""
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(
        DecodedImages(images), batch_size, shuffle=True, num_workers=WORKERS, generator=generator
    )


WAYS: dict[str, Way] = {
    "project": project,
    "bare loop": bare_loop,
    "plain script": plain_script,
}


def measure(data: StudyData, steps: int, rounds: int) -> dict[str, list[float]]:
    """Images per second of every way and round."""
    for way in WAYS.values():
        way(data, WARM_UP_STEPS, 0)
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(rounds):
        order = list(WAYS) if number % 2 == 0 else list(reversed(WAYS))
        for name in order:
            rates[name].append(WAYS[name](data, steps, number))
    return rates


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, data=True)
    parser.add_argument("--threads", type=int, default=1, help="a trial's threads (default 1)")
    parser.add_argument("--steps", type=int, help="batches of each measurement")
    given = parser.parse_args()
    rounds = given.rounds or (1 if given.quick else ROUNDS)
    steps = given.steps or (2 if given.quick else STEPS)
    torch.set_num_threads(given.threads)
    data = study_data(given.data_root, share=0.05 if given.quick else 1.0)
    data = with_small_validation(data, 64)
    kind = "real images" if given.data_root else "random pixels"
    say_how(
        ["torch", "torchvision", "numpy"],
        f"{given.threads} thread(s), {rounds} rounds of {steps} batches of "
        f"{ID_IMAGES} + {OUTLIER_IMAGES} {kind}",
    )
    rates = measure(data, steps, rounds)
    rows = [["way", "images/s", "project / this way"]]
    for name, values in rates.items():
        ratios = [ours / other for ours, other in zip(rates["project"], values, strict=True)]
        rows.append([name, Spread(values).text(0), Spread(ratios).text(3)])
    print_table(rows)
    pairs = zip(rates["project"], rates["bare loop"], strict=True)
    median = Spread([ours / bare for ours, bare in pairs]).median
    if not given.quick:
        print(f"\n{median:.3f} of the bare loop, target {TARGET}: {verdict(median >= TARGET)}")


if __name__ == "__main__":
    main()
