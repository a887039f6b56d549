"""Writes the session description (RFC 4566; RFC 6184, 8.2.1; RFC 3640, 4.1)."""

from __future__ import annotations

from base64 import b64encode

from kinemacolor.stream.rtsp.tracks import AUDIO, VIDEO, AudioTrack, VideoTrack


def describe(
    video: VideoTrack | None, audio: AudioTrack | None, *, address: str, number: int, title: str
) -> bytes:
    """Writes SDP for the tracks there are; `number` identifies this run of the server."""
    family = "IP6" if ":" in address else "IP4"
    lines = [
        "v=0",
        f"o=- {number} 1 IN {family} {address}",
        f"s={title}",
        f"c=IN {family} {'::' if family == 'IP6' else '0.0.0.0'}",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
    ]
    if video is not None:
        kind = video.payload_type
        sets = ",".join(b64encode(nal).decode() for nal in video.sets.sps + video.sets.pps)
        lines += [
            f"m=video 0 RTP/AVP {kind}",
            f"a=rtpmap:{kind} H264/{video.clock_rate}",
            f"a=fmtp:{kind} packetization-mode=1; "
            f"profile-level-id={video.sets.sps[0][1:4].hex().upper()}; sprop-parameter-sets={sets}",
            f"a=control:trackID={VIDEO}",
        ]
    if audio is not None:
        kind = audio.payload_type
        lines.append(f"m=audio 0 RTP/AVP {kind}")
        lines.append(f"a=rtpmap:{kind} {audio.encoding}")
        if audio.codec == "aac":
            lines.append(
                f"a=fmtp:{kind} streamtype=5; profile-level-id=1; mode=AAC-hbr; "
                "sizelength=13; indexlength=3; indexdeltalength=3; "
                f"config={audio.config.hex().upper()}"
            )
        elif audio.codec == "opus":
            lines.append(f"a=fmtp:{kind} sprop-stereo={int(audio.channels > 1)}")
        lines.append(f"a=control:trackID={AUDIO}")
    return ("\r\n".join(lines) + "\r\n").encode()
