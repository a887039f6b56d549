"""The command `stills`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from kinemacolor.stream.command.console import console, start_log


def stills(
    film: Path,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER")],
    colored: Annotated[
        bool, typer.Option("--colored", help="In the network's colours, to be corrected.")
    ] = False,
    contact_sheet: Annotated[
        bool, typer.Option("--contact-sheet", help="All of them as one picture, too.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("-y", "--overwrite")] = False,
    model: Annotated[str, typer.Option(help="Of --colored.")] = "kinema",
) -> None:
    """Writes one frame of each shot of FILM, to be painted and given back by --references."""
    start_log(quiet=True)
    from kinemacolor.stream.run.stills import write_stills

    written = write_stills(
        film,
        output,
        colored=colored,
        contact_sheet=contact_sheet,
        overwrite=overwrite,
        model=model,
    )
    console.print(f"wrote {len(written)} pictures into {output}")
