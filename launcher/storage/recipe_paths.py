"""The paths in a recipe: made absolute, and looked at.

Decides what a relative path is relative to, and what of a recipe lies on this machine alone. Which file a recipe is
read from is `storage.recipes`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from launcher.core.errors import Problem
from launcher.core.recipe import ModelChoice, Recipe
from launcher.core.recipe_running import Evaluate
from launcher.core.recipe_scoring import problem_with_function
from launcher.core.recipe_sources import Source
from launcher.core.recipe_text import ParsedRecipe
from launcher.core.yaml_tree import FieldPath
from launcher.storage.data_paths import absolute_data_path, hub_id, is_url, problem_with
from launcher.storage.shipped import DATA_PREFIX
from launcher.storage.submitted import Files
from launcher.storage.typed_paths import is_file, is_folder, read_text, typed_path


@dataclass(frozen=True, slots=True)
class LocalPath:
    """A path of data or of a model on the machine where the recipe is read, which other machines may lack."""

    where: str
    """`file:line:column` of the field."""
    field: str
    said: str
    """As it is written."""
    path: str
    """The same, absolute."""


@dataclass
class Found:
    """What is learnt of paths while they are made absolute."""

    missing: list[Problem] = field(default_factory=list[Problem])
    local: list[LocalPath] = field(default_factory=list[LocalPath])
    wrong: list[Problem] = field(default_factory=list[Problem])
    """What no plan can do without."""


def absolute(parsed: ParsedRecipe, files: tuple[Path, Path], copies: Files) -> tuple[Recipe, Found]:
    """Return a recipe with its paths made absolute, and what was learnt of them. `files` are its own and its base."""
    sources, found = dict[str, Source](), Found()
    for name, source in parsed.recipe.sources.items():
        whole: FieldPath = ("sources", name, "path")
        if not source.paths:
            found.missing.append(Problem(parsed.where(whole), f"sources.{name}.path", "names nothing; give a path"))
        places = [whole] if isinstance(source.path, str) else [(*whole, at) for at in range(len(source.path))]
        paths = [_data_path(parsed, place, path, files, copies, found)
                 for place, path in zip(places, source.paths, strict=True)]
        holdout = source.holdout
        if holdout.path is not None:
            place = ("sources", name, "holdout")
            path = _data_path(parsed, place, holdout.path, files, copies, found)
            holdout = holdout.model_copy(update={"path": path})
        path = paths[0] if isinstance(source.path, str) else tuple(paths)
        sources[name] = source.model_copy(update={"path": path, "holdout": holdout})
    changed = {"sources": sources, "model": _model(parsed, files, copies, found),
               "evaluate": _evaluate(parsed, files, copies, found)}
    return parsed.recipe.model_copy(update=changed), found


def from_copies(source: Source, copy: Callable[[str], str]) -> Source:
    """Return a source with the names of copies in place of what was copied."""
    path = copy(source.path) if isinstance(source.path, str) else tuple(map(copy, source.path))
    holdout = source.holdout
    if holdout.path is not None:
        holdout = holdout.model_copy(update={"path": copy(holdout.path)})
    return source.model_copy(update={"path": path, "holdout": holdout})


def base_folder(place: str, files: tuple[Path, Path]) -> Path:
    """Return the folder that a relative path at `file:line:column` is relative to."""
    file = next((file for file in files if place.startswith(f"{file}:")), files[0])
    return file.parent.absolute()


def _data_path(parsed: ParsedRecipe, at: FieldPath, path: str, files: tuple[Path, Path], copies: Files,
               found: Found) -> str:
    """Return a data path made absolute, and add to what is found of it."""
    place, name = parsed.where(at), ".".join(map(str, at))
    absolute = absolute_data_path(path, base_folder(place, files))
    if (problem := problem_with(copies.read_from(absolute))) is not None:
        found.missing.append(Problem(place, name, problem))
    if not (is_url(absolute) or hub_id(absolute) or path.startswith(DATA_PREFIX)):
        found.local.append(LocalPath(place, name, path, absolute))
    return absolute


def _model(parsed: ParsedRecipe, files: tuple[Path, Path], copies: Files, found: Found) -> ModelChoice:
    model = parsed.recipe.model
    tokenizer = model.tokenizer
    if tokenizer is not None and tokenizer.path is not None:
        path = _directory_or_hub_id(parsed, ("model", "tokenizer", "path"), tokenizer.path, files, found)
        tokenizer = tokenizer.model_copy(update={"path": path})
    path = None if model.path is None else _directory_or_hub_id(parsed, ("model", "path"), model.path, files, found)
    template = model.chat_template
    if template is not None:
        file = typed_path(template, base_folder(parsed.where(("model", "chat_template")), files))
        # Else it is the name of a shipped one.
        template = str(file) if is_file(copies.copy(file)) else template
    return model.model_copy(update={"path": path, "tokenizer": tokenizer, "chat_template": template})


def _evaluate(parsed: ParsedRecipe, files: tuple[Path, Path], copies: Files, found: Found) -> Evaluate:
    """Return what is measured when, with the text of a person's own function: it may run where its file is not."""
    evaluate, at = parsed.recipe.evaluate, ("evaluate", "function")
    function = evaluate.function
    if function is None:
        return evaluate
    file = typed_path(function.path, base_folder(parsed.where(at), files)).absolute()
    text = read_text(copies.copy(file), or_else=function.text)
    problem = f"no such file: {file}" if text is None else problem_with_function(text, function.name)
    if problem is not None:
        found.wrong.append(Problem(parsed.where(at), "evaluate.function", problem))
    return evaluate.model_copy(update={"function": function.model_copy(update={"path": str(file), "text": text})})


def _directory_or_hub_id(parsed: ParsedRecipe, at: FieldPath, path: str, files: tuple[Path, Path],
                         found: Found) -> str:
    place = parsed.where(at)
    directory = typed_path(path, base_folder(place, files))
    if not is_folder(directory):
        return path
    found.local.append(LocalPath(place, ".".join(map(str, at)), path, str(directory)))
    return str(directory)
