"""Recipes on disk: finding them, their base and their DeepSpeed template, and making their paths absolute.

Decides where a name is looked for: beside the recipe, then among what ships with launcher. What a recipe means is
`core.recipe_text`. Source files that are missing are collected, not refused: a plan from sizes in the recipe needs
none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.core.errors import Problem, RecipeInvalid
from launcher.core.recipe import ModelChoice, Recipe
from launcher.core.recipe_sources import Source
from launcher.core.recipe_text import ParsedRecipe, base_of, parse
from launcher.core.source_index import Prepared
from launcher.core.suggestions import did_you_mean
from launcher.core.yaml_tree import FieldPath
from launcher.storage.data_paths import absolute_data_path, is_compressed, local_files, problem_with
from launcher.storage.ds_templates import find_template, load_template
from launcher.storage.shipped import shipped, shipped_names
from launcher.storage.submitted import Files
from launcher.storage.typed_paths import is_file, is_folder, typed_path

BYTES_PER_TOKEN, COMPRESSED_BYTES_PER_TOKEN = 4, 1
"""Of text files in English, for guesses."""


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe with all that belongs to it on disk."""

    recipe: Recipe
    """With the paths of sources, model and tokenizer made absolute; hub ids stay as they are."""
    text: bytes
    """As submitted, byte for byte."""
    file: Path
    ds_template: dict[str, Any]
    missing: tuple[Problem, ...]
    """Files, folders and globs of sources that are not there; none where they are not needed any more."""
    where: Callable[[FieldPath], str]
    """`file:line:column` of a field, for messages of `core.planning`."""
    files: Files
    named: tuple[Path, ...]
    """The recipe's own file, its base's (the same if it has none), then those that it names, data and model apart; as
    they lie where it was written."""
    prepared: Prepared | None
    """The data as it was when the recipe was submitted, where a job reads it and asks for the same."""

    def require_data(self) -> None:
        """Raise RecipeInvalid if a source's file is missing: preparing and running need all of them."""
        if self.missing:
            raise RecipeInvalid(self.missing)

    def folder_of(self, field: FieldPath) -> Path:
        """Return the folder that a relative path in a field is relative to."""
        return _folder(self.where(field), (self.named[0], self.named[1]))

    def as_read(self) -> Recipe:
        """Return the recipe with the names of copies in place of what was copied, for what reads these files."""
        model = self.recipe.model
        if model.chat_template is None:
            return self.recipe
        template = Path(model.chat_template)
        copy = self.files.copy(template)
        if copy == template:
            return self.recipe
        return self.recipe.model_copy(update={"model": model.model_copy(update={"chat_template": str(copy)})})

    def guess_sizes(self) -> Recipe:
        """Return the recipe with sizes guessed from files where it says none, for a plan in estimated grade."""
        sources = {name: source if source.tokens else source.model_copy(update={"tokens": _guess(source.paths)})
                   for name, source in self.recipe.sources.items()}
        return self.recipe.model_copy(update={"sources": sources})


def load_recipe(argument: str, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Return the recipe at a path or of a shipped name. Raises RecipeInvalid with all its problems."""
    given = find_recipe(argument)
    copies = Files(given)
    file, text = copies.recipe, _read(given)
    base = base_of(text.decode(), str(file))
    base_text = None if base is None else _base(base, file, copies)
    parsed = parse(text.decode(), str(file), base=base_text, overrides=overrides)
    # A relative path is relative to the file it was written in, which may be the base.
    files = (file, file if base_text is None else Path(base_text[1]))
    recipe, missing = _absolute(parsed, files, copies)
    place = parsed.where(("deepspeed",))
    template = find_template(recipe.deepspeed, _folder(place, files), place, copies)
    named = (*files, template, *_chat_template(recipe, copies))
    prepared = copies.submitted and copies.submitted.prepared_for(tuple(overrides))
    return LoadedRecipe(recipe, text, given.absolute(), load_template(template, copies),
                        () if prepared else tuple(missing), parsed.where, copies, named, prepared)


def find_recipe(argument: str) -> Path:
    """Return the file of a recipe: a path, or the name of a shipped one such as quickstart."""
    if is_file(path := Path(argument)):
        return path
    name = argument.removeprefix("recipes/").removesuffix(".yaml")
    for candidate in (f"{name}.yaml", f"{name}/{Path(name).name}.yaml"):
        if (found := shipped("recipes", candidate)) is not None:
            return found
    names = shipped_names("recipes", ".yaml")
    by_stem = [each for each in names if Path(each).stem == name]
    if len(by_stem) == 1 and (found := shipped("recipes", by_stem[0])) is not None:
        return found
    known = [each.removesuffix(".yaml") for each in names] + [Path(each).stem for each in names]
    reason = "is a folder; give the recipe file in it" if is_folder(path) else (
        f"no such file, and no shipped recipe has this name; {did_you_mean(name, known)}")
    raise RecipeInvalid([Problem(argument, "", reason)])


def _read(file: Path) -> bytes:
    try:
        text = file.read_bytes()
        text.decode()
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 text: {error.reason} at byte {error.start}"
        raise RecipeInvalid([Problem(str(file), "", reason)]) from None
    except OSError as error:
        raise RecipeInvalid([Problem(str(file), "", f"cannot be read: {error.strerror}")]) from None
    return text


def _base(name: str, file: Path, files: Files) -> tuple[str, str]:
    path = file.parent / name
    if not is_file(files.copy(path)):
        found = shipped("recipes", name)
        if found is None:
            raise RecipeInvalid([Problem(str(file), "extends", f"no such file: {path}")])
        path = found
    return _read(files.copy(path)).decode(), str(path)


def _folder(place: str, files: tuple[Path, Path]) -> Path:
    file = next((file for file in files if place.startswith(f"{file}:")), files[0])
    return file.parent.absolute()


def _absolute(parsed: ParsedRecipe, files: tuple[Path, Path], copies: Files) -> tuple[Recipe, list[Problem]]:
    sources, missing = dict[str, Source](), list[Problem]()
    for name, source in parsed.recipe.sources.items():
        field: FieldPath = ("sources", name, "path")
        if not source.paths:
            missing.append(Problem(parsed.where(field), f"sources.{name}.path", "names nothing; give a path"))
        places = [field] if isinstance(source.path, str) else [(*field, entry) for entry in range(len(source.path))]
        paths = [_data_path(parsed, place, path, files, missing)
                 for place, path in zip(places, source.paths, strict=True)]
        holdout = source.holdout
        if holdout.path is not None:
            place = ("sources", name, "holdout")
            holdout = holdout.model_copy(update={"path": _data_path(parsed, place, holdout.path, files, missing)})
        path = paths[0] if isinstance(source.path, str) else tuple(paths)
        sources[name] = source.model_copy(update={"path": path, "holdout": holdout})
    return parsed.recipe.model_copy(update={"sources": sources, "model": _model(parsed, files, copies)}), missing


def _data_path(parsed: ParsedRecipe, field: FieldPath, path: str, files: tuple[Path, Path],
               missing: list[Problem]) -> str:
    """Return a data path made absolute; if it is not there, that is added to `missing`."""
    place = parsed.where(field)
    absolute = absolute_data_path(path, _folder(place, files))
    if (problem := problem_with(absolute)) is not None:
        missing.append(Problem(place, ".".join(map(str, field)), problem))
    return absolute


def _guess(paths: Sequence[str]) -> int | None:
    """Return about how many tokens are in local files, or None if there are none."""
    try:
        found = [file for path in paths for file in local_files(path) if is_file(file)]
    except OSError:
        return None
    bytes_per_token = [COMPRESSED_BYTES_PER_TOKEN if is_compressed(file.name) or file.suffix == ".parquet" else
                       BYTES_PER_TOKEN for file in found]
    guesses = [-(-file.stat().st_size // per_token) for file, per_token in zip(found, bytes_per_token, strict=True)]
    return sum(guesses) or None


def _model(parsed: ParsedRecipe, files: tuple[Path, Path], copies: Files) -> ModelChoice:
    model = parsed.recipe.model
    folder = _folder(parsed.where(("model", "path")), files)
    tokenizer = model.tokenizer
    if tokenizer is not None and tokenizer.path is not None:
        place = _folder(parsed.where(("model", "tokenizer", "path")), files)
        tokenizer = tokenizer.model_copy(update={"path": _directory_or_hub_id(tokenizer.path, place)})
    path = None if model.path is None else _directory_or_hub_id(model.path, folder)
    template = model.chat_template
    if template is not None:
        file = typed_path(template, _folder(parsed.where(("model", "chat_template")), files))
        # Else it is the name of a shipped one.
        template = str(file) if is_file(copies.copy(file)) else template
    return model.model_copy(update={"path": path, "tokenizer": tokenizer, "chat_template": template})


def _directory_or_hub_id(path: str, folder: Path) -> str:
    directory = typed_path(path, folder)
    return str(directory) if is_folder(directory) else path


def _chat_template(recipe: Recipe, files: Files) -> tuple[Path, ...]:
    template = recipe.model.chat_template
    # A relative one is the name of a shipped one, whatever lies in this folder.
    own = template is not None and Path(template).is_absolute() and is_file(files.copy(Path(template)))
    return (Path(template),) if template is not None and own else ()
