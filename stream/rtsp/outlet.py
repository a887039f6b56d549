"""Sends packets to a viewer: on its RTSP connection, or as datagrams."""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

# A player's socket holds about 180 packets by Linux's default; a large key frame is spread out.
_BURST_PACKETS = 24
_BURST_SECONDS = 0.001
_UDP_BACKLOG_BYTES = 1 << 20


class Outlet(Protocol):
    """Takes the packets of one track for one viewer."""

    async def send(self, packets: list[bytes]) -> None:
        """Sends RTP packets; waits while the way is full."""

    def report(self, packet: bytes) -> None:
        """Sends one RTCP packet, without waiting."""


class TcpOutlet(Outlet):
    """Writes packets between the responses on the RTSP connection (RFC 2326, 10.12)."""

    def __init__(self, writer: asyncio.StreamWriter, channels: tuple[int, int]) -> None:
        self._writer = writer
        self.channels = channels

    async def send(self, packets: list[bytes]) -> None:
        head = bytes([0x24, self.channels[0]])
        framed = (part for p in packets for part in (head, len(p).to_bytes(2, "big"), p))
        self._writer.write(b"".join(framed))
        await self._writer.drain()

    def report(self, packet: bytes) -> None:
        head = bytes([0x24, self.channels[1]]) + len(packet).to_bytes(2, "big")
        self._writer.write(head + packet)


class UdpOutlet(Outlet):
    """Sends datagrams to the two ports a viewer named, at the address it asked from."""

    def __init__(
        self,
        pair: UdpPair,
        rtp_address: tuple[Any, ...],
        rtcp_address: tuple[Any, ...],
        dropped: Counter[str],
    ) -> None:
        self._pair = pair
        self._dropped = dropped
        self.rtp_address = rtp_address
        self.rtcp_address = rtcp_address

    async def send(self, packets: list[bytes]) -> None:
        rtp = self._pair.rtp
        for at in range(0, len(packets), _BURST_PACKETS):
            if at:
                await asyncio.sleep(_BURST_SECONDS)
            for packet in packets[at : at + _BURST_PACKETS]:
                # asyncio's datagram transports have this method, typeshed does not know it.
                if rtp.get_write_buffer_size() > _UDP_BACKLOG_BYTES:  # type: ignore[attr-defined]
                    self._dropped["udp_full"] += 1
                else:
                    rtp.sendto(packet, self.rtp_address)

    def report(self, packet: bytes) -> None:
        self._pair.rtcp.sendto(packet, self.rtcp_address)


class UdpPair:
    """The server's even RTP port and the odd RTCP port above it, shared by all viewers."""

    def __init__(
        self,
        rtp: asyncio.DatagramTransport,
        rtcp: asyncio.DatagramTransport,
        ports: tuple[int, int],
    ) -> None:
        self.rtp = rtp
        self.rtcp = rtcp
        self.ports = ports
        self.family: socket.AddressFamily = rtp.get_extra_info("socket").family

    @classmethod
    async def open(
        cls, host: str, port: int, on_rtcp: Callable[[tuple[Any, ...], bytes], None]
    ) -> UdpPair:
        """Binds `port` and `port + 1`, or any free pair for port 0.

        Raises:
            OSError: there is no such pair.
        """
        loop = asyncio.get_running_loop()
        sockets = _bind_pair(host, port)
        rtp, _ = await loop.create_datagram_endpoint(lambda: _Receiver(None), sock=sockets[0])
        rtcp, _ = await loop.create_datagram_endpoint(lambda: _Receiver(on_rtcp), sock=sockets[1])
        ports = sockets[0].getsockname()[1], sockets[1].getsockname()[1]
        return cls(rtp, rtcp, ports)

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


class _Receiver(asyncio.DatagramProtocol):
    """Hands RTCP on; what comes to the RTP port only opens a router's way back: it is ignored."""

    def __init__(self, on_rtcp: Callable[[tuple[Any, ...], bytes], None] | None) -> None:
        self._on_rtcp = on_rtcp

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if self._on_rtcp is not None:
            self._on_rtcp(addr, data)


def _bind_pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    if port % 2:
        raise OSError(errno.EINVAL, f"the RTP port is even (RFC 3550, 11); got {port}")
    # RFC 6335's dynamic range, even numbers only.
    tries = [port] if port else [49152 + 2 * secrets.randbelow(8191) for _ in range(64)]
    failure: OSError | None = None
    for even in tries:
        family = socket.getaddrinfo(host or None, even, type=socket.SOCK_DGRAM)[0][0]
        pair = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
        try:
            for offset, sock in enumerate(pair):
                sock.setblocking(False)
                sock.bind((host, even + offset))
        except OSError as error:
            failure = error
            for sock in pair:
                sock.close()
            continue
        return pair
    raise failure or OSError(errno.EADDRINUSE, "no free pair of UDP ports")
