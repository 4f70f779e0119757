"""Names of prefix files, the input of the published Pixel2Gene and iStar; imports nothing heavy.

A section is whatever begins with the same prefix, often none: `cnts.tsv`, or `sample-cnts.tsv`.
"""

from __future__ import annotations

from collections.abc import Collection

COUNTS = ("cnts.parquet", "cnts.tsv", "cnts.tsv.gz")
LOCATIONS = ("locs-raw.tsv", "locs-raw.parquet")
IMAGES = tuple(
    f"he-raw{suffix}"
    for suffix in (".jpg", ".png", ".tiff", ".tif", ".btf", ".ome.tiff", ".ome.tif")
)
RADIUS = "radius-raw.txt"
PIXEL_SIZE = "pixel-size-raw.txt"
TARGET_PIXEL_SIZE = "pixel-size.txt"
MASK = "mask-raw.png"
"""Where several files could play a part, the published programs take the one named first."""


def prefixes(names: Collection[str]) -> list[str]:
    """Return the prefixes whose counts lie beside locations or an image, sorted."""
    found = set()
    for part in COUNTS:
        # Names that begin with a dot are other systems' shadows of files.
        starts = (n.removesuffix(part) for n in names if n.endswith(part) and n[0] != ".")
        found |= {s for s in starts if any(s + other in names for other in (*LOCATIONS, *IMAGES))}
    return sorted(found)


def slides_alone(names: Collection[str]) -> list[str]:
    """Return the prefixes that have an image and no counts, sorted."""
    counted = prefixes(names)
    starts = {
        n.removesuffix(part) for part in IMAGES for n in names if n.endswith(part) and n[0] != "."
    }
    return sorted(starts.difference(counted))
