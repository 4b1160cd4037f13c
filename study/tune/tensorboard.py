"""TensorBoard files, one folder a trial, written by the driver from what the ledger holds.

Hyperparameters are written when a trial starts, so that a stopped trial has them too; the status
is one of them, so the file of a trial that ended is written anew, with the times of the ledger.
At the start of a session the files of unfinished trials are written anew: one event file a trial.
The base is a run too. Beside them lies what the page of hyperparameters shows: the searched
parameters first, and the metrics that a study is about, at each trial's checkpoint.
"""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from study.records.files import BASE, VAL_ID, trial_id
from study.records.scores import TORN, SetScores, read_scores
from study.scoring.metrics import metric_of
from study.scoring.objective import ALPHA
from study.tune.energy_picture import draw_energies
from study.tune.record import TrialRecord
from study.tune.session import Observer
from study.tune.shown import AT_CHECKPOINT, Shown

STATUS = "Status"
"""The hyperparameter that says how a trial ended, as the tables have it; TensorBoard sorts them by
name and opens with the first five."""
_BINS = 40
_STATUS = {
    "finished": api_pb2.STATUS_SUCCESS,
    "pruned": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
}


class TensorBoardLog(Observer):
    """An observer of the session that writes event files."""

    def __init__(self, folder: Path, shown: Shown) -> None:
        """Where the files go, a folder for each trial, and what they show."""
        self._folder = folder
        self._shown = shown
        self._writers: dict[int, tuple[_EventFile, TrialRecord]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._write_base()

    def catch_up(self, records: Sequence[TrialRecord]) -> None:
        """Write the files of trials that have ended where they are gone."""
        for record in records:
            if record.status in _STATUS and not (self._folder / trial_id(record.number)).exists():
                self.trial_ended(record)

    def trial_started(self, record: TrialRecord) -> None:
        """Open the trial's file, with its parameters and the epochs on record."""
        self._writers[record.number] = (self._written(record, record.status), record)

    def epoch(self, record: TrialRecord) -> None:
        """Write the newest epoch's metrics."""
        writer, _ = self._writers[record.number]
        self._write_epoch(writer, record, len(record.epochs))
        writer.flush()

    def trial_ended(self, record: TrialRecord) -> None:
        """Write the file again, with how the trial ended, and close it."""
        writer = self._written(record, record.status)
        self._writers.pop(record.number, None)
        end = _moment(record.ended)
        _write(writer, _session_end(_STATUS[record.status], end), len(record.epochs), end)
        if (picture := self._energies(record)) is not None:
            _write(writer, picture, len(record.epochs), end)
        writer.close()

    def close(self) -> None:
        """Say of the trials that are open that they are paused, and close their files."""
        while self._writers:
            _, (_, record) = next(iter(self._writers.items()))
            self._written(record, "paused").close()
            del self._writers[record.number]

    def _written(self, record: TrialRecord, status: str) -> _EventFile:
        """A new file of a trial, in place of an old one, as the record has it."""
        epochs = b""
        if record.number in self._writers:
            before, _ = self._writers[record.number]
            epochs = before.closed_epochs()
        path = self._folder / trial_id(record.number)
        shutil.rmtree(path, ignore_errors=True)
        writer = _EventFile(path)
        values = {_readable(n): _plain(value) for n, value in self._shown.params(record).items()}
        told = hparams_pb(values | {STATUS: status}, self._name(trial_id(record.number)))
        _write(writer, told, 0, _moment(record.begun))
        writer.begin_epochs(epochs)
        for epoch in () if epochs else range(1, len(record.epochs) + 1):
            self._write_epoch(writer, record, epoch)
        writer.flush()
        return writer

    def _name(self, run: str) -> str:
        """With the study's: TensorBoard joins trials of one name, whatever folder they are in."""
        return f"{self._folder.resolve().parent.name}/{run}"

    def _write_base(self) -> None:
        """The columns of the page of hyperparameters, and the base as a run."""
        path = self._folder / BASE
        shutil.rmtree(path, ignore_errors=True)
        writer = _EventFile(path)
        columns = [HParam(_readable(name)) for name in [*self._shown.searched, STATUS]]
        kinds = [
            Metric(AT_CHECKPOINT(name), display_name=metric_of(name).short_label)
            for name in self._shown.metrics
        ]
        _write(writer, hparams_config_pb(columns, kinds), 0)
        if self._shown.base:
            _write(writer, hparams_pb({STATUS: BASE}, self._name(BASE)), 0)
            base = self._shown.base
            told = self._shown.curves(base) | self._shown.at_checkpoint(base)
            _write(writer, _scalars(told), 0)
            _write(writer, _session_end(api_pb2.STATUS_SUCCESS, time.time()), 0)
            for summary in self._histograms(BASE, 1, 1.0):
                _write(writer, summary, 0)
        writer.close()

    def _write_epoch(self, writer: _EventFile, record: TrialRecord, epoch: int) -> None:
        metrics, name = record.epochs[epoch - 1], trial_id(record.number)
        moment = _moment(record.told[epoch - 1] if epoch <= len(record.told) else "")
        _write(writer, _scalars(self._shown.of_epoch(record.epochs, epoch)), epoch, moment)
        for summary in self._histograms(name, epoch, metrics.get(ALPHA, 1.0)):
            _write(writer, summary, epoch, moment)
        run = self._shown.run
        if run is None:
            return
        pictures = {
            "saliency": run.panel(name, epoch),
            "reconstructions": run.redrawn(name, epoch),
        }
        for tag, path in pictures.items():
            if path.exists():
                _write(writer, _picture(tag, path.read_bytes()), epoch, moment)

    def _histograms(self, run: str, epoch: int, alpha: float) -> Iterator[Summary]:
        """The own score of each validation set's images."""
        score = self._shown.own_score
        for title, values in _by_set(self._sets(run, epoch, alpha, score), score):
            yield Summary(value=[_histogram(f"{score} score/{title}", values)])

    def _sets(self, run: str, epoch: int, alpha: float, score: str) -> Mapping[str, SetScores]:
        """One of the scores of a state by set; none where they are not at hand."""
        folder = self._shown.run
        if folder is None:
            return {}
        try:
            scores = read_scores(folder, run, epochs=[epoch], score=score)
            return scores.cut(np.array([scores.at(epoch, alpha)])).sets
        except TORN:
            return {}  # a picture is not worth a study

    def _energies(self, record: TrialRecord) -> Summary | None:
        """How the energies parted, with the margins; None where there are none."""
        margins, score = self._shown.margins(record), "energy"
        states = {"base": (BASE, 1, 1.0)} | {
            f"epoch {epoch}": (trial_id(record.number), epoch, metrics.get(ALPHA, 1.0))
            for epoch, metrics in enumerate(record.epochs, start=1)
        }
        sets = (
            {title: self._sets(*state, score) for title, state in states.items()}
            if margins
            else {}
        )
        parted = {
            title: (one[VAL_ID].scores[score][0], _outside(one, score))
            for title, one in sets.items()
            if VAL_ID in one and score in one[VAL_ID].scores
        }
        if not parted:
            return None
        return _picture("energies and margins", draw_energies(parted, margins))


def _outside(sets: Mapping[str, SetScores], score: str) -> NDArray[np.float64]:
    return np.concatenate([one.scores[score][0] for name, one in sets.items() if name != VAL_ID])


def _by_set(
    sets: Mapping[str, SetScores], score: str
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for name, one in sets.items():
        if score in one.scores:
            yield "ID" if name == VAL_ID else f"OOD, {name}", one.scores[score][0]


def _scalars(told: Mapping[str, float]) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, simple_value=told[tag]) for tag in told])


def _histogram(tag: str, values: NDArray[np.float64]) -> Summary.Value:
    counts, edges = np.histogram(values, _BINS)
    told = HistogramProto(
        min=values.min(), max=values.max(), num=len(values), sum=values.sum(),
        sum_squares=(values**2).sum(), bucket_limit=edges[1:].tolist(), bucket=counts.tolist(),
    )  # fmt: skip
    return Summary.Value(tag=tag, histo=told)


def _picture(tag: str, png: bytes) -> Summary:
    """A PNG in colour."""
    with Image.open(io.BytesIO(png)) as image:
        width, height = image.size
    told = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=told)])


def _session_end(status: int, moment: float) -> Summary:
    """How a session ended; tensorboard's own maker of this needs TensorFlow."""
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=moment)
    data = plugin_data_pb2.HParamsPluginData(session_end_info=end)
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])


def _readable(name: str) -> str:
    """A parameter as a column is called: ``train.m_in.sd`` is ``m_in (sd)``."""
    short = name.removeprefix("train.")
    for suffix, unit in ((".sd", " (sd)"), (".value", " (nats)"), (".absolute", "")):
        if short.endswith(suffix):
            return short.removesuffix(suffix) + unit
    return short


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _moment(told: str) -> float:
    """Seconds since the epoch of a ledger's time; now where there is none."""
    return datetime.fromisoformat(told).timestamp() if told else time.time()


class _EventFile:
    """An event file that is written at once.

    TensorBoard's own writer hands each event to a thread and waits for it, which took most of the
    driver's time of an epoch.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        self._path = folder / f"events.out.tfevents.{int(now):010d}.study"
        self._file = self._path.open("wb")
        self._records = RecordWriter(self._file)
        self.add(Event(wall_time=now, file_version="brain.Event:2"))

    def add(self, event: Event) -> None:
        self._records.write(event.SerializeToString())

    def begin_epochs(self, epochs: bytes) -> None:
        """From here on come epochs, those of an older file first."""
        self._head = self._file.tell()
        self._file.write(epochs)

    def closed_epochs(self) -> bytes:
        """The events of the epochs, once all are written: their scores need not be read again."""
        self.close()
        try:
            return self._path.read_bytes()[self._head :]
        except FileNotFoundError:  # somebody has cleared the folder
            return b""

    def flush(self) -> None:
        self._records.flush()

    def close(self) -> None:
        self._records.close()


def _write(writer: _EventFile, summary: Summary, step: int, moment: float | None = None) -> None:
    now = time.time() if moment is None else moment
    writer.add(Event(summary=summary, step=step, wall_time=now))
