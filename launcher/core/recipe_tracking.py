"""The parts of a recipe about where a run is followed besides its own journal. What they cause is `report.tracker`."""

from typing import Literal

from pydantic import Field, field_validator

from launcher.core.document import Document


class WandbOptions(Document):
    """A Weights & Biases run, fed from the journal."""

    project: str | None = None
    """Name of the project. Default: the recipe's name."""
    entity: str | None = None
    """User or team that owns it."""
    mode: Literal["online", "offline"] | None = None
    """Default: online where there is a key."""


class PrometheusOptions(Document):
    """Gauges in a file, for a node exporter's textfile collector."""

    file: str = Field(examples=["/var/lib/node_exporter/textfile/cardiology.prom"])
    """Absolute, on the machine of the command that works on the run; ends in .prom, as the collector wants it."""

    @field_validator("file")
    @classmethod
    def _collected(cls, file: str) -> str:
        if not (file.startswith("/") and file.endswith(".prom")):
            raise ValueError("give an absolute path that ends in .prom: the collector reads no other files")
        return file


class Tracking(Document):
    """Where the run is followed besides its own journal."""

    wandb: WandbOptions | None = None
    """Weights & Biases. A point appears once a checkpoint covers its step: then it can no longer change."""
    tensorboard: bool = False
    """Event files for TensorBoard in the run directory, `tracking/tensorboard`; points appear as for W&B."""
    prometheus: PrometheusOptions | None = None
    """Gauges in a file."""
