"""Slides of formats that an extra reads: DICOM by hand, CZI by ZEISS's own writer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid
from pylibCZIrw import czi

Pixels = NDArray[np.uint8]


def write_dicom(
    path: Path,
    pixels: Pixels,
    series: str,
    *,
    mpp: float = 0.5,
    kind: Sequence[str] = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE"),
    tile: int = 128,
    jpeg: bool = False,
) -> None:
    """Write an instance of a whole-slide image, tiled without gaps (TILED_FULL)."""
    height, width = pixels.shape[:2]
    tile = tile if "VOLUME" in kind else max(height, width)
    down, across = -(-height // tile), -(-width // tile)
    full = np.zeros((down * tile, across * tile, 3), np.uint8)
    full[:height, :width] = pixels
    size = (tile, tile) if "VOLUME" in kind else (height, width)
    frames = [
        full[i * tile : i * tile + size[0], j * tile : j * tile + size[1]]
        for i in range(down)
        for j in range(across)
    ]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    one = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    one.Modality, one.ImageType = "SM", list(kind)
    one.StudyInstanceUID, one.SeriesInstanceUID = "1.2.3.1", series
    one.FrameOfReferenceUID = "1.2.3.2"
    one.SamplesPerPixel, one.PlanarConfiguration = 3, 0
    one.PhotometricInterpretation = "YBR_FULL_422" if jpeg else "RGB"
    one.BitsAllocated = one.BitsStored = 8
    one.HighBit, one.PixelRepresentation = 7, 0
    one.Rows, one.Columns = size
    one.NumberOfFrames = len(frames)
    one.TotalPixelMatrixRows, one.TotalPixelMatrixColumns = height, width
    one.TotalPixelMatrixFocalPlanes = one.NumberOfOpticalPaths = 1
    one.DimensionOrganizationType = "TILED_FULL"
    one.ImagedVolumeWidth, one.ImagedVolumeHeight = width * mpp / 1000, height * mpp / 1000
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [mpp / 1000, mpp / 1000]
    measures.SliceThickness = 0.001
    shared.PixelMeasuresSequence = [measures]
    one.SharedFunctionalGroupsSequence = [shared]
    path_of_light = Dataset()
    path_of_light.OpticalPathIdentifier = "1"
    one.OpticalPathSequence = [path_of_light]
    if jpeg:
        how = {"level": 95, "subsampling": "444"}
        made = (imagecodecs.jpeg_encode(np.ascontiguousarray(frame), **how) for frame in frames)
        one.PixelData = encapsulate(list(made))
        one["PixelData"].VR = "OB"
        one.LossyImageCompression = "01"
    else:
        one.PixelData = b"".join(np.ascontiguousarray(f).tobytes() for f in frames)
        one["PixelData"].VR = "OB"
        one.LossyImageCompression = "00"
    one.save_as(path, enforce_file_format=True)


def write_series(folder: Path, pixels: Pixels, series: str, **options: Any) -> None:
    """Write three levels and a label."""
    folder.mkdir(exist_ok=True)
    for step in (1, 2, 4):
        derived = ("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED")
        kind = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE") if step == 1 else derived
        file = folder / f"{series[-3:].strip('.')}_{step}.dcm"
        level = pixels[::step, ::step]
        write_dicom(file, level, series, mpp=0.5 * step, kind=kind, **options)
    label = np.full((40, 60, 3), 77, np.uint8)
    about = ("ORIGINAL", "PRIMARY", "LABEL", "NONE")
    write_dicom(folder / f"{series[-3:].strip('.')}_a.dcm", label, series, kind=about)


def write_czi(path: Path, pixels: Pixels, *, whole: bool = True) -> Path:
    height, width = pixels.shape[:2]
    with czi.create_czi(str(path)) as file:
        for top in range(0, height, 128):
            for left in range(0, width, 128):
                if whole or (top, left) != (128, 128):
                    tile = pixels[top : top + 128, left : left + 128, ::-1]
                    file.write(np.ascontiguousarray(tile), location=(left, top))
        file.write_metadata(document_name="s", scale_x=0.25e-6, scale_y=0.25e-6)
    return path
