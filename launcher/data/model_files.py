"""Where a model's files are: a local directory, the Hugging Face hub's cache, filled when needed, or an object store.

Decides which files are fetched and whether what lies in the hub's cache is enough. Reading them is `data.tokenizer`
and `runtime.weights`; of weights in an object store each rank reads its parts from there.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

from launcher.core.document import fingerprint
from launcher.core.errors import UserError
from launcher.data.hashes import hash_of
from launcher.storage.node_folder import node_folder
from launcher.storage.sources import FileSource, ObjectSource, Source
from launcher.storage.store import Store, open_store
from launcher.storage.typed_paths import is_folder, typed_path

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                   "chat_template.jinja")
CONFIG_FILES = ("config.json", "generation_config.json")
WEIGHT_FILES = ("*.safetensors", "model.safetensors.index.json")
SAMPLE = 1 << 16
"""Bytes; headers of large models are longer, and their sizes tell the rest."""
WEIGHT_INDEX = "model.safetensors.index.json"


def model_folder(path: str, *, weights: bool) -> Path:
    """Return a folder with a model's configuration and tokenizer, and its safetensors files if `weights`.

    `path` is a directory, a hub id or a URL. Files in the hub's cache are used without asking the network. Of a URL
    nothing but small files is fetched: see `weight_sources`. Raises UserError when there is no such directory, or the
    hub has no such model or cannot be reached.
    """
    if "://" in path:
        return _fetched(path, weights)
    folder = typed_path(path)
    if is_folder(folder):
        return _checked(folder, path, weights)
    if path.startswith(("/", ".", "~")) or path.count("/") > 1:
        raise UserError(f"{path}: there is no such directory; a model is a Hugging Face directory or hub id")
    patterns = [*CONFIG_FILES, *TOKENIZER_FILES, *(WEIGHT_FILES if weights else ())]
    cached = _snapshot(path, patterns, offline=True)
    if cached is not None and not _missing(cached, weights):
        return cached
    fetched = _snapshot(path, patterns, offline=False)
    assert fetched is not None
    return _checked(fetched, path, weights)


def weight_sources(path: str) -> list[Source]:
    """Return a model's safetensors files, wherever they lie, by name. Raises as `model_folder` does."""
    folder = model_folder(path, weights=True)
    if "://" not in path:
        return [FileSource(file) for file in sorted(folder.glob("*.safetensors"))]
    store = open_store(path)
    return [ObjectSource(store, key) for key in _weight_keys(store)]


def whole_model_folder(path: str) -> Path:
    """Return a folder with everything of a model, weights of an object store fetched as well."""
    folder = model_folder(path, weights=True)
    if "://" in path:
        store = open_store(path)
        for key in _weight_keys(store):
            _link(store, key, folder)
    return folder


def base_fingerprint(path: str) -> str:
    """Return what a model's files are known by: their configuration, sizes, headers and samples of their weights.

    Adapters are saved without their base, which is too large to be read whole at every start.
    """
    parts: list[object] = [(model_folder(path, weights=True) / "config.json").read_text()]
    for file in weight_sources(path):
        size = file.size()
        samples = file.read((offset, SAMPLE) for offset in (0, size // 3, 2 * size // 3, max(0, size - SAMPLE)))
        parts.append([file.name, size, [hash_of([sample]) for sample in samples]])
    return fingerprint(*parts)


def _fetched(url: str, weights: bool) -> Path:
    """Return a folder on this node with the small files of a model in an object store."""
    store, name = open_store(url), url.rstrip("/").rpartition("/")[2]
    folder = node_folder() / "models" / f"{name}-{fingerprint(url)[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    for key in (*CONFIG_FILES, *TOKENIZER_FILES):
        with suppress(KeyError):
            _link(store, key, folder)
    missing = "*.safetensors file" if weights and not _weight_keys(store) else _missing(folder, weights=False)
    missing = "config.json" if weights and not (folder / "config.json").is_file() else missing
    if missing:
        raise UserError(f"{url}: has no {missing}; models are read from Hugging Face directories with config.json, "
                        "tokenizer.json and safetensors files")
    return folder


def _link(store: Store, key: str, folder: Path) -> None:
    """Have a file in a folder: this node's copy, which its processes share. Tokenizers are megabytes for each."""
    link = folder / f".{key}.{os.getpid()}"
    link.unlink(missing_ok=True)  # of a process that was killed and had the same number
    link.symlink_to(store.local(key))
    link.replace(folder / key)


def _weight_keys(store: Store) -> list[str]:
    return [key for key in store.list() if key.endswith(".safetensors") and "/" not in key]


def _checked(folder: Path, path: str, weights: bool) -> Path:
    if missing := _missing(folder, weights):
        raise UserError(f"{path}: has no {missing}; models are read from Hugging Face directories with config.json, "
                        "tokenizer.json and safetensors files")
    return folder


def _missing(folder: Path, weights: bool) -> str | None:
    """Return the first file that the folder lacks. A tokenizer alone is a folder too: config.json goes with weights."""
    if not weights:
        return None if any((folder / name).is_file() for name in (*CONFIG_FILES, "tokenizer.json")) else "config.json"
    if not (folder / "config.json").is_file():
        return "config.json"
    if (folder / WEIGHT_INDEX).is_file():
        names = set(json.loads((folder / WEIGHT_INDEX).read_bytes())["weight_map"].values())
        return next((name for name in sorted(names) if not (folder / name).is_file()), None)
    return None if any(folder.glob("*.safetensors")) else "*.safetensors file"


def _snapshot(hub_id: str, patterns: list[str], *, offline: bool) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=patterns, local_files_only=offline))
    except HFValidationError:
        raise UserError(f"{hub_id}: neither a directory nor a hub id of the form owner/name") from None
    except (OSError, ValueError) as error:  # the hub's own errors derive from these
        if offline:
            return None
        first_line = str(error).strip().partition("\n")[0]
        raise UserError(f"{hub_id}: there is no such directory, and it cannot be fetched from the Hugging Face hub "
                        f"({first_line}); check the name, the network and HF_TOKEN, or give a directory") from None
