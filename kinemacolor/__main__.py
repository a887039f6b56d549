"""Where the command `kinemacolor` begins: nothing heavy is imported before Ctrl-C is one line.

The names to import are those of `kinemacolor`.
"""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Entry point of the command `kinemacolor`."""
    # Loading takes half a second, and an interrupt raised inside an import may come out of it as
    # any other error. Nothing is open yet, so the process may end where it stands.
    before = {
        number: signal.signal(number, _stop)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    from kinemacolor.stream.command.main import main as command

    command(handlers=before)


def _stop(number: int, frame: object) -> None:
    os.write(2, b"stopped\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
