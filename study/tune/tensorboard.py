"""TensorBoard files, one folder a trial, written by the driver from what the ledger holds.

Hyperparameters are written when a trial starts, so that a stopped trial has them too. At the
start of a session the files of unfinished trials are written anew: one event file a trial.
The HParams view knows success and failure alone; the status as the tables have it is a text, of
the tag ``status``, and its last step counts.
"""

from __future__ import annotations

import shutil
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from study.records.files import trial_id
from study.tune.record import TrialRecord
from study.tune.session import Observer

STATUS_TAG = "status"
_LAST_STEP = 10**6  # after every epoch; a resumed trial's file is written anew
_STATUS = {
    "finished": api_pb2.STATUS_SUCCESS,
    "pruned": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
}


class TensorBoardLog(Observer):
    """An observer of the session that writes event files."""

    def __init__(
        self,
        folder: Path,
        params: Callable[[TrialRecord], Mapping[str, Any]],
        panel: Callable[[str, int], Path] | None = None,
    ) -> None:
        """Where the files go, and what they show.

        Args:
            folder: gets a folder for each trial.
            params: all parameters of a trial, searched and fixed.
            panel: where the picture (PNG) of an epoch of a trial is, if there is one.
        """
        self._folder = folder
        self._params = params
        self._panel = panel
        self._writers: dict[int, EventFileWriter] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def trial_started(self, record: TrialRecord) -> None:
        """Open the trial's file, with its parameters and the epochs on record."""
        if record.number in self._writers:  # its worker died: it is given out again
            self._writers.pop(record.number).close()
        path = self._folder / trial_id(record.number)
        shutil.rmtree(path, ignore_errors=True)
        writer = self._writers[record.number] = EventFileWriter(str(path))
        values = {name: _plain(value) for name, value in self._params(record).items()}
        # With the study's name: TensorBoard joins trials of one name, whatever folder they are in.
        name = f"{self._folder.resolve().parent.name}/{trial_id(record.number)}"
        _write(writer, hparams_pb(values, trial_id=name), 0)
        _write(writer, _status_text(record.status), 0)
        for epoch in range(1, len(record.epochs) + 1):
            self._write_epoch(writer, record, epoch)
        writer.flush()

    def epoch(self, record: TrialRecord) -> None:
        """Write the newest epoch's metrics."""
        writer = self._writers[record.number]
        self._write_epoch(writer, record, len(record.epochs))
        writer.flush()

    def _write_epoch(self, writer: EventFileWriter, record: TrialRecord, epoch: int) -> None:
        _write(writer, _scalars(record.epochs[epoch - 1]), epoch)
        path = self._panel(trial_id(record.number), epoch) if self._panel else None
        if path is not None and path.exists():
            _write(writer, _picture(path), epoch)

    def trial_ended(self, record: TrialRecord) -> None:
        """Say how it ended and close the file."""
        writer = self._writers.pop(record.number)
        _write(writer, _session_end(_STATUS[record.status]), len(record.epochs))
        _write(writer, _status_text(record.status), len(record.epochs) + 1)
        writer.close()

    def close(self) -> None:
        """Say of the trials that are open that they are paused, and close their files."""
        while self._writers:
            _, writer = self._writers.popitem()
            _write(writer, _status_text("paused"), _LAST_STEP)
            writer.close()


def _scalars(metrics: Mapping[str, float]) -> Summary:
    values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
    return Summary(value=values)


def _picture(path: Path) -> Summary:
    """A PNG in colour; the width and height stand in its header, big-endian."""
    png = path.read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag="saliency", image=image)])


def _status_text(status: str) -> Summary:
    data = text_metadata.create_summary_metadata(display_name="status", description="")
    tensor = TensorProto(dtype=DT_STRING, string_val=[status.encode()])
    return Summary(value=[Summary.Value(tag=STATUS_TAG, metadata=data, tensor=tensor)])


def _session_end(status: int) -> Summary:
    """How a session ended; tensorboard's own maker of this needs TensorFlow."""
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=end)
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _write(writer: EventFileWriter, summary: Summary, step: int) -> None:
    writer.add_event(Event(summary=summary, step=step, wall_time=time.time()))
