"""Colorizes black-and-white video as it plays.

    from kinemacolor import colorize

    report = colorize("film.mkv", "film-color.mkv", steady="film", saturation=1.1)

The public names are those of `__init__.pyi`. Each is imported when it is first asked for, so that
`import kinemacolor` costs nothing.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
