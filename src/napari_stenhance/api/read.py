"""Sections of the front door: whatever a section is, opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.api.keywords import check_shared, working
from napari_stenhance.errors import InputError
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.section.registration import Registration
from napari_stenhance.section.section import Section, open_section

if TYPE_CHECKING:
    import anndata as ad
    from numpy.typing import NDArray

    from napari_stenhance.running.job import Job
    from napari_stenhance.storage.cache import Cache


def read(
    section: str | Path | Section | ad.AnnData,
    *,
    image: str | Path | None = None,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    tissue: str | Path | NDArray[Any] | None = None,
    name: str = "",
    job: Job | None = None,
    cache: Cache | None = None,
) -> Section:
    """Open a section: a slide, spots, or both.

    Parameters
    ----------
    section : str, Path, Section or AnnData
        A folder or file of an assay (docs/formats.md lists them), an image alone, or spots in
        memory: raw counts in `X` (or `layers["counts"]`, `raw`), `obsm["spatial"]` = (x, y) in
        full-resolution pixels. A `Section` is returned as it is, but for a registration and tissue
        that are given.
    image : str or Path
        The slide, where it does not lie beside the counts; "hires" or "lowres", the coarse picture
        that an AnnData keeps, which serves without being named if no other slide is there and its
        pixels are no wider than 8 µm.
    mpp : float
        Micrometres per full-resolution pixel, where nothing states it, or states it wrongly.
    series : str
        The name of another image in the slide's file than its slide, as `info` lists them.
    icc : bool
        Convert colours to sRGB by the profile that the slide's file holds.
    sample : str
        Which sample of a file or folder that holds several, each on a slide of its own.
    registration : str, Path or Registration
        Where spots belong on the slide, if not where the files say: landmark pairs (CSV with the
        columns x, y, x_slide, y_slide, in full-resolution pixels), a registration that was saved,
        or a `Registration`.
    tissue : str, Path or ndarray
        A mask that says what of the slide is tissue, for every verb that sees the slide: labels of
        the whole of it at any scale, where 0 is no tissue (an array (y, x), a PNG, a TIFF, a label
        image of an OME-Zarr), or polygons in micrometres (GeoJSON). By default tissue is found.
    name : str
        What to call it, its result too; by default as its file or image is called.
    job : Job
        Receives progress, and cancels; by default there is a bar, and Ctrl-C cancels.
    cache : Cache
        Where pyramids lie; by default the user's.

    Returns
    -------
    Section
        Lazy: pixels are read where they are needed. `doubts` says what was guessed.

    Raises
    ------
    InputError
        If nothing is there, it is not recognised, or its parts do not fit together.
    Cancelled
        If the job was cancelled.

    Examples
    --------
    >>> section = st.read("one.h5ad")
    >>> section.name, section.spots.n_vars, section.mpp
    ('one', 40, 0.8)
    >>> adata = ad.read_h5ad("one.h5ad")
    >>> st.read(adata, image="one_he.jpg", mpp=0.8, name="mine").name
    'mine'
    """
    check_shared("read", job, cache)
    given: object = image
    if not (given is None or isinstance(given, str | Path)):
        msg = f"The image is given by its path, and not as {type(given).__name__}: save it first."
        raise InputError(msg, option="image")
    if isinstance(section, Section):
        asked = (image, mpp, series, sample)
        if not (all(one is None for one in asked) and icc and not name):
            msg = f"{section.name}: this section is open already; give its path to open it anew."
            raise InputError(msg)
        if registration is not None:
            section = section.registered(Registration.given(registration))
        return section if tissue is None else section.with_tissue(tissue)
    if isinstance(section, str | Path) and ResultFolder.is_result(Path(section)):
        msg = f"{section}: this is a result, and not a section; open it with Result.open."
        raise InputError(msg)
    with working(job) as running:
        opened = open_section(
            section,
            mpp=mpp,
            image=image,
            series=series,
            icc=icc,
            sample=sample,
            registration=registration,
            cache=cache,
            job=running,
        )
    if tissue is not None:
        opened = opened.with_tissue(tissue)
    if not name:
        return opened
    slide = None if opened.slide is None else replace(opened.slide, name=name)
    return replace(opened, slide=slide, name=name)
