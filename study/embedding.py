"""Where images lie for a trial's network: ``python -m study.embedding RUN TRIAL --out DIR``.

A t-SNE (van der Maaten and Hinton, JMLR 2008) of the penultimate features of ID and OOD validation
images and of the mean of each ID class: a picture (embedding.png) and its points (embedding.csv).
Distances in it are no measure; it shows what lies among what. Test sets are never opened. Exit
codes: 0 done, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import csv
import io
import sys

from study import ending

if __name__ == "__main__":
    ending.listen()

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.counted import counted
from study.errors import BadInput, Fault, exit_code
from study.records.files import VAL_ID, RunFolder, write_bytes
from study.terminal import Parser

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from study.data.images import ImageSet

PROTOTYPE = "prototype"
_PERPLEXITY = 30.0
_BATCH = 256
_COLOURED = 20  # classes that are told apart, and named
_COLOURS = ("#E69F00", "#D55E00", "#CC79A7", "#000000")  # of OOD sets; Okabe and Ito's palette


@dataclass(frozen=True)
class Points:
    """Images in the plane.

    Attributes:
        of: the set that each point is of, ``VAL_ID`` for ID images, ``PROTOTYPE`` for class means.
        name: of the image, or of the class.
        label: ID class of each, -1 where there is none.
        at: (N, 2).
    """

    of: list[str]
    name: list[str]
    label: list[int]
    at: NDArray[np.float64]


def parse(argv: Sequence[str]) -> tuple[RunFolder, str, Path, int, int]:
    """Run, trial, folder for what is made, images of each set, and seed.

    Raises:
        BadInput: with every fault of the values; unknown options end the program, exit 2.
    """
    parser = Parser(
        prog="python -m study.embedding",
        description="ID and OOD validation images and class means as a trial's network sees them.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the run's folder")
    parser.add_argument("trial", metavar="TRIAL", help="a trial's id, winner, or base")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="for what is made")
    parser.add_argument("--images", metavar="N", default="500", help="of each set; default 500")
    parser.add_argument("--seed", metavar="N", default="0", help="of choice and t-SNE; default 0")
    given = parser.parse_args(argv)
    faults = []
    for name, least in (("images", 5), ("seed", 0)):
        text = getattr(given, name)
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            rule = f"must be a whole number of at least {least}"
            faults.append(Fault(f"--{name}", "", rule, value=text))
    if given.out.exists() and not given.out.is_dir():
        rule = "is a file, not a folder"
        faults.append(Fault("--out", "", rule, "Choose another --out.", str(given.out)))
    if faults:
        raise BadInput(faults)
    return RunFolder(given.run), given.trial, given.out, int(given.images), int(given.seed)


def embed(run: RunFolder, asked: str, out: Path, num_images: int, seed: int) -> str:
    """Measure, embed, draw, write.

    Returns:
        What was made, for stdout.

    Raises:
        BadInput: where run, trial or images cannot be used, or the network has no features.
    """
    import torch

    from study.bases.saved_models import load_model
    from study.validation_images import find_trial, load_scores, load_validation

    trial = find_trial(run, asked)
    data = load_validation(run, load_scores(run, trial))
    saved = load_model(run, trial, data.num_classes, data.val_id.pixels.shape[1])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = saved.model.to(device).eval()
    sets = _chosen({VAL_ID: data.val_id, **data.ood}, num_images, seed)
    try:
        features = {name: _features(model, images, device) for name, images in sets.items()}
    except (AttributeError, ValueError) as error:
        rule = f"the network of trial {trial} gives no features to embed ({error})"
        raise BadInput(Fault("TRIAL", "", rule, value=asked)) from error
    points = placed(sets, features, seed)
    write_bytes(out / "embedding.csv", _as_csv(points))
    write_bytes(out / "embedding.png", draw(points, f"{run.path.resolve().name}, trial {trial}"))
    told = ", ".join(f"{name} {counted(len(one), 'image')}" for name, one in sets.items())
    return f"{told}\npicture: {out / 'embedding.png'}; points: {out / 'embedding.csv'}"


def _chosen(sets: Mapping[str, ImageSet], most: int, seed: int) -> dict[str, ImageSet]:
    """At most so many images of each set, in their order."""
    import numpy as np

    from study.seeding import numpy_generator

    found = {}
    for name, images in sets.items():
        order = numpy_generator(seed, "embedding", name).permutation(len(images))
        found[name] = images.take(np.sort(order[:most]))
    return found


def _features(model: Any, images: ImageSet, device: Any) -> NDArray[np.float64]:
    """Penultimate features of unit length, (N, D)."""
    import numpy as np
    import torch

    from study.data.batches import evaluation_batches
    from study.detectors.model_parts import features_of

    with torch.inference_mode():
        batches = evaluation_batches(images, _BATCH, device, channels_last=True)
        features = torch.cat([features_of(model, batch) for batch in batches]).double().numpy()
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, 1e-12))


def placed(
    sets: Mapping[str, ImageSet], features: Mapping[str, NDArray[np.float64]], seed: int
) -> Points:
    """Images and the means of the ID classes in one plane.

    Args:
        sets: the ID set under ``VAL_ID``, and the OOD sets.
        features: of each, (N, D), of unit length.
        seed: of t-SNE.
    """
    import numpy as np
    from sklearn.manifold import TSNE

    from study.seeding import seed_of

    inside = sets[VAL_ID]
    classes = np.unique(inside.labels)
    means = np.stack([features[VAL_ID][inside.labels == one].mean(axis=0) for one in classes])
    rows = np.concatenate([*features.values(), means])
    # Its own limit: a point has fewer neighbours than there are points.
    perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
    state = seed_of(seed, "embedding") % 2**32
    plane = TSNE(perplexity=perplexity, init="pca", random_state=state).fit_transform(rows)
    titles = [inside.classes[one] if inside.classes else str(one) for one in classes]
    return Points(
        [
            *(name for name, one in sets.items() for _ in range(len(one))),
            *[PROTOTYPE] * len(means),
        ],
        [*(image.decode() for one in sets.values() for image in one.ids.tolist()), *titles],
        [
            *(int(k) if name == VAL_ID else -1 for name, one in sets.items() for k in one.labels),
            *map(int, classes),
        ],
        np.asarray(plane, np.float64),
    )


def _as_csv(points: Points) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "image", "label", "x", "y"])
    for row in zip(points.of, points.name, points.label, points.at.tolist(), strict=True):
        of, name, label, (x, y) = row
        writer.writerow([of, name, "" if label < 0 else label, f"{x:.4f}", f"{y:.4f}"])
    return text.getvalue().encode()


def draw(points: Points, title: str) -> bytes:
    """ID images by class, OOD sets by colour, class means with their names; a PNG."""
    import matplotlib as mpl
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 6.0), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    of, label = np.array(points.of), np.array(points.label)
    inside = of == VAL_ID
    x, y = points.at.T
    axes.scatter(
        x[inside], y[inside], s=9, c=label[inside] % 20, cmap=mpl.colormaps["tab20"], lw=0,
        label="ID, a colour a class",
    )  # fmt: skip
    for place, name in enumerate(dict.fromkeys(of[~inside & (of != PROTOTYPE)])):
        colour = _COLOURS[place % len(_COLOURS)]
        axes.scatter(
            x[of == name],
            y[of == name],
            s=12,
            marker="x",
            lw=0.7,
            color=colour,
            label=f"OOD, {name}",
        )
    means = of == PROTOTYPE
    axes.scatter(
        x[means], y[means], s=110, marker="*", color="white", edgecolors="black", lw=0.9,
        label="class means", zorder=3,
    )  # fmt: skip
    if means.sum() <= _COLOURED:
        for row in np.flatnonzero(means):
            axes.annotate(
                points.name[row], points.at[row], xytext=(5, 4), textcoords="offset points",
                fontsize=8, bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none"},
            )  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[:].set_visible(False)
    figure.legend(loc="outside lower left", ncols=4, fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""

    def run() -> None:
        given = parse(sys.argv[1:] if argv is None else argv)
        sys.stdout.write(f"{embed(*given)}\n")

    return exit_code(run, failed="No embedding: {}.")


if __name__ == "__main__":
    raise SystemExit(main())
