"""The command line. Each command's body lives in a module of its own, imported when the command runs.

So `launcher --help` answers at once: this module imports neither torch nor ray nor numpy.
"""

import sys
from typing import Annotated

import typer

app = typer.Typer(name="launcher", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  context_settings={"help_option_names": ["-h", "--help"]},
                  help="Fine-tune large models through recipes of stages and mixes, as one run that survives.")

RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped one.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run directory, or a name under runs/.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE",
                      help="Override a recipe field, for example stages.0.length.steps=20. May be repeated.")]
CacheOption = Annotated[str | None, typer.Option("--cache", help="Prepared data. Default: $LAUNCHER_CACHE, "
                        "else ~/.cache/launcher.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def main() -> None:
    """Run the command line; map errors to one message and an exit code."""
    from launcher.core.errors import LauncherError

    try:
        app()
    except LauncherError as error:
        sys.stderr.write(f"launcher: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
