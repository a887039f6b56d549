"""Reads the Transport header that a client sends and writes the answer's (RFC 2326, 12.39)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PAIR = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?\Z")


@dataclass(frozen=True, slots=True)
class TcpOffer:
    """RTP on the RTSP connection itself; channels are None where the server may choose."""

    channels: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class UdpOffer:
    """RTP and RTCP to two ports of the client's own address."""

    ports: tuple[int, int]


def parse_transport(header: str) -> list[TcpOffer | UdpOffer]:
    """Reads what of a Transport header can be served, in the client's order; often nothing.

    A `destination` is passed over: packets go to the address that asked and to no other, or the
    server could be turned against a third party.
    """
    offers = [_offer(spec) for spec in header.split(",")[:8]]
    return [offer for offer in offers if offer is not None]


def _offer(spec: str) -> TcpOffer | UdpOffer | None:
    protocol, *rest = (part.strip() for part in spec.split(";"))
    options = {
        key.strip().lower(): value.strip().strip('"')
        for key, _, value in (part.partition("=") for part in rest)
    }
    if "multicast" in options or options.get("mode", "PLAY").upper() != "PLAY":
        return None
    match protocol.upper():
        case "RTP/AVP/TCP":
            if "interleaved" not in options:
                return TcpOffer(None)
            channels = _pair(options["interleaved"], 0, 255)
            return TcpOffer(channels) if channels else None
        case "RTP/AVP" | "RTP/AVP/UDP":
            # Ports below 1024 belong to services, never to a player.
            ports = _pair(options.get("client_port", ""), 1024, 65535)
            return UdpOffer(ports) if ports else None
        case _:
            return None


def _pair(text: str, low: int, high: int) -> tuple[int, int] | None:
    match = _PAIR.match(text)
    if match is None:
        return None
    first = int(match[1])
    second = int(match[2]) if match[2] else first + 1
    if not (low <= first <= high and low <= second <= high) or first == second:
        return None
    return first, second


def format_tcp(channels: tuple[int, int], ssrc: int) -> str:
    return f"RTP/AVP/TCP;unicast;interleaved={channels[0]}-{channels[1]};ssrc={ssrc:08X}"


def format_udp(client: tuple[int, int], server: tuple[int, int], ssrc: int) -> str:
    return (
        f"RTP/AVP;unicast;client_port={client[0]}-{client[1]};"
        f"server_port={server[0]}-{server[1]};ssrc={ssrc:08X}"
    )
