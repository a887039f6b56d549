"""Which of a source's tags are kept: those about the picture, not about how it was stored."""

from __future__ import annotations

import math

from kinemacolor.stream.stills.ifd import (
    ORIENTATION,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    Tag,
    number_of,
)
from kinemacolor.stream.stills.info import ORIENTATIONS

DESCRIPTION, PHOTOSHOP = 270, 34377
# TIFF 6.0 and Adobe's supplements: tags that say how the old samples were stored.
_STRUCTURE = {254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281}
_STRUCTURE |= {284, 288, 289, 290, 291, 292, 293, 297, 301, 317, 320, 321, 322, 323, 324, 325}
_STRUCTURE |= {330, 332, 333, 334, 336, 338, 339, 340, 341, 347, *range(512, 522), *range(529, 533)}
_STRUCTURE |= {700, 34675}  # XMP and ICC, which have fields of their own
_STRUCTURE |= {32995, 32996, 32997, 37724, 50838, 50839}  # layers and stacks of grey pictures
# Descriptions in which tifffile, ImageJ and OME microscopes count the old samples.
_LAYOUTS = (b'{"shape":', b"ImageJ=", b"<?xml")


def kept_tags(tags: Directory) -> Directory:
    """The tags worth keeping. Photoshop's resources are kept apart."""
    kept = {code: tag for code, tag in tags.items() if code not in _STRUCTURE | {PHOTOSHOP}}
    description = kept.get(DESCRIPTION)
    if isinstance(description, Tag) and description.data.startswith(_LAYOUTS):
        del kept[DESCRIPTION]
    return kept


def orientation_of(tags: Directory) -> int:
    """EXIF's orientation; 1 where it is missing or none."""
    value = number_of(tags, ORIENTATION)
    return int(value) if value in ORIENTATIONS else 1


def resolution_of(tags: Directory) -> tuple[float, float] | None:
    """Dots per inch, where the tags say so; a resolution without a unit is none."""
    per_inch = {2.0: 1.0, 3.0: 2.54}.get(number_of(tags, RESOLUTION_UNIT))
    if per_inch is None and RESOLUTION_UNIT not in tags:
        per_inch = 1.0  # TIFF 6.0: inch where it is not said
    x, y = number_of(tags, X_RESOLUTION), number_of(tags, Y_RESOLUTION)
    return None if per_inch is None else checked_dpi(x * per_inch, y * per_inch)


def checked_dpi(x: float, y: float) -> tuple[float, float] | None:
    """A resolution, or None where it cannot be one."""
    both = math.isfinite(x) and math.isfinite(y) and 0 < x < 1e6 and 0 < y < 1e6
    return (x, y) if both else None
