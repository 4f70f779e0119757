"""Small files laid out as those of each scanner are, with the pixels that they are given."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
LOSSLESS = {"photometric": "rgb", "compression": "zlib", "metadata": None}
_TILED = {"tile": (64, 64), **LOSSLESS}
APERIO = "Aperio Image Library v12.0\r\n"


def plain(shape: tuple[int, int], value: int = 120) -> Pixels:
    """Return an image of one grey, as labels and macros are."""
    return np.full((*shape, 3), value, np.uint8)


def steps_of(pixels: Pixels, *steps: int) -> list[Pixels]:
    """Return coarse levels, their sizes rounded down."""
    height, width = pixels.shape[:2]
    return [pixels[: height // n * n : n, : width // n * n : n] for n in steps]


def svs(
    path: Path,
    pixels: Pixels,
    said: str = "MPP = 0.5",
    *,
    thumbnail: bool = True,
    beside: int = 2,
    **options: Any,
) -> None:
    """Aperio: a baseline, a thumbnail in strips, levels, then a label and a macro."""
    about = f"{APERIO}{pixels.shape[1]}x{pixels.shape[0]} (64x64) JPEG/RGB"
    half, quarter = steps_of(pixels, 2, 4)
    strips = {**LOSSLESS, **options}
    tiled = {**strips, "tile": (64, 64)}
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels, description=f"{about}|AppMag = 20|{said}", **tiled)
        if thumbnail:
            tif.write(pixels[::3, ::3], description=f"{about} -> 100x70 - |{said}", **strips)
        for level in (half, quarter):
            tif.write(level, description=f"{about} -> a level|{said}", **tiled)
        for kind, number in (("label", 1), ("macro", 9))[:beside]:
            text = f"{APERIO}{kind} 700x600"
            tif.write(plain((600, 700)), subfiletype=number, description=text, **strips)


def ndpi(
    path: Path, pixels: Pixels, per_cm: float = 20000, *, levels: bool = True, pages_at: int = 0
) -> None:
    """Hamamatsu: tags of its own, a macro and a map larger than the slide; 64-bit offsets."""

    def tags(lens: float) -> dict[str, Any]:
        own = ((65420, "I", 1, 1, True), (65421, "f", 1, lens, True), (271, "s", 0, "H", True))
        return {"extratags": own, **LOSSLESS}

    def at(n: float) -> dict[str, Any]:
        return {"resolution": (per_cm / n, per_cm / n), "resolutionunit": "CENTIMETER"}

    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels, tile=(64, 64), **at(1), **tags(20.0))
        for level, n in zip(steps_of(pixels, 4, 8), (4, 8), strict=True):
            if levels:
                tif.write(level, tile=(64, 64), **at(n), **tags(20.0 / n))
        tif.write(plain((600, 700)), **at(100), **tags(-1.0))
        tif.write(plain((610, 710)), **at(100), **tags(-2.0))
    if path.suffix == ".ndpi":
        _widen_offsets(path, pages_at)


def _widen_offsets(path: Path, pages_at: int) -> None:
    """Write the pages of a TIFF anew as NDPI has them: 8 bytes for where the next one lies."""
    data = bytearray(path.read_bytes())
    place, pages = struct.unpack_from("<I", data, 4)[0], []
    while place:
        (number,) = struct.unpack_from("<H", data, place)
        end = place + 2 + 12 * number
        pages.append((number, bytes(data[place:end])))
        (place,) = struct.unpack_from("<I", data, end)
    wide = bytearray()
    start = max(len(data) + len(data) % 2, pages_at)
    for number, entries in pages:
        after = start + len(wide) + len(entries) + 8 + 4 * number
        following = 0 if entries is pages[-1][1] else after + after % 2
        wide += entries + struct.pack("<Q", following) + bytes(4 * number)
        wide += bytes((start + len(wide)) % 2)
    # The header is longer, too: over pages that are not read any more.
    struct.pack_into("<Q", data, 4, start)
    with path.open("wb") as file:
        file.write(data)
        file.seek(start)
        file.write(wide)


def scn(path: Path, pixels: Pixels, nm: tuple[float, float] = (500.0, 500.0)) -> None:
    """Leica: the macro first, a small region, then the largest one in two resolutions."""
    small, (half,) = pixels[:100, :150], steps_of(pixels, 2)
    height, width = pixels.shape[:2]
    view = f'sizeX="{width * nm[0]:.0f}" sizeY="{height * nm[1]:.0f}"'
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        '<collection name="c" sizeX="26564529" sizeY="76734666">'
        + _leica("whole", [(300, 900)], 0, 'sizeX="26564529" sizeY="76734666" offsetX="0"')
        + _leica("region 2", [(150, 100)], 1, 'sizeX="150000" sizeY="100000" offsetX="1"')
        + _leica("region 1", [(width, height), (width // 2, height // 2)], 2, view)
        + "</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        tif.write(plain((900, 300)), description=xml, **_TILED)
        for image in (small, pixels, half):
            tif.write(image, **_TILED)


def _leica(name: str, sizes: list[tuple[int, int]], page: int, view: str) -> str:
    levels = "".join(
        f'<dimension sizeX="{w}" sizeY="{h}" r="{n}" ifd="{page + n}" />'
        for n, (w, h) in enumerate(sizes)
    )
    return f'<image name="{name}"><pixels>{levels}</pixels><view {view} spacingZ="0" /></image>'


def bif(path: Path, pixels: Pixels, mpp: str = "0.5") -> None:
    """Ventana: a label and a probability image first, then levels that say so."""
    scan = f"<Metadata><iScan Magnification='20' ScanRes='{mpp}' /></Metadata>"
    joints = '<EncodeInfo><TileJointInfo Direction="LEFT" OverlapX="0" OverlapY="0"/>'
    xmp = [(700, "B", 0, text.encode(), True) for text in (scan, f"{joints}</EncodeInfo>")]
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        software = {"software": "ScanOutputManager 1.1", "extratags": xmp[:1]}
        tif.write(plain((600, 700)), description="Label_Image", **software, **LOSSLESS)
        tif.write(plain((610, 700)), description="Probability_Image", **LOSSLESS)
        for n, level in enumerate((pixels, *steps_of(pixels, 2, 4))):
            said = f"level={n} mag={20 / 2**n} quality=90"
            tif.write(level, description=said, extratags=xmp[1:] if not n else (), **_TILED)


_JPEG = {
    "photometric": "rgb",
    "compression": "jpeg",
    "compressionargs": {"level": 98},
    "subsampling": (1, 1),
    "metadata": None,
}


def overlapping(pixels: Pixels, tiles: tuple[int, int], overlap: int, side: int = 64) -> Pixels:
    """Cut rows × columns of tiles that overlap, and lay them side by side."""
    step = side - overlap
    rows = [
        [pixels[y * step : y * step + side, x * step : x * step + side] for x in range(tiles[1])]
        for y in range(tiles[0])
    ]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def stitched_bif(path: Path, pixels: Pixels, tiles: tuple[int, int], overlap: int) -> None:
    """Ventana, before its scanners stitched: tiles of 64 px, joined from below, there and back."""
    rows, columns = tiles

    def number(row: int, column: int) -> int:
        up = rows - 1 - row
        return up * columns + (columns - 1 - column if up % 2 else column) + 1

    def joint(way: str, one: tuple[int, int], other: tuple[int, int], x: int, y: int) -> str:
        return (
            f'<TileJointInfo FlagJoined="1" Confidence="100" Direction="{way}" '
            f'Tile1="{number(*one)}" Tile2="{number(*other)}" OverlapX="{x}" OverlapY="{y}"/>'
        )

    across = [
        joint("RIGHT", (r, c), (r, c + 1), overlap, 0)
        for r in range(rows)
        for c in range(columns - 1)
    ]
    up = [
        joint("UP", (r + 1, c), (r, c), 0, overlap) for r in range(rows - 1) for c in range(columns)
    ]
    said = (
        '<EncodeInfo Ver="2"><SlideInfo/><SlideStitchInfo><ImageInfo AOIScanned="1" AOIIndex="0" '
        f'NumRows="{rows}" NumCols="{columns}" Width="64" Height="64" Pos-X="0" Pos-Y="0">'
        f"{''.join(across + up)}</ImageInfo></SlideStitchInfo>"
        '<AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>'
    )
    scan = (
        '<Metadata><iScan Magnification="20" ScanRes="0.5">'
        '<AOI0 Left="0" Top="0" Right="1" Bottom="1"/></iScan></Metadata>'
    )
    xmp = [(700, "B", 0, text.encode(), True) for text in (scan, said)]
    laid = overlapping(pixels, tiles, overlap)
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        tif.write(
            plain((60, 70)), description="Label_Image", extratags=xmp[:1], software="Scan", **_JPEG
        )
        for n, more in enumerate((xmp[1:], [])):
            level = laid[:: 2**n, :: 2**n]
            text = f"level={n} mag={20 / 2**n:g} quality=98"
            tif.write(level, description=text, extratags=more, tile=(64, 64), **_JPEG)


def trestle(path: Path, pixels: Pixels, tiles: tuple[int, int], overlap: int) -> None:
    """Trestle: levels of tiles that overlap, µm per pixel as if they were pixels per unit."""
    said = f"Objective Power=20;OverlapsXY= {overlap} {overlap}"
    tifffile.imwrite(
        path,
        overlapping(pixels, tiles, overlap),
        description=said,
        software="MedScan",
        tile=(64, 64),
        resolution=(0.5, 0.5),
        **_JPEG,
    )


def philips(
    path: Path, pixels: Pixels, mm: tuple[str, str] = ("0.0005", "0.0005"), tile: int = 64
) -> None:
    """Philips: levels padded, in black, to whole tiles; spacing of rows first, in quotes."""
    y, x = (float(size) for size in mm)
    spacings = "".join(
        '<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING" '
        'Group="0x0028" Element="0x0030" PMSVR="IDoubleArray">'
        f'"{y * n}" "{x * n}"</Attribute></DataObject>'
        for n in (1, 2)
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport"><Attribute '
        'Name="PIM_DP_SCANNED_IMAGES" PMSVR="IDataObjectArray"><Array><DataObject '
        'ObjectType="DPScannedImage"><Attribute Name="PIM_DP_IMAGE_TYPE" PMSVR="IString">WSI'
        '</Attribute><Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE" '
        f'PMSVR="IDataObjectArray"><Array>{spacings}</Array></Attribute></DataObject></Array>'
        "</Attribute></DataObject>"
    )
    (half,) = steps_of(pixels, 2)
    rows, columns = -half.shape[0] % tile, -half.shape[1] % tile
    padded = np.pad(half, ((0, rows), (0, columns), (0, 0)))
    dummy = {"resolution": (10000, 10000), "resolutionunit": "CENTIMETER"}
    tiled = {**dummy, **_TILED, "tile": (tile, tile)}
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        tif.write(pixels, software="Philips DP v1.0", description=xml, **tiled)
        tif.write(padded, subfiletype=1, description="level=1", **tiled)
        for name in ("Macro", "Label"):
            tif.write(plain((600, 700)), subfiletype=1, description=name, **LOSSLESS)


def qptiff(path: Path, pages: list[Pixels], mpp: str = "0.5", **options: Any) -> None:
    """PerkinElmer: pages of full resolution, a thumbnail, coarser ones, an overview and a label."""

    def said(kind: str, more: str = "") -> dict[str, Any]:
        root = "PerkinElmer-QPI-ImageDescription"
        text = f'<?xml version="1.0"?><{root}><ImageType>{kind}</ImageType>{more}</{root}>'
        return {"description": text, "software": "PerkinElmer-QPI", "metadata": None}

    scan = f"<ScanProfile>&lt;PixelSizeMicrons&gt;{mpp}&lt;/PixelSizeMicrons&gt;</ScanProfile>"
    tiled = {"tile": (64, 64), "compression": "zlib", **options}
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for page in pages:
            tif.write(page, **tiled, **said("FullResolution", scan))
        tif.write(plain((90, 120)), photometric="rgb", **said("Thumbnail"))
        # Rounded up, where tifffile expects sizes rounded down.
        for step in (2, 4):
            for page in pages:
                tif.write(page[::step, ::step], subfiletype=1, **tiled, **said("ReducedResolution"))
        for kind in ("Overview", "Label"):
            tif.write(plain((600, 700)), photometric="rgb", **said(kind))


def ome(
    path: Path, *images: tuple[str, list[Pixels], dict[str, Any]], subifds: bool = True
) -> None:
    """OME-TIFF of images (name, levels, sizes); levels as SubIFDs, or as images of their own."""
    with tifffile.TiffWriter(path, ome=True) as tif:
        for name, (full, *coarse), sizes in images:
            about = {"axes": "YXS", **({"Name": name} if name else {}), **sizes}
            options = {**_TILED, "metadata": about}
            tif.write(full, subifds=len(coarse) * subifds, **options)
            for level in coarse:
                below = {**options, "metadata": None, "subfiletype": 1} if subifds else options
                tif.write(level, **below)
