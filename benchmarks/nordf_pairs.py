"""Pairs per second of NORD-F's one-forward step, beside the two forwards of the public code.

    python benchmarks/nordf_pairs.py

Claim: at batches of 32 images and more, one forward of B images for their B - 1 pairs trains at
least 1.8 times the pairs per second of the straightforward loop, which sends B first and B second
images through the model for B pairs. Both train the same NORD-F on a ResNet-20 with the same loss
(similarity, cross-entropy, L1 reconstruction) and Adam, with the gradient reversal on, over
batches that lie ready in memory as floats; what making a batch costs (twice as much for the
straightforward loop) is left out.

One process; within a round the two take turns step by step, every other time in the other order;
the ratio is taken within a round. The interval of the median ratio is that of order statistics,
95 % (the range below six rounds). Takes about two minutes.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from common import (
    IMAGE_SIZE,
    NUM_CLASSES,
    Spread,
    options,
    print_table,
    say_how,
    study_data,
    verdict,
)
from scipy.stats import binom
from torch import Tensor, nn
from torch.nn import functional

from study.data.batches import Batch, training_batches
from study.data.images import ImageSet
from study.data.order import Sampling
from study.data.pairs import image_weights
from study.losses.similarity import Similarity
from study.models.nordf import NordF
from study.models.registry import build_backbone

TARGET = 1.8
BATCH_SIZE, IMAGES, ROUNDS = 128, 512, 11
QUICK_BATCH_SIZE, QUICK_IMAGES = 8, 16
REVERSAL, LR = 0.1, 1e-3

Step = Callable[[NordF, Similarity], tuple[Tensor, int]]


def one_forward(batch: Batch) -> Step:
    """The project's step: each image once, weighted by its pairs."""
    pairs = batch.pairs
    assert pairs is not None

    def step(model: NordF, similarity: Similarity) -> tuple[Tensor, int]:
        out = model.branches(batch.images, reversal=REVERSAL)
        first, second = pairs.T
        different = batch.labels[first] != batch.labels[second]
        pair_loss = similarity(out.upper[first], out.upper[second], different)["per_pair"]
        weights = image_weights(pairs, batch.num_id)
        classes = functional.cross_entropy(out.logits, batch.labels, reduction="none")
        assert out.reconstruction is not None
        pixels = (out.reconstruction - batch.images).abs().mean(dim=(1, 2, 3))
        return pair_loss.mean() + (weights * (classes + pixels)).sum(), len(pairs)

    return step


def two_forwards(first: Batch, second: Batch) -> Step:
    """The straightforward step: the first images of all pairs, then the second ones."""

    def half(model: NordF, batch: Batch) -> tuple[Tensor, Tensor]:
        out = model.branches(batch.images, reversal=REVERSAL)
        assert out.reconstruction is not None
        pixels = functional.l1_loss(out.reconstruction, batch.images)
        return out.upper, functional.cross_entropy(out.logits, batch.labels) + pixels

    def step(model: NordF, similarity: Similarity) -> tuple[Tensor, int]:
        upper_1, loss_1 = half(model, first)
        upper_2, loss_2 = half(model, second)
        different = first.labels != second.labels
        pair_loss = similarity(upper_1, upper_2, different)["per_pair"].mean()
        return pair_loss + (loss_1 + loss_2) / 2, first.num_id

    return step


def full_batches(train: ImageSet, batch_size: int) -> Iterator[Batch]:
    """Batches of ``batch_size`` images, epoch after epoch."""
    sampling = Sampling(batch_size, augment="crop_flip", same_share=0.5)
    for epoch in itertools.count(1):
        made = training_batches(train, sampling, seed=0, epoch=epoch, channels_last=True)
        yield from (batch for batch in made if batch.num_id == batch_size)


class Trainer:
    """A fresh model with its optimizer, and the clock of its steps."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            backbone = build_backbone("resnet20", dropout=0.0, image_size=IMAGE_SIZE, seed=0)
            model = NordF(backbone, NUM_CLASSES, image_size=IMAGE_SIZE)
        self.model = model.to(memory_format=torch.channels_last)
        self.similarity = Similarity()
        parameters: list[nn.Parameter] = [*model.parameters(), *self.similarity.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=LR)
        self.seconds, self.num_pairs = 0.0, 0

    def train(self, step: Step) -> None:
        """One optimizer step."""
        begun = time.perf_counter()
        loss, num_pairs = step(self.model, self.similarity)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.seconds += time.perf_counter() - begun
        self.num_pairs += num_pairs


def measure(ways: dict[str, Sequence[Step]], rounds: int) -> dict[str, list[float]]:
    """Pairs per second of every way and round; within a round the ways take turns by step."""
    for steps in ways.values():
        Trainer().train(steps[0])
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        trainers = {name: Trainer() for name in ways}
        for number, steps in enumerate(zip(*ways.values(), strict=True)):
            turn = list(zip(trainers.values(), steps, strict=True))
            for trainer, step in turn if number % 2 == 0 else reversed(turn):
                trainer.train(step)
        for name, trainer in trainers.items():
            rates[name].append(trainer.num_pairs / trainer.seconds)
    return rates


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the median by order statistics; the range of fewer than six values."""
    ordered = sorted(values)
    place = max(1, int(binom.ppf(0.025, len(ordered), 0.5)))
    return ordered[place - 1], ordered[-place]


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, data=True)
    parser.add_argument("--threads", type=int, default=1, help="a trial's threads (default 1)")
    parser.add_argument("--batch-size", type=int, help=f"images (default {BATCH_SIZE})")
    given = parser.parse_args()
    rounds = given.rounds or (1 if given.quick else ROUNDS)
    batch_size = given.batch_size or (QUICK_BATCH_SIZE if given.quick else BATCH_SIZE)
    num_steps = max(2, (QUICK_IMAGES if given.quick else IMAGES) // batch_size)
    torch.set_num_threads(given.threads)
    train = study_data(given.data_root, share=0.05).train.images
    batches = full_batches(train, batch_size)
    ways: dict[str, Sequence[Step]] = {
        "one forward": [one_forward(next(batches)) for _ in range(num_steps)],
        "two forwards": [two_forwards(next(batches), next(batches)) for _ in range(num_steps)],
    }
    facts = f"{given.threads} thread(s), {rounds} rounds of {num_steps} batches of {batch_size}"
    say_how(["torch"], f"{facts} images, ResNet-20")
    rates = measure(ways, rounds)
    rows = [["way", "pairs/s"]]
    rows += [[name, Spread(values).text(0)] for name, values in rates.items()]
    print_table(rows)
    ratios = [one / two for one, two in zip(*rates.values(), strict=True)]
    median, (low, high) = Spread(ratios).median, median_interval(ratios)
    print(f"\none forward / two forwards: {median:.3f}, 95 % interval {low:.3f} to {high:.3f}")
    if not given.quick:
        print(f"target {TARGET}: {verdict(median >= TARGET)}")


if __name__ == "__main__":
    main()
