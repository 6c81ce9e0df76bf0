"""TensorBoard's event files: what is written into them, and what stands in them. It imports the library.

They are the tracker's memory of what was told. The form is TFRecord: the length of a record, its checksum, the record,
its checksum; each record is a protobuf message. The library's own readers wait for more at a torn end, and change what
they read.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

_LENGTH, CHECKSUM = struct.Struct("<Q"), 4

# Modules of messages fill themselves in when they are imported.
_events: Any = event_pb2
_summaries: Any = summary_pb2
_tensors: Any = tensor_pb2
_shapes: Any = tensor_shape_pb2
_types: Any = types_pb2


def told_event(step: int, moment: float, numbers: Mapping[str, float], texts: Mapping[str, str]) -> Any:
    """Return an event that tells numbers and texts of a step."""
    values = [_summaries.Summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]
    values += [_text(name, text) for name, text in texts.items()]
    return _events.Event(step=step, wall_time=moment, summary=_summaries.Summary(value=values))


def forgetting_event(step: int, moment: float) -> Any:
    """Return an event after which readers forget what they have read of this step and of later ones."""
    begun = _events.SessionLog(status=_events.SessionLog.START)
    return _events.Event(step=step, wall_time=moment, session_log=begun)


def markdown(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table as TensorBoard shows texts."""
    return "\n".join(f"| {' | '.join(map(_cell, cells))} |" for cells in (head, ["---"] * len(head), *rows))


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of an event file, numbers by name and the step; a torn end is left out."""
    for content in _records(path.read_bytes()):
        event = _events.Event.FromString(content)
        row = {value.tag: value.simple_value for value in event.summary.value if value.HasField("simple_value")}
        if row:
            # A float of 32 bits cannot count as far as a run may go.
            measured = {"measured_step": event.step} if "measured_step" in row else {}
            yield {**row, "step": event.step, **measured}


def _text(name: str, text: str) -> Any:
    plugin = _summaries.SummaryMetadata.PluginData(plugin_name="text")
    tensor = _tensors.TensorProto(dtype=_types.DT_STRING, string_val=[text.encode()],
                                  tensor_shape=_shapes.TensorShapeProto())
    return _summaries.Summary.Value(tag=name, metadata=_summaries.SummaryMetadata(plugin_data=plugin), tensor=tensor)


def _cell(value: Any) -> str:
    return str("" if value is None else value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _records(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + _LENGTH.size + CHECKSUM <= len(data):
        length, = _LENGTH.unpack_from(data, at)
        begin = at + _LENGTH.size + CHECKSUM
        at = begin + length + CHECKSUM
        if at <= len(data):
            yield data[begin:begin + length]
