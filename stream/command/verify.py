"""The command `verify`."""

from __future__ import annotations

from pathlib import Path

import typer
from kinemacolor.stream.command.console import Exit, start_log


def verify(source: Path, result: Path) -> None:
    """Proves that luma, frames, times, sound and tags of RESULT are those of SOURCE."""
    start_log(quiet=True)
    from kinemacolor.stream.proof.verify import verify as compare

    checks = compare(source, result)
    for check in checks:
        print(f"{'ok  ' if check.passed else 'FAIL'}  {check.name:<10} {check.detail}")
    if not all(check.passed for check in checks):
        raise typer.Exit(Exit.FAILED)
