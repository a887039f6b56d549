"""GStreamer's RTSP server, taking RECORD; run by the system's Python, which has its modules.

Arguments: port, and a user and a password if it shall ask for them. Prints "ready", then a line
for every picture it has decoded.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
factory.set_launch(
    "( rtph264depay name=depay0 ! h264parse ! avdec_h264 "
    "! fakesink name=pictures signal-handoffs=true sync=false async=false "
    "rtpmp4gdepay name=depay1 ! fakesink name=sounds signal-handoffs=true sync=false async=false )"
)


def configure(factory, media):
    for name in ("pictures", "sounds"):
        media.get_element().get_by_name(name).connect(
            "handoff", lambda sink, buffer, pad, name=name: print(name, flush=True)
        )


factory.connect("media-configure", configure)
if len(sys.argv) > 2:
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(2)  # GST_RTSP_AUTH_DIGEST
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "publisher")
    auth.add_digest(sys.argv[2], sys.argv[3], token)
    server.set_auth(auth)
    roles = GstRtspServer.RTSPPermissions()
    roles.add_permission_for_role("publisher", "media.factory.access", True)
    roles.add_permission_for_role("publisher", "media.factory.construct", True)
    factory.set_permissions(roles)
server.get_mount_points().add_factory("/push", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
