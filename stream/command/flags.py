"""The options of a run on the command line."""

from __future__ import annotations

from kinemacolor.stream.options import Options

from kinemacolor.checked import types_of
from kinemacolor.flags import takes

takes_options = takes(types_of(Options).values(), Options.of)
