"""Recipes on disk: finding them, their base and their DeepSpeed template.

Decides where a name is looked for: beside the recipe, then among what ships with launcher. What a recipe means is
`core.recipe_text`, what its paths mean `storage.recipe_paths`. Source files that are missing are collected, not
refused: a plan from sizes in the recipe needs none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.core.errors import Problem, RecipeInvalid
from launcher.core.known import Known
from launcher.core.recipe import Recipe
from launcher.core.recipe_text import base_of, parse
from launcher.core.source_index import Prepared
from launcher.core.suggestions import did_you_mean
from launcher.core.yaml_tree import FieldPath
from launcher.storage.data_paths import is_compressed, local_files
from launcher.storage.ds_templates import find_template, load_template, stage_templates
from launcher.storage.model_facts import config_at, refuse_misfits
from launcher.storage.recipe_paths import LocalPath, absolute, base_folder, from_copies
from launcher.storage.shipped import is_shipped, shipped, shipped_names
from launcher.storage.submitted import Files
from launcher.storage.typed_paths import is_file, is_folder

BYTES_PER_TOKEN, COMPRESSED_BYTES_PER_TOKEN = 4, 1
"""Of text files in English, for guesses."""
EXAMPLE = "comes with launcher as an example, without data: copy it, name data of your own there, and take the copy"


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe with all that belongs to it on disk."""

    recipe: Recipe
    """With the paths of sources, model and tokenizer made absolute; hub ids stay as they are."""
    text: bytes
    """As submitted, byte for byte."""
    file: Path
    ds_template: dict[str, Any]
    known: Known
    """What else planning asks for: templates of stages, and the model's config.json if it is here."""
    missing: tuple[Problem, ...]
    """Files, folders and globs of sources that are not there; none where they are not needed any more."""
    local: tuple[LocalPath, ...]
    """What is named of this machine alone: neither on the network nor shipped with launcher."""
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
        if not self.missing:
            return
        if is_shipped("recipes", self.file):
            raise RecipeInvalid([*self.missing, Problem(str(self.file), "", EXAMPLE)])
        raise RecipeInvalid(self.missing)

    def folder_of(self, field: FieldPath) -> Path:
        """Return the folder that a relative path in a field is relative to."""
        return base_folder(self.where(field), (self.named[0], self.named[1]))

    def as_read(self) -> Recipe:
        """Return the recipe with the names of copies in place of what was copied, for what reads these files."""
        if self.files.submitted is None:
            return self.recipe
        model, copy = self.recipe.model, self.files.read_from
        template = None if model.chat_template is None else copy(model.chat_template)
        sources = {name: from_copies(source, copy) for name, source in self.recipe.sources.items()}
        return self.recipe.model_copy(update={"model": model.model_copy(update={"chat_template": template}),
                                              "sources": sources})

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
    recipe, found = absolute(parsed, files, copies)
    if found.wrong:
        raise RecipeInvalid(found.wrong)
    refuse_misfits(recipe, parsed.where)
    place = parsed.where(("deepspeed",))
    template = find_template(recipe.deepspeed, base_folder(place, files), place, copies)
    own = stage_templates(recipe, parsed.where, files, copies)
    named = (*files, template, *own.values(), *_chat_template(recipe, copies), *_function(recipe, copies))
    known = Known({name: load_template(file, copies) for name, file in own.items()}, config_at(recipe.model.path or ""))
    prepared = copies.submitted and copies.submitted.prepared_for(tuple(overrides))
    return LoadedRecipe(recipe, text, given.absolute(), load_template(template, copies), known,
                        () if prepared else tuple(found.missing), tuple(found.local), parsed.where, copies, named,
                        prepared)


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


def _chat_template(recipe: Recipe, files: Files) -> tuple[Path, ...]:
    template = recipe.model.chat_template
    # A relative one is the name of a shipped one, whatever lies in this folder.
    own = template is not None and Path(template).is_absolute() and is_file(files.copy(Path(template)))
    return (Path(template),) if template is not None and own else ()


def _function(recipe: Recipe, files: Files) -> tuple[Path, ...]:
    function = recipe.evaluate.function
    # Where it is not, the recipe was recorded with the text.
    return (Path(function.path),) if function is not None and is_file(files.copy(Path(function.path))) else ()
