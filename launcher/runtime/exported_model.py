"""Does an exported model hold what the run says it wrote? Read from the files alone, without loading weights."""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path

from launcher.core.errors import PlatformError
from launcher.core.stage_adapters import TABLE
from launcher.runtime.tensor_files import SafetensorsFolder


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the files of a model directory say."""

    tensors: int
    parameters: int
    bytes: int
    dtypes: tuple[str, ...]


def check_model(folder: Path, parameters: int) -> ModelFacts:
    """Return the facts of an exported model. Raises PlatformError when something is missing, empty or cut short."""
    folders = folders_of(folder)
    tensors = [each for part in folders for each in SafetensorsFolder(part).tensors.items()]
    found = sum(prod(tensor.shape) for _, tensor in tensors)
    if empty := [name for name, tensor in tensors if prod(tensor.shape) == 0]:
        raise PlatformError(f"{folder}: {empty[0]} is empty; the export is not whole, run the recipe again")
    if found != parameters:
        raise PlatformError(f"{folder}: holds {found:,} parameters where the run wrote {parameters:,}")
    for name, tensor in tensors:
        end = tensor.offset + prod(tensor.shape) * tensor.dtype.itemsize
        if end > tensor.file.size():
            raise PlatformError(f"{tensor.file}: ends before {name}; the copy is not whole, export again")
    for part in folders:
        json.loads((part / ("adapter_config.json" if _is_adapter(part) else "config.json")).read_bytes())
    return ModelFacts(len(tensors), found,
                      sum(file.stat().st_size for part in folders for file in part.glob("*.safetensors")),
                      tuple(sorted({str(tensor.dtype).removeprefix("torch.") for _, tensor in tensors})))


def folders_of(folder: Path) -> list[Path]:
    """Return where an exported model's weights lie: there, or each stage's adapter in a folder of its own."""
    table = folder / TABLE
    return [folder / name for name in json.loads(table.read_bytes())["adapters"]] if table.is_file() else [folder]


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()
