"""Does every player play our RTSP server over TCP and UDP, without an error line or a lost frame?

python -m benchmarks.rtsp_clients --seconds 60
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from kinemacolor.stream.rtsp import Credentials, RtspServer

from tests.rtsp_peer import Publisher, encode_clip
from tests.rtsp_players import PLAYERS

FPS = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--players", nargs="*", default=list(PLAYERS))
    parser.add_argument("--login", action="store_true", help="ask for Digest authentication")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    clip = encode_clip(3.84, width=640, height=480, fps=FPS, gop=24)
    frames = round(options.seconds * FPS)
    rows = []
    print(f"{'player':10} {'over':4} {'wanted':>6} {'shown':>6} {'took s':>7} {'lines':>5}  result")
    for name in options.players:
        player = PLAYERS[name]
        for transport in ("tcp", "udp"):
            if reason := player.missing():
                print(f"{name:10} {transport:4} {'':27} not run: {reason}")
                continue
            login = Credentials("ann", "correct horse") if options.login else None
            with RtspServer(port=0, credentials=login) as server, Publisher(server, clip):
                url = server.url
                if login:
                    url = url.replace("//", f"//{login.user}:correct%20horse@")
                begin = time.monotonic()
                result = player.play(url, transport, frames, timeout=options.seconds + 60)
                took = time.monotonic() - begin
                time.sleep(0.2)
                stats = server.stats()
            good = result.code == 0 and not result.complaints and result.frames >= frames
            rows.append(
                {
                    "player": name,
                    "transport": transport,
                    "wanted": frames,
                    "shown": result.frames,
                    "seconds": round(took, 1),
                    "complaints": result.complaints,
                    "dropped": stats.dropped,
                    "ended": stats.ended,
                    "receiver_reports": stats.counts.get("receiver_reports", 0),
                    "good": good,
                }
            )
            print(
                f"{name:10} {transport:4} {frames:6} {result.frames:6} {took:7.1f} "
                f"{len(result.complaints):5}  {'good' if good else 'BAD'} {stats.ended}"
            )
            for line in result.complaints[:10]:
                print("    ", line[:200])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))
    sys.exit(not all(row["good"] for row in rows))


if __name__ == "__main__":
    main()
