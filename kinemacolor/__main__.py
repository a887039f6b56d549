"""Where the command `kinemacolor` begins: nothing heavy is imported before Ctrl-C is one line.

The names to import are those of `kinemacolor`.
"""

from __future__ import annotations

import contextlib
import os
import signal


def main() -> None:
    """Entry point of the command `kinemacolor`."""
    # Loading takes half a second, and an interrupt raised inside an import may come out of it as
    # any other error. Nothing is open yet, so the process may end where it stands.
    # Windows has no SIGHUP; one that is ignored stays so, as nohup and shells want it.
    ending = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    signals = [n for n in ending if n and signal.getsignal(n) is not signal.SIG_IGN]
    for number in signals:
        signal.signal(number, _stop)
    from kinemacolor.stream.command.main import main as command

    command(signals=signals)


def _stop(number: int, frame: object) -> None:
    with contextlib.suppress(OSError):  # its terminal is gone
        os.write(2, b"stopped\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
