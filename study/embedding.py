"""Where images lie for a trial's network: ``python -m study.embedding RUN TRIAL --out DIR``.

A t-SNE (van der Maaten and Hinton, JMLR 2008) of the penultimate features of ID and OOD validation
images and of the mean of each ID class: a picture (embedding.png) and its points (embedding.csv).
Distances in it are no measure; it shows what lies among what. Test sets are never opened. Exit
codes: 0 done, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import io
import sys

from study import ending

if __name__ == "__main__":
    ending.listen()

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.counted import counted
from study.errors import BadInput, Fault, exit_code
from study.plugins import of_folder, run_again_with
from study.records.files import VAL_ID, RunFolder, write_bytes
from study.trial_command import faults_of, trial_parser

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from study.data.images import ImageSet

PROTOTYPE = "prototype"
_PERPLEXITY = 30.0
_BATCH = 256
_COLOURED = 20  # classes that are told apart, and named
_COLOURS = ("#E69F00", "#D55E00", "#CC79A7", "#000000")  # of OOD sets; Okabe and Ito's palette


def parse(argv: Sequence[str]) -> tuple[RunFolder, str, Path, int, int]:
    """Run, trial, folder for what is made, images of each set, and seed.

    Raises:
        BadInput: with every fault of the values; unknown options end the program, exit 2.
    """
    told = "ID and OOD validation images and class means as a trial's network sees them."
    given = trial_parser("study.embedding", told, num_images=500).parse_args(argv)
    if faults := faults_of(given, least_images=5):
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
    text = points.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    write_bytes(out / "embedding.csv", text.encode())
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
) -> pd.DataFrame:
    """Images and the means of the ID classes in one plane.

    Args:
        sets: the ID set under ``VAL_ID``, and the OOD sets.
        features: of each, (N, D), of unit length.
        seed: of t-SNE.

    Returns:
        A row a point: ``set``, `PROTOTYPE` for class means; ``image``, its name or the class's;
        ``label``, the ID class, missing where there is none; ``x``, ``y``.
    """
    import numpy as np
    import pandas as pd
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
    parts = [
        pd.DataFrame({"set": name, "image": np.char.decode(one.ids, "utf-8"), "label": one.labels})
        for name, one in sets.items()
    ]
    titles = [inside.classes[one] if inside.classes else str(one) for one in classes]
    parts.append(pd.DataFrame({"set": PROTOTYPE, "image": titles, "label": classes}))
    points = pd.concat(parts, ignore_index=True)
    known = points["set"].isin([VAL_ID, PROTOTYPE])
    points["label"] = points["label"].astype("Int64").where(known)
    points[["x", "y"]] = plane.astype(float)
    return points


def draw(points: pd.DataFrame, title: str) -> bytes:
    """ID images by class, OOD sets by colour, class means with their names; a PNG.

    Args:
        points: as `placed` gives them.
        title: of the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 6.0), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    of = {str(name): rows for name, rows in points.groupby("set", sort=False)}
    inside, means = of.pop(VAL_ID), of.pop(PROTOTYPE)
    axes.scatter(
        inside["x"], inside["y"], s=9, c=inside["label"].astype(int) % 20, cmap="tab20", lw=0,
        label="ID, a colour a class",
    )  # fmt: skip
    for colour, (name, outside) in zip(cycle(_COLOURS), of.items(), strict=False):
        axes.scatter(
            outside["x"],
            outside["y"],
            s=12,
            marker="x",
            lw=0.7,
            color=colour,
            label=f"OOD, {name}",
        )
    axes.scatter(
        means["x"], means["y"], s=110, marker="*", color="white", edgecolors="black", lw=0.9,
        label="class means", zorder=3,
    )  # fmt: skip
    names = zip(means["image"], means["x"], means["y"], strict=True)
    for name, x, y in names if len(means) <= _COLOURED else ():
        axes.annotate(
            name, (x, y), xytext=(5, 4), textcoords="offset points",
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

    def run() -> int | None:
        given = parse(sys.argv[1:] if argv is None else argv)
        again = run_again_with(of_folder(given[0].path), "study.embedding", argv)
        if again is None:
            sys.stdout.write(f"{embed(*given)}\n")
        return again

    return exit_code(run, failed="No embedding: {}.")


if __name__ == "__main__":
    raise SystemExit(main())
