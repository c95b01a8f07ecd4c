"""Every verb of the command line; each is a thin wrapper around the Python function of the same name."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer
from rasterio.errors import NotGeoreferencedWarning

from mapmend import __version__
from mapmend.cli import audits, benches, judging, labels, maps, projects, samples
from mapmend.core.errors import MapmendError
from mapmend.core.preemption import Preempted
from mapmend.raster.opening import NotGeoreferenced

app = typer.Typer(
    name="mapmend",
    help="Mend land-cover maps: imagery and imperfect labels in, a current map out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_VERBS = (
    projects.demo,
    projects.run,
    projects.prepare,
    judging.doctor,
    projects.train,
    maps.predict,
    maps.change,
    labels.pseudo,
    audits.audit,
    projects.report,
    samples.sample,
    samples.assess,
    judging.score,
)
for _verb in _VERBS:
    app.command()(_verb)
app.add_typer(benches.bench, name="bench")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"mapmend {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    pass


_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # whose place differs between versions
_shown: set[type[Warning]] = set()


def _show_warning(message: Warning | str, category: type[Warning], *_place: object, **_options: object) -> None:
    """One line; where every file of a folder has the same fault, the first one speaks for all."""
    if category is NotGeoreferencedWarning:
        return  # rasterio's, of what this package says in its own words; filters do not hold in threads
    if category is NotGeoreferenced:
        if category in _shown:
            return
        message = f"{message} (other files without one are not named)"
    _shown.add(category)
    print(f"warning: {message}", file=sys.stderr)


def main() -> None:
    """Run the command line; a `MapmendError` becomes one line and exit code 2, a signal exit code 75."""
    warnings.showwarning = _show_warning
    _shown.clear()
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="mapmend", standalone_mode=False)
    except MapmendError as error:
        print(f"mapmend: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except _UsageError as error:
        fault = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "mapmend"
        print(f"mapmend: {fault}; see `{command} --help`", file=sys.stderr)
        raise SystemExit(2) from None
    except typer.Abort:
        raise SystemExit(1) from None
    except Preempted as stop:
        print(f"mapmend: {stop}", file=sys.stderr)
        raise SystemExit(stop.code) from None
    raise SystemExit(code if isinstance(code, int) else 0)
