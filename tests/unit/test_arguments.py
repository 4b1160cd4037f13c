"""study.arguments: every option, every fault at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.arguments import parse
from study.errors import BadInput
from study.options import Override, ResumeOptions, RunOptions


def faults(*arguments: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        parse(arguments)
    return [str(fault) for fault in caught.value.faults]


def test_parse_of_a_space_alone_takes_the_defaults() -> None:
    assert parse(["--space", "energy"]) == RunOptions(
        space="energy", out=Path("runs/energy"), command="python run_study.py --space energy"
    )


def test_parse_of_a_path_names_the_run_after_the_file() -> None:
    options = parse(["--space", "my spaces/wide.yaml"])
    assert isinstance(options, RunOptions)
    assert options.out == Path("runs/wide")
    assert options.command == "python run_study.py --space 'my spaces/wide.yaml'"


def test_parse_of_every_option_reads_its_value(tmp_path: Path) -> None:
    line = (
        f"--space energy --data demo --data-root {tmp_path} --out out/a --num-trials 7"
        " --time-budget 1.5e2 --seed 0 --set train.lr=0.1 tune.searcher=random --set a.b=c=d"
        " --smoke --dry-run --max-concurrent 2 --cpus-per-trial .5 --gpus-per-trial 0.25"
        " --address 10.0.0.1:6379 --quiet --log wandb,mlflow --log mlflow"
    )
    assert parse(line.split()) == RunOptions(
        space="energy",
        data="demo",
        data_root=tmp_path,
        out=Path("out/a"),
        overrides=(
            "train.lr=0.1",
            "tune.searcher=random",
            "a.b=c=d",
            Override("tune.num_trials", 7, "--num-trials"),
            Override("tune.time_budget_s", 150.0, "--time-budget"),
            Override("tune.seed", 0, "--seed"),
            Override("tune.max_concurrent", 2, "--max-concurrent"),
            Override("tune.cpus_per_trial", 0.5, "--cpus-per-trial"),
            Override("tune.gpus_per_trial", 0.25, "--gpus-per-trial"),
        ),
        smoke=True,
        dry_run=True,
        address="10.0.0.1:6379",
        quiet=True,
        command=f"python run_study.py {line}",
        trackers=("wandb", "mlflow"),
    )


def test_parse_of_resume_and_extend(tmp_path: Path) -> None:
    options = ["--max-concurrent", "1", "--quiet", "--log", "mlflow"]
    resumed = parse(["--resume", str(tmp_path), *options])
    assert isinstance(resumed, ResumeOptions)
    assert resumed.trackers == ("mlflow",)
    assert (resumed.directory, resumed.more_trials) == (tmp_path, 0)
    assert (resumed.max_concurrent, resumed.quiet) == (1, True)
    extended = parse(["--extend", str(tmp_path), "--num-trials", "+10"])
    assert isinstance(extended, ResumeOptions)
    assert (extended.directory, extended.more_trials) == (tmp_path, 10)


@pytest.mark.parametrize("value", ["0", "1", "0.5", "2", "8.0", "auto"])
def test_parse_of_gpu_shares_and_whole_gpus(value: str) -> None:
    options = parse(["--space", "energy", "--gpus-per-trial", value])
    assert isinstance(options, RunOptions)
    wanted = "auto" if value == "auto" else float(value)
    assert options.overrides == (Override("tune.gpus_per_trial", wanted, "--gpus-per-trial"),)


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--data", "cifar", r"one of auto, demo, cifar10, openood\. Did you mean cifar10\?"),
        ("--data-root", "nowhere", "does not exist"),
        ("--data-root", "~nobody-of-this-name/data", "does not exist"),
        ("--num-trials", "0", "whole number of at least 1"),
        ("--num-trials", "+3", "whole number of at least 1"),
        ("--num-trials", "2.5", "whole number of at least 1"),
        ("--num-trials", "1_000", "whole number of at least 1"),
        ("--time-budget", "0", "above 0"),
        ("--time-budget", "-3", "above 0"),
        ("--time-budget", "inf", "above 0"),
        ("--time-budget", "nan", "above 0"),
        ("--time-budget", "1h", "above 0"),
        ("--seed", "-1", "whole number of at least 0"),
        ("--seed", "one", "whole number of at least 0"),
        ("--seed", "", "is empty"),
        ("--max-concurrent", "0", "whole number of at least 1"),
        ("--cpus-per-trial", "0", "above 0"),
        ("--gpus-per-trial", "1.5", "a share of one GPU"),
        ("--gpus-per-trial", "-1", "a share of one GPU"),
        ("--address", " ", "is empty"),
        ("--log", "wanb", r"one of mlflow, wandb\. Did you mean wandb\?"),
        ("--log", "", "one of mlflow, wandb"),
        ("--out", __file__, "is a file"),
        ("--out", "s3://bucket/run", "is an address"),
    ],
)
def test_parse_of_a_wrong_value_names_option_value_and_rule(
    option: str, value: str, rule: str
) -> None:
    with pytest.raises(BadInput, match=rule) as caught:
        parse(["--space", "energy", option, value])
    (fault,) = caught.value.faults
    assert fault.place == option
    assert repr(value) in str(fault)


def test_parse_of_a_number_too_long_to_be_finite_is_refused() -> None:
    with pytest.raises(BadInput, match=r"--time-budget: '9+\.\.\.: must be a number above 0"):
        parse(["--space", "energy", "--time-budget", "9" * 400])


def test_parse_tells_all_faults_at_once() -> None:
    told = faults("--seed", "-1", "--max-concurrent", "0", "--dta", "demo", "--data-root", "none")
    assert len(told) == 6
    assert any("'--dta': unknown option. Did you mean --data?" in fault for fault in told)
    assert any("'demo': unknown argument" in fault for fault in told)
    ways = "one of --space, --resume, --extend and --replay is needed"
    assert any(ways in fault for fault in told)


def test_parse_of_a_shortened_option_is_refused() -> None:
    assert "unknown option. Did you mean --num-trials?" in faults(
        "--space", "energy", "--num-trial", "3"
    )[0]  # fmt: skip


def test_parse_of_an_option_given_twice_is_refused() -> None:
    assert "--seed: given 2 times (1, 2)" in faults(
        "--space", "energy", "--seed", "1", "--seed", "2"
    )[0]  # fmt: skip


def test_parse_of_an_option_without_its_value_is_refused() -> None:
    assert "--seed: expected one argument" in faults("--space", "energy", "--seed")[0]


def test_parse_of_two_ways_at_once_is_refused(tmp_path: Path) -> None:
    told = faults("--space", "energy", "--resume", str(tmp_path))
    assert told[0].startswith("command line: --space and --resume exclude each other")


@pytest.mark.parametrize(
    "option", [["--seed", "1"], ["--smoke"], ["--set", "a.b=1"], ["--cpus-per-trial", "2"],
               ["--gpus-per-trial", "1"], ["--out", "x"], ["--data", "demo"], ["--dry-run"],
               ["--data-root", "."]],
)  # fmt: skip
def test_parse_of_resume_refuses_what_the_record_says(tmp_path: Path, option: list[str]) -> None:
    (told,) = faults("--resume", str(tmp_path), *option)
    assert told.startswith(f"{option[0]}: cannot go with --resume")


@pytest.mark.parametrize("count", [[], ["--num-trials", "10"], ["--num-trials", "+0"]])
def test_parse_of_extend_needs_plus_trials(tmp_path: Path, count: list[str]) -> None:
    (told,) = faults("--extend", str(tmp_path), *count)
    assert "must say how many trials --extend adds" in told


def test_parse_of_resume_refuses_a_number_of_trials(tmp_path: Path) -> None:
    (told,) = faults("--resume", str(tmp_path), "--num-trials", "+3")
    assert "Use --extend DIR --num-trials +N" in told


@pytest.mark.parametrize("option", ["--seed", "--num-trials", "--time-budget", "--cpus-per-trial"])
def test_numbers_of_the_command_line_are_written_in_ascii_digits(option: str) -> None:
    with pytest.raises(BadInput, match=rf"{option}: '٣': must be a"):
        parse(["--space", "energy", option, "٣"])
