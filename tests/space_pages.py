"""Pages of the shipped spaces, docs/spaces: what each asks, its command, what it has shown.

    python tests/space_pages.py

makes them again of the YAMLs' own headers and of `SHOWN`; tests/unit/test_docs.py says where they
are not what that gives, and whether the results say what `SHOWN` says.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SPACES, PAGES = ROOT / "search_spaces", ROOT / "docs" / "spaces"


@dataclass(frozen=True)
class Shown:
    """What a space has shown, in docs/results.md.

    Attributes:
        section: the heading there.
        result: each number of it stands in that section.
        time: likewise.
    """

    section: str
    result: str
    time: str


SHOWN = {
    "energy": Shown(
        "Energy fine-tuning, searched",
        "Test FPR95 by the energy score, mean over three sets: 73.6 → 36.7 % [32.7, 41.2], at an "
        "ID accuracy of 81.2 % (base 81.8).",
        "19 minutes for 16 trials, 13 minutes for the base",
    ),
    "energy_ablation": Shown(
        "Losses, scheduler step, margins and the last layer alone, against each other",
        "Validation FPR95: measured margins 31.4 %, the paper's 23.6 % at 3.2 points less "
        "accuracy, outlier exposure 50.2 %, the last layer alone 62.3 %.",
        "20 minutes for 6 arms on 3 seeds",
    ),
    "nordf": Shown(
        "NORD-F, searched",
        "Validation FPR95 by the combined score, without outliers: 68.9 % [62.3, 74.5] at an ID "
        "accuracy of 78.3 %; the base's energy has 66.9 %.",
        "11 minutes for 8 trials",
    ),
    "nordf_ablation": Shown(
        "NORD-F: which reconstruction loss, and what each score sees",
        "Validation FPR95 of five reconstruction losses: 71.2 % to 74.9 %, none told from L1.",
        "18 minutes for 15 trials",
    ),
    "ssl": Shown(
        "With and without CIFAR-10 training, and none, linear or full fine-tuning",
        "Validation FPR95 with CIFAR-10 training: none 69.1 %, the last layer 65.9 %, all of it "
        "34.2 %; without it 93.3 % at best.",
        "20 minutes for one seed",
    ),
}
"""Space -> what it has shown; the others have no number on real images yet."""


def anchor(heading: str) -> str:
    """The name of a heading's place in its page, as Markdown makes it."""
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in " -_")
    return "-".join(kept.split())


def header(name: str) -> tuple[str, str]:
    """Command and question of a space: the comment that its YAML begins with."""
    lines = (SPACES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line[2:])
    end = comment.index("")
    return "\n".join(comment[:end]), "\n".join(comment[end + 1 :])


def page(name: str) -> str:
    """The page of a space."""
    command, question = header(name)
    yaml = (SPACES / f"{name}.yaml").read_text(encoding="utf-8")
    body = "\n".join(yaml.splitlines()[len(f"{command}\n{question}".splitlines()) + 1 :])
    return f"""# {name}

{_marked(question)}

```sh
{command}
```

{_shown(name)}

## The file

```yaml
{body}
```
"""


def _marked(question: str) -> str:
    """The question as Markdown: indented lines are typed."""
    text = re.sub(r"(?m)^ ", "     ", question)
    text = re.sub(r"(?m)^(\S.*)\n(?= )", r"\1\n\n", text)
    return re.sub(r"(?m)^( .*)\n(?=\S)", r"\1\n\n", text)


def _shown(name: str) -> str:
    if name not in SHOWN:
        told = "No run of it on real images is on record yet"
        return f"{told}; [what runs](../coverage.md) says what was seen of it."
    one = SHOWN[name]
    where = f"[{one.section}](../results.md#{anchor(one.section)})"
    told = f"On real images, two CPU cores, a short budget: {one.result} {one.time}. {where}."
    return textwrap.fill(told, 100, break_long_words=False, break_on_hyphens=False)


def index() -> str:
    """The page that lists them."""
    rows = []
    for name in names():
        first = " ".join(header(name)[1].split("\n\n")[0].split())
        asked = first[: first.find("?") + 1] or first
        rows.append(f"| [{name}]({name}.md) | {asked} |")
    table = "\n".join(rows)
    return f"""# The shipped spaces

`python run_study.py --space NAME` runs one; [one YAML file](../space-files.md) says how to make
another of it.

| space | question |
|---|---|
{table}
"""


def names() -> list[str]:
    """The shipped spaces."""
    return sorted(path.stem for path in SPACES.glob("*.yaml"))


def pages() -> dict[str, str]:
    """File name -> content."""
    return {"index.md": index()} | {f"{name}.md": page(name) for name in names()}


if __name__ == "__main__":
    for file, content in pages().items():
        (PAGES / file).write_text(content, encoding="utf-8")
