from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

from study.records.files import RunFolder
from study.records.scores import SetScores, ValidationScores, add_epoch
from study.tune.record import TrialRecord
from study.tune.shown import Shown
from study.tune.tensorboard import STATUS, TensorBoardLog

START = "2026-01-01T10:00:00+00:00"
SECOND = "2026-01-01T10:00:30+00:00"
METRICS = {
    "train/loss": 1.5, "lr": 0.1, "images_per_s": 100.0, "time_s": 3.0,
    "val/fpr95": 0.5, "val/auroc": 0.8, "val/id_accuracy": 0.9, "val/objective": 0.5,
    "val/aupr_in": 0.3, "val/fpr95_ood_positive": 0.4, "val/floor_shortfall": 0.0,
    "val/letters/energy/fpr95": 0.6, "val/letters/energy/aupr_out": 0.2,
    "val/letters/msp/fpr95": 0.7,
}  # fmt: skip


def _read(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), {"histograms": 0})
    accumulator.Reload()
    return accumulator


def _params(record: TrialRecord) -> dict[str, object]:
    return {"train.lr": 0.1, "train.m_in.sd": 2.0, "train.schedule": "cosine"}


def _log(folder: Path, **more: object) -> TensorBoardLog:
    return TensorBoardLog(folder, Shown(_params, **more))  # type: ignore[arg-type]


def _told(folder: Path, tag: str) -> plugin_data_pb2.HParamsPluginData:
    content = _read(folder).SummaryMetadata(f"_hparams_/{tag}").plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content)


def test_running_trial_has_its_hyperparameters_by_names_that_read(tmp_path: Path) -> None:
    log = _log(tmp_path)
    log.trial_started(TrialRecord(0, 0, {}, begun=START))
    told = _told(tmp_path / "00000", "session_start_info").session_start_info
    assert told.group_name == f"{tmp_path.parent.name}/00000"
    assert told.hparams["lr"].number_value == 0.1
    assert told.hparams["m_in (sd)"].number_value == 2.0
    assert told.hparams["schedule"].string_value == "cosine"
    assert told.hparams[STATUS].string_value == "running"
    log.close()


def test_trial_that_is_open_at_the_end_of_a_session_is_paused(tmp_path: Path) -> None:
    log = _log(tmp_path)
    log.trial_started(TrialRecord(0, 0, {}))
    log.close()
    told = _told(tmp_path / "00000", "session_start_info").session_start_info
    assert told.hparams[STATUS].string_value == "paused"


def test_trial_that_ended_tells_its_status_once_and_the_ledgers_times(tmp_path: Path) -> None:
    record = TrialRecord(0, 0, {}, begun=START)
    log = _log(tmp_path)
    log.trial_started(record)
    record.epochs.append(METRICS)
    record.told.append(SECOND)
    log.epoch(record)
    record.status, record.ended = "pruned", SECOND
    log.trial_ended(record)
    log.close()
    assert len(list((tmp_path / "00000").iterdir())) == 1
    start = _told(tmp_path / "00000", "session_start_info").session_start_info
    end = _told(tmp_path / "00000", "session_end_info").session_end_info
    assert start.hparams[STATUS].string_value == "pruned"
    assert (end.status, end.end_time_secs) == (api_pb2.STATUS_SUCCESS, 1767261630)
    (point,) = _read(tmp_path / "00000").Scalars("val/fpr95")
    assert (point.step, point.wall_time) == (1, 1767261630)


def test_resumed_trial_has_one_event_file_with_every_epoch_once(tmp_path: Path) -> None:
    record = TrialRecord(3, 0, {})
    for _ in range(2):
        log = _log(tmp_path)
        log.trial_started(record)
        value = 0.5 / (len(record.epochs) + 1)
        record.epochs.append({"val/fpr95": value, "val/objective": value})
        log.epoch(record)
        log.close()
    assert len(list((tmp_path / "00003").iterdir())) == 1
    values = _read(tmp_path / "00003").Scalars("val/fpr95")
    assert [(event.step, event.value) for event in values] == [(1, 0.5), (2, 0.25)]


def test_files_of_ended_trials_that_are_gone_are_written_again(tmp_path: Path) -> None:
    ended = TrialRecord(0, 0, {}, epochs=[METRICS], status="pruned", begun=START, ended=SECOND)
    kept = TrialRecord(1, 0, {}, epochs=[METRICS], status="failed", begun=START, ended=SECOND)
    (tmp_path / "00001").mkdir()
    log = _log(tmp_path)
    log.catch_up([ended, kept, TrialRecord(2, 0, {})])
    log.close()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["00000", "00001", "base"]
    assert list((tmp_path / "00001").iterdir()) == []
    start = _told(tmp_path / "00000", "session_start_info").session_start_info
    assert start.hparams[STATUS].string_value == "pruned"
    assert [point.step for point in _read(tmp_path / "00000").Scalars("val/fpr95")] == [1]


def test_page_of_hyperparameters_has_the_numbers_of_the_epoch_that_the_rule_picks(
    tmp_path: Path,
) -> None:
    epochs = [METRICS | {"val/fpr95": value, "val/objective": value} for value in (0.4, 0.2, 0.3)]
    for rule, expected in (("best", [0.4, 0.2, 0.2]), ("last", [0.4, 0.2, 0.3])):
        log = _log(tmp_path, rule=rule)
        log.trial_started(TrialRecord(0, 0, {}, epochs=epochs))
        log.close()
        points = _read(tmp_path / "00000").Scalars("checkpoint/val/fpr95")
        assert [round(point.value, 6) for point in points] == expected


def test_page_of_hyperparameters_has_the_metrics_and_the_searched_parameters(
    tmp_path: Path,
) -> None:
    _log(tmp_path, searched=["train.m_in.sd", "train.lr"], metric="val/auroc").close()
    told = _told(tmp_path / "base", "experiment").experiment
    assert [one.name.tag for one in told.metric_infos] == [
        "checkpoint/val/auroc", "checkpoint/val/fpr95", "checkpoint/val/id_accuracy",
        "checkpoint/val/objective",
    ]  # fmt: skip
    assert [one.name for one in told.hparam_infos] == ["m_in (sd)", "lr", STATUS]


def test_base_is_a_run_of_its_own(tmp_path: Path) -> None:
    _log(tmp_path, base={"val/fpr95": 0.75}).close()
    (point,) = _read(tmp_path / "base").Scalars("val/fpr95")
    assert (point.step, point.value) == (0, 0.75)
    (point,) = _read(tmp_path / "base").Scalars("checkpoint/val/fpr95")
    assert (point.step, point.value) == (0, 0.75)
    start = _told(tmp_path / "base", "session_start_info").session_start_info
    assert start.hparams[STATUS].string_value == "base"


def test_curves_are_those_that_somebody_wants(tmp_path: Path) -> None:
    log = _log(tmp_path, own_score="energy")
    log.trial_started(TrialRecord(0, 0, {}, epochs=[METRICS]))
    log.close()
    assert set(_read(tmp_path / "00000").Tags()["scalars"]) == {
        "train/loss", "train/lr", "speed/images per s", "val/fpr95", "val/auroc",
        "val/id_accuracy", "val/objective", "val, by set/FPR95 letters",
        "checkpoint/val/fpr95", "checkpoint/val/auroc", "checkpoint/val/id_accuracy",
        "checkpoint/val/objective",
    }  # fmt: skip


def _with_scores(run: RunFolder, epochs: int) -> TrialRecord:
    """A trial whose energies part further from epoch to epoch."""
    rng = np.random.default_rng(0)
    names = np.arange(50).astype("S")
    for epoch in range(1, epochs + 1):
        sets = {
            name: SetScores(
                {"energy": rng.normal(place * epoch, 1, (1, 50))},
                np.zeros((1, 50), np.int16), np.zeros(50, np.int16), names, names,
            )
            for name, place in (("val_id", -1), ("letters", 1))
        }  # fmt: skip
        add_epoch(run, "00000", ValidationScores(np.array([epoch], np.int32), sets))
    return TrialRecord(0, 0, {}, epochs=[METRICS] * epochs, status="finished", ended=SECOND)


def test_energies_are_histograms_of_id_and_of_each_ood_set(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    record = _with_scores(run, 2)
    log = _log(run.tensorboard, own_score="energy", run=run)
    log.trial_started(record)
    log.close()
    read = _read(run.tensorboard / "00000")
    assert read.Tags()["histograms"] == ["energy score/ID", "energy score/OOD, letters"]
    found = read.Histograms("energy score/ID")
    assert [one.step for one in found] == [1, 2]
    assert [round(one.histogram_value.num) for one in found] == [50, 50]
    assert found[1].histogram_value.min < found[0].histogram_value.min


def test_trial_with_margins_ends_with_a_picture_of_energies_and_margins(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    record = _with_scores(run, 2)
    drawn = []
    for margins in ({"m_in": -3.0, "m_out": 3.0}, {"m_in": -1.0, "m_out": 3.0}, {}):
        log = _log(run.tensorboard, run=run, margins=lambda _, told=margins: told)
        log.trial_started(record)
        log.trial_ended(record)
        log.close()
        read = _read(run.tensorboard / "00000")
        if margins:
            (picture,) = read.Images("energies and margins")
            assert picture.step == 2
            drawn.append(picture.encoded_image_string)
        else:
            assert "energies and margins" not in read.Tags()["images"]
    assert drawn[0] != drawn[1]


def test_damaged_scores_leave_out_a_picture_and_stop_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    record = _with_scores(run, 1)
    (run.epoch_scores("00000") / "epoch_0001.npz").write_bytes(b"torn")
    log = _log(run.tensorboard, own_score="energy", run=run)
    log.trial_started(record)
    log.trial_ended(record)
    log.close()
    assert _read(run.tensorboard / "00000").Tags()["histograms"] == []


def test_epoch_with_pictures_shows_them_also_after_a_resume(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.panel("00000", 1).parent.mkdir(parents=True)
    Image.new("RGB", (7, 5), (10, 20, 30)).save(run.panel("00000", 1))
    Image.new("RGB", (9, 4), (10, 20, 30)).save(run.redrawn("00000", 1))
    record = TrialRecord(0, 0, {})
    for _ in range(2):
        log = _log(run.tensorboard, run=run)
        log.trial_started(record)
        record.epochs.append(METRICS)
        log.epoch(record)
        log.close()
    read = _read(run.tensorboard / "00000")
    (picture,) = read.Images("saliency")
    assert (picture.step, picture.width, picture.height) == (1, 7, 5)
    (picture,) = read.Images("reconstructions")
    assert (picture.step, picture.width, picture.height) == (1, 9, 4)
