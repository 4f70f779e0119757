"""Slides as scanners of several makers write them, so far as what reads them goes by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from pixel_files import Pixels

_JPEG: dict[str, Any] = {
    "photometric": "rgb",
    "compression": "jpeg",
    "compressionargs": {"level": 95},
    "subsampling": (1, 1),
    "metadata": None,
}
_LEICA = "http://www.leica-microsystems.com/scn/2010/10/01"


def _label() -> Pixels:
    return np.full((40, 60, 3), 120, np.uint8)


def _xml(text: str) -> tuple[int, str, int, bytes, bool]:
    return (700, "B", len(text), text.encode(), True)


def write_scn(path: Path, pixels: Pixels) -> None:
    """Write what a Leica SCN400 does: the whole glass, then a scan of a part of it."""
    sizes = [pixels[:: 4**n, :: 4**n].shape[:2] for n in range(2)]
    levels = [(w, h, n + 1) for n, (h, w) in enumerate(sizes)]
    glass = 'sizeX="26564529" sizeY="76734666"'
    part = f'sizeX="{500 * sizes[0][1]}" sizeY="{500 * sizes[0][0]}" offsetX="5" offsetY="8"'
    about = (
        f'<?xml version="1.0"?>\n<scn xmlns="{_LEICA}"><collection name="c" uuid="u" {glass}>'
        + _scn_image(0, [(60, 40, 0)], f'{glass} offsetX="0" offsetY="0"', 0.6)
        + _scn_image(1, levels, part, 20)
        + "</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        tif.write(_label(), tile=(64, 64), description=about, **_JPEG)
        for n in range(2):
            more = {"resolution": (20000 / 4**n,) * 2, "resolutionunit": "CENTIMETER"}
            tif.write(
                pixels[:: 4**n, :: 4**n], tile=(64, 64), subfiletype=int(n > 0), **more, **_JPEG
            )


def _scn_image(n: int, levels: list[tuple[int, int, int]], view: str, power: float) -> str:
    sizes = "".join(
        f'<dimension sizeX="{w}" sizeY="{h}" r="{r}" ifd="{page}" />'
        for r, (w, h, page) in enumerate(levels)
    )
    light = "<illuminationSource>brightfield</illuminationSource>"
    return (
        f'<image name="i{n}" uuid="u{n}"><device model="Leica SCN400" version="1" />'
        f'<pixels sizeX="{levels[0][0]}" sizeY="{levels[0][1]}">{sizes}</pixels>'
        f'<view {view} spacingZ="0" /><scanSettings><objectiveSettings><objective>{power}'
        f"</objective></objectiveSettings><illuminationSettings>{light}</illuminationSettings>"
        "</scanSettings></image>"
    )


def write_bif(path: Path, pixels: Pixels, overlap: int = 0) -> None:
    """Write what a Ventana scanner does: a label, and levels whose tiles may overlap."""
    joint = (
        f'<TileJointInfo FlagJoined="1" Direction="RIGHT" Tile1="1" Tile2="2" OverlapX="{overlap}"'
    )
    about = f'<EncodeInfo Ver="2"><SlideStitchInfo>{joint} OverlapY="0"/></SlideStitchInfo>'
    scan = '<iScan Magnification="20" ScanRes="0.5"/>'
    software = {"software": "ScanOutputManager 1.1.0.15854"}
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        said = {"description": "Label_Image", "extratags": [_xml(scan)]}
        tif.write(_label(), **software, **said, **_JPEG)
        for n in range(2):
            text = f"{about}</EncodeInfo>" if n == 0 else "<EncodeInfo/>"
            said = {"description": f"level={n} mag={20 / 2**n:g} quality=90"}
            said |= {"extratags": [_xml(text)], "tile": (64, 64)}
            tif.write(pixels[:: 2**n, :: 2**n], **software, **said, **_JPEG)


def write_philips(path: Path, pixels: Pixels, tile: int = 64) -> None:
    """Write what a Philips scanner does: levels padded, in black, to whole tiles."""
    spacings = "".join(
        '<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING" '
        'Group="0x0028" Element="0x0030" PMSVR="IDoubleArray">'
        f'"{0.0005 * 2**n}" "{0.0005 * 2**n}"</Attribute></DataObject>'
        for n in range(2)
    )
    about = (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport"><Attribute '
        'Name="PIM_DP_SCANNED_IMAGES" PMSVR="IDataObjectArray"><Array><DataObject '
        'ObjectType="DPScannedImage"><Attribute Name="PIM_DP_IMAGE_TYPE" PMSVR="IString">WSI'
        '</Attribute><Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE" '
        f'PMSVR="IDataObjectArray"><Array>{spacings}</Array></Attribute></DataObject></Array>'
        "</Attribute></DataObject>"
    )
    with tifffile.TiffWriter(path) as tif:
        for n in range(2):
            level = pixels[:: 2**n, :: 2**n]
            padding = tuple((0, -side % tile) for side in level.shape[:2])
            padded = np.pad(level, (*padding, (0, 0)))
            said = {"software": "Philips DP v1.0", "description": about if n == 0 else ""}
            tif.write(padded, tile=(tile, tile), subfiletype=int(n > 0), **said, **_JPEG)


def write_qptiff(path: Path, pixels: Pixels) -> None:
    """Write what a PerkinElmer Vectra does: the scan, a thumbnail, a level, a label."""
    kinds = (
        ("FullResolution", pixels),
        ("Thumbnail", pixels[::8, ::8]),
        ("ReducedResolution", pixels[::2, ::2]),
        ("Label", _label()),
    )
    with tifffile.TiffWriter(path) as tif:
        for kind, image in kinds:
            about = (
                '<?xml version="1.0" encoding="utf-16"?><PerkinElmer-QPI-ImageDescription>'
                f"<ImageType>{kind}</ImageType></PerkinElmer-QPI-ImageDescription>"
            )
            said = {"software": "PerkinElmer-QPI", "description": about}
            tiled = {"tile": (64, 64)} if "Resolution" in kind else {}
            tif.write(image, **tiled, **said, **_JPEG)
