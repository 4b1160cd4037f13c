from __future__ import annotations

from pathlib import Path

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from study.tune.record import TrialRecord
from study.tune.tensorboard import TensorBoardLog


def _read(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def _log(folder: Path) -> TensorBoardLog:
    return TensorBoardLog(folder, lambda record: {"train.lr": 0.1, "train.schedule": "cosine"})


def test_stopped_trial_has_its_hyperparameters(tmp_path: Path) -> None:
    log = _log(tmp_path)
    log.trial_started(TrialRecord(0, 0, {}))
    log.close()
    metadata = _read(tmp_path / "00000").SummaryMetadata("_hparams_/session_start_info")
    told = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
    assert told.session_start_info.group_name == f"{tmp_path.parent.name}/00000"
    assert told.session_start_info.hparams["train.lr"].number_value == 0.1
    assert told.session_start_info.hparams["train.schedule"].string_value == "cosine"


def test_resumed_trial_has_one_event_file_with_every_epoch_once(tmp_path: Path) -> None:
    record = TrialRecord(3, 0, {})
    for _ in range(2):
        log = _log(tmp_path)
        log.trial_started(record)
        record.epochs.append({"val/fpr95": 0.5 / (len(record.epochs) + 1)})
        log.epoch(record)
        log.close()
    assert len(list((tmp_path / "00003").iterdir())) == 1
    values = _read(tmp_path / "00003").Scalars("val/fpr95")
    assert [(event.step, event.value) for event in values] == [(1, 0.5), (2, 0.25)]


def test_epoch_with_a_panel_shows_it_also_after_a_resume(tmp_path: Path) -> None:
    def panel(trial: str, epoch: int) -> Path:
        return tmp_path / "panels" / trial / f"{epoch}.png"

    panel("00000", 1).parent.mkdir(parents=True)
    Image.new("RGB", (7, 5), (10, 20, 30)).save(panel("00000", 1))
    record = TrialRecord(0, 0, {})
    for _ in range(2):
        log = TensorBoardLog(tmp_path / "tb", lambda record: {}, panel)
        log.trial_started(record)
        record.epochs.append({"val/fpr95": 0.5})
        log.epoch(record)
        log.close()
    (picture,) = _read(tmp_path / "tb" / "00000").Images("saliency")
    assert (picture.step, picture.width, picture.height) == (1, 7, 5)
