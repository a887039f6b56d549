"""The public names and their homes: read by type checkers, and by `__init__.py` when it runs."""

from .engine.backend import Backend as Backend
from .engine.errors import EngineError as EngineError
from .engine.load import load as load
from .errors import BadOption as BadOption
from .errors import KinemacolorError as KinemacolorError
from .stream.anchor.hints import Hint as Hint
from .stream.anchor.reference import Reference as Reference
from .stream.color.colorizer import Colorizer as Colorizer
from .stream.color.painter import Style as Style
from .stream.errors import BadHint as BadHint
from .stream.errors import BadReference as BadReference
from .stream.errors import BadSink as BadSink
from .stream.errors import BadSource as BadSource
from .stream.errors import NotYetError as NotYetError
from .stream.errors import SinkError as SinkError
from .stream.errors import SinkExists as SinkExists
from .stream.errors import SourceError as SourceError
from .stream.errors import SourceNotFound as SourceNotFound
from .stream.errors import StreamError as StreamError
from .stream.media import Item as Item
from .stream.media import Sink as Sink
from .stream.media import Source as Source
from .stream.media import SourceInfo as SourceInfo
from .stream.options import ColorOptions as ColorOptions
from .stream.options import EncodeOptions as EncodeOptions
from .stream.options import LiveOptions as LiveOptions
from .stream.options import Options as Options
from .stream.options import OutputOptions as OutputOptions
from .stream.options import Span as Span
from .stream.pipeline import run as run
from .stream.proof.verify import verify as verify
from .stream.run.job import Job as Job
from .stream.run.progress import Progress as Progress
from .stream.run.report import Report as Report
from .stream.run.run import Run as Run
from .stream.run.run import Watcher as Watcher
from .stream.run.run import colorize as colorize
from .stream.sinks.open import open_sink as open_sink
from .stream.sources.open import open_source as open_source

__version__: str
