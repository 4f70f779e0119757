"""A section: a slide, spots, or both, opened from what lies on disk."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.running.numbers import counted
from napari_stenhance.section.exchanged import inside_alone, on_tissue
from napari_stenhance.section.facts import SpotFacts, without_facts
from napari_stenhance.section.finding import find_files
from napari_stenhance.section.formats.format import SectionFiles
from napari_stenhance.section.gene_names import by_symbols
from napari_stenhance.section.observed import Observed, observed_in
from napari_stenhance.section.picture import Picture, picture_in
from napari_stenhance.section.placing import (
    INSIDE_LEAST,
    SlideMatch,
    choose_image,
    from_um,
    kept_picture,
    outlines_on_picture,
    picture_as_slide,
    place_on,
    positions_on_picture,
    share_inside,
)
from napari_stenhance.section.raw import count_doubts
from napari_stenhance.section.registration import STATED, Registration
from napari_stenhance.section.scale import check_mpp, scale_doubts
from napari_stenhance.section.slide import Slide
from napari_stenhance.section.source import SectionSource
from napari_stenhance.section.spots import (
    UNS_KEY,
    SpotGeometry,
    attach,
    check_counts,
    geometry_of,
    nearest_distance,
    positions_px,
    spots_sha256,
)
from napari_stenhance.section.stated import on_picture
from napari_stenhance.section.tables.features import set_aside
from napari_stenhance.section.tissue_mask import TissueMask
from napari_stenhance.storage.cache import Cache

if TYPE_CHECKING:
    import anndata as ad

    from napari_stenhance.section.outlines import CellOutlines

_NO_SCALE = (
    "The scale is unknown: give it, in µm per pixel; without one, lengths are in pixels, and areas "
    "are not known."
)
_SCALES_DIFFER = 0.03


@dataclass(frozen=True)
class Section:
    """A slide, spots, or both, of one piece of tissue.

    Attributes
    ----------
    slide : Slide or None
    spots : AnnData or None
        Raw counts in `X`, `obsm["spatial"]` = (x, y) in full-resolution pixels; every observation,
        in its order, also where several share a position. On construction `uns["stenhance"]` is
        filled in from what the spots state, else from their lattice.
    name : str
        By default the slide's name.
    mpp : float or None
        Micrometres per full-resolution pixel; by default the slide's, or what the spots state.
    doubts : tuple of str
        What was guessed or left out, one sentence each.
    origin : str
        The file that errors name; by default the section's name.
    library : ndarray of float64, shape (spots,), or None
        Total count of each spot as it was measured, where `X` holds expected counts of some genes.
        By default the sum over `X`, which is raw.
    source : SectionSource or None
        How it was opened from disk; None for one that was made in memory.
    outlines : callable or None
        Reads the outlines of the cells that the spots are, in their order, where the files have
        them, as they are stated; raises `InputError` if they cannot be read.
    picture : Picture or None
        A coarse one, to look at where there is no slide; by default that of `uns["spatial"]`.
    outside : bool
        Whether most spots may lie outside the slide, because another way to place them is looked
        for.
    registration : Registration or None
        What takes the spots from where they are stated to where they belong on the slide: positions
        that are given are placed by it, and kept as they were in `obsm["spatial_stated"]`; spots
        that it placed before stay. None as a rule.

    Raises
    ------
    InputError
        If counts, positions, scale or geometry cannot be used, or most spots lie outside the slide.
    """

    slide: Slide | None = None
    spots: ad.AnnData | None = None
    name: str = ""
    mpp: float | None = None
    doubts: tuple[str, ...] = ()
    origin: str = ""
    library: NDArray[np.float64] | None = None
    source: SectionSource | None = None
    picture: Picture | None = None
    outlines: Callable[[], CellOutlines] | None = None
    outside: bool = False
    registration: Registration | None = None

    def __post_init__(self) -> None:
        """Check the parts, and that they fit together."""
        if self.slide is None and self.spots is None:
            msg = "A section needs a slide, spots, or both."
            raise InputError(msg)
        name = self.name or (self.slide.name if self.slide else "section")
        object.__setattr__(self, "name", name)
        mpp, doubts = self.mpp, self.doubts
        if mpp is not None:
            mpp = check_mpp(mpp, self.where)
        elif self.slide is not None:
            mpp = self.slide.mpp
        if self.spots is not None:
            if self.picture is None and self.slide is None:
                object.__setattr__(self, "picture", picture_in(self.spots.uns))
            check_counts(self.spots, self.where)
            facts = SpotFacts.of_spots(self.spots, mpp, self.registration, self.where)
            if mpp is None and facts.mpp is not None:
                mpp = facts.mpp
                if self.slide is not None:
                    object.__setattr__(self, "slide", self.slide.with_mpp(mpp, facts.mpp_source))
            if self.slide is not None and not self.outside:
                self._check_inside(facts.xy)
            doubts = (*doubts, *facts.doubts)
            spots = attach(self.spots, facts.geometry, facts.obs, facts.obsm)
            object.__setattr__(self, "spots", spots)
        else:
            object.__setattr__(self, "registration", None)
        if self.slide is not None and mpp is not None and self.slide.mpp != mpp:
            object.__setattr__(self, "slide", self.slide.with_mpp(mpp, "given"))
        if mpp is None:
            doubts = (*doubts, _NO_SCALE)
        object.__setattr__(self, "mpp", mpp)
        # A section made of another says the same again.
        object.__setattr__(self, "doubts", tuple(dict.fromkeys(doubts)))

    @property
    def where(self) -> str:
        """What errors name: the file of the counts, else the section."""
        return self.origin or self.name

    def __repr__(self) -> str:
        parts = []
        if self.slide is not None:
            parts.append(f"slide {self.slide.path.name!r}")
        if self.spots is not None:
            spots, genes = self.spots.shape
            parts.append(f"{counted(spots, 'spot')} × {counted(genes, 'gene')}")
        parts.append("scale unknown" if self.mpp is None else f"{self.mpp:.4g} µm per pixel")
        number = len(self.doubts)
        parts += [f"{number} doubt{'s' * (number > 1)}"] * (number > 0)
        return f"<Section {self.name!r}: {', '.join(parts)}>"

    def _check_inside(self, xy: NDArray[np.float64]) -> None:
        shape = self.need_slide().shape
        inside = share_inside(xy, shape)
        if inside < INSIDE_LEAST:
            swapped = share_inside(xy[:, ::-1], shape)
            hint = " With x and y swapped they would lie inside." * (swapped >= INSIDE_LEAST)
            msg = (
                f"{self.where}: {1 - inside:.0%} of the spots lie outside the slide; their "
                f"coordinates must be (x, y) in full-resolution pixels of this very image.{hint}"
            )
            if self.registration is not None:
                msg = (
                    f"{self.where}: {1 - inside:.0%} of the spots lie outside the slide, as they "
                    f"are placed by {self.registration.made}; it must take stated (x, y) to "
                    "full-resolution pixels of this very image."
                )
            raise InputError(msg)

    def need_slide(self) -> Slide:
        """Return the slide.

        Raises
        ------
        InputError
            If the section has none.
        """
        if self.slide is None:
            why = " ".join(self.doubts)
            what = "this section has no slide, and the task needs one; give its image."
            if self.picture is not None and (kept := self.picture.called):
                what += f" Its picture {kept} can serve as one, though it is coarse: name it so."
            msg = f"{self.where}: {what} {why}".strip()
            raise InputError(msg, option="image")
        return self.slide

    def with_tissue(self, mask: object) -> Section:
        """Return the section with a mask that says what of its slide is tissue.

        Parameters
        ----------
        mask : str, Path, ndarray or TissueMask
            As `TissueMask.given` takes it.

        Raises
        ------
        InputError
            If the section has no slide or scale, or the mask cannot be used.
        """
        slide = self.need_slide()
        # Nothing else changes: what was checked is not checked again.
        masked = copy(self)
        tissue = TissueMask.given(mask, slide)
        object.__setattr__(masked, "slide", replace(slide, tissue=tissue))
        return masked

    def registered(self, registration: Registration | None) -> Section:
        """Return the section with its spots placed anew, from where they are stated.

        Parameters
        ----------
        registration : Registration or None
            None places the spots where they are stated.

        Raises
        ------
        InputError
            If the section has no spots, or most lie outside its slide then.

        Examples
        --------
        >>> section = st.read("one.h5ad")
        >>> moved = section.registered(st.Registration.moved(10, 0))
        >>> float((moved.spots.obsm["spatial"] - section.spots.obsm["spatial"])[0, 0])
        10.0
        """
        spots = self.need_spots()
        bare, said = without_facts(spots, self.mpp, self.registration, self.where)
        source = self.source and replace(self.source, registration=registration)
        doubts = tuple(doubt for doubt in self.doubts if doubt not in said)
        return replace(
            self, spots=bare, registration=registration, source=source, doubts=doubts, outside=False
        )

    def need_spots(self) -> ad.AnnData:
        """Return the spots.

        Raises
        ------
        InputError
            If the section has none.
        """
        if self.spots is None:
            msg = f"{self.where}: this section has no spots, and the task needs them."
            raise InputError(msg)
        return self.spots

    def spots_um(self) -> NDArray[np.float64]:
        """Return the spots' (x, y) in micrometres of the world, shape (n, 2)."""
        return positions_px(self.need_spots(), self.name) * self.need_slide().scale()

    def positions(self) -> tuple[NDArray[np.float64], float]:
        """Return the spots' (x, y) in the world, and their pitch: in pixels without a scale."""
        xy = positions_px(self.need_spots(), self.name) * (self.mpp or 1.0)
        geometry = self.geometry()
        # Spots may state their size in micrometres where the slide's scale is not known.
        fits = (geometry.unit == "micrometer") == (self.mpp is not None)
        return xy, geometry.pitch_um if fits and geometry.pitch_um > 0 else nearest_distance(xy)

    @cached_property
    def counts_sha256(self) -> str:
        """The SHA-256 of ids, counts and positions of the spots, which stay as they are."""
        return spots_sha256(self.need_spots(), self.library)

    def geometry(self) -> SpotGeometry:
        """Return the spots' diameter, shape and pitch."""
        return geometry_of(self.need_spots())

    @property
    def placed_outlines(self) -> Callable[[], CellOutlines] | None:
        """What reads the outlines of the cells where they lie on the slide; None without any."""
        read, moved = self.outlines, self.registration
        if read is None or moved is None:
            return read
        return lambda: read().moved(moved)

    @cached_property
    def observed(self) -> Observed:
        """What one of its spots is, in a word."""
        return "cell" if self.outlines is not None else observed_in(self.need_spots(), self.name)


class _How(TypedDict):
    """How a slide is opened, whatever its file."""

    series: str | None
    icc: bool
    cache: Cache | None
    job: Job | None


def open_section(
    path: str | Path | ad.AnnData,
    *,
    mpp: float | None = None,
    image: str | Path | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    spots: bool = True,
    outside: bool = False,
    cache: Cache | None = None,
    job: Job | None = None,
) -> Section:
    """Open a section from a folder or a file.

    Recognised is what the formats of `section.formats` say: a folder of Visium with the slide
    in it or beside it, an `.h5ad` with the one image beside it that shares its stem, a folder that
    holds one such `.h5ad`, prefix files by their path and prefix, and an image alone:
    docs/formats.md lists them all.

    Parameters
    ----------
    path : str, Path or AnnData
        An AnnData is taken as an `.h5ad` of the same content would be; its slide is `image`, or
        none.
    mpp : float, optional
        Micrometres per full-resolution pixel, where the files do not say or are wrong.
    image : str or Path, optional
        The slide, where it does not lie beside the counts; "hires" or "lowres", the picture of
        that name that an AnnData keeps.
    series : str, optional
        The name of another image in the slide's file than its slide.
    icc : bool
        Convert colours to sRGB by the profile that the slide's file holds.
    sample : str, optional
        The one to open, where a file or folder holds several samples.
    registration : str, Path or Registration, optional
        What takes the spots from where they are stated to where they belong on the slide, or a file
        of it.
    spots : bool
        False reads only the slide and its scale: counts are not even parsed.
    outside : bool
        True opens it also if most spots lie outside the slide.
    cache : Cache, optional
        Where pyramids lie; by default the user's.
    job : Job, optional
        Receives the progress of building a pyramid.

    Raises
    ------
    InputError
        If nothing is there, it is not recognised, its parts do not fit together, or the scale
        cannot be right; `SeveralSamples` if it holds several, and none is named.
    """
    placing = None if registration is None else Registration.given(registration)
    if placing is not None and not spots:
        msg = f"{path}: its spots are not read, so there are none to be placed."
        raise InputError(msg, option="registration")
    # Where spots are stated says nothing then.
    anywhere = outside or placing is not None
    found = find_files(path, mpp, image, sample)
    how: _How = {"series": series, "icc": icc, "cache": cache, "job": job}
    source = None
    if isinstance(path, str | Path):
        named = None if image is None else Path(image)
        source = SectionSource(Path(path), named, mpp, series, icc, sample, placing)
    if isinstance(found, SectionFiles):
        pictured = None if image is None else picture_as_slide(found, Path(image), cache)
        if pictured is not None:
            found, image = pictured, pictured.images[0]
        if image is not None and found.on_image is not None:
            found = found.on_image(Path(image))
        if found.in_um:
            found = from_um(found, mpp, None if image is None else Path(image))
        found = inside_alone(found, found.images if image is None else (Path(image),), series)
        if image is not None:
            placed = place_on(found, Path(image), series, outside=anywhere)
        else:
            placed = choose_image(found, series, outside=anywhere)
            if placed.image is None and (kept := kept_picture(found, mpp, cache)) is not None:
                placed = replace(kept, doubts=(*placed.doubts, *kept.doubts))
        return _assemble(
            found, placed, mpp, how, spots=spots, outside=outside, opened=source, placing=placing
        )
    if placing is not None:
        msg = f"{found.path}: this is an image, without spots that could be placed on it."
        raise InputError(msg, option="registration")
    if image is not None:
        msg = f"{found.path}: this is an image itself; name a slide only for counts."
        raise InputError(msg, option="image")
    mpp = found.mpp if mpp is None else mpp
    slide = Slide.open(found.path, mpp=mpp, name=found.name, **how)
    return Section(slide=slide, doubts=slide.doubts, source=source)


def _assemble(
    found: SectionFiles,
    placed: SlideMatch,
    mpp: float | None,
    how: _How,
    *,
    spots: bool,
    outside: bool,
    opened: SectionSource | None,
    placing: Registration | None,
) -> Section:
    doubts = [*placed.doubts]
    if mpp is None and found.no_scale:
        raise InputError(found.no_scale, option="mpp")
    scale, source = (mpp, "given") if mpp is not None else (found.mpp, found.mpp_source)
    if scale is not None:
        if not source.startswith("inferred"):
            scale = check_mpp(scale, str(found.origin))
        scale = scale / placed.factor
    slide = None
    if placed.image is not None:
        slide = Slide.open(placed.image, name=found.name, **how)
        doubts.extend(slide.doubts)
        if scale is None and slide.mpp is not None:
            scale, source = slide.mpp, slide.mpp_source
        elif scale is not None:
            stated = slide.mpp, slide.mpp_source
            doubts.extend(scale_doubts(*stated, scale, source, _SCALES_DIFFER))
        if scale is not None:
            slide = slide.with_mpp(scale, source)
    if scale is not None and source.startswith("inferred"):
        doubts.append(f"The scale, {scale:.4g} µm per pixel, is {source}.")
    found = on_tissue(found, slide, placed.factor)
    doubts = [*found.doubts, *doubts]
    if not spots and slide is not None:
        return Section(slide=slide, name=found.name, mpp=scale, doubts=tuple(doubts), source=opened)
    table, more = found.read()
    # What a section wrote that was placed is stated there.
    table.obsm.pop(STATED, None)
    table, aside = set_aside(table, str(found.origin))
    table, named = by_symbols(table)
    if placed.factor != 1:
        table.obsm["spatial"] = positions_on_picture(table.obsm["spatial"], placed.factor)
        table.uns = on_picture(table.uns, placed.factor, scale)
    outlines = None
    if found.outlines is not None:
        ids = list(table.obs_names)
        outlines = partial(outlines_on_picture, found.outlines, ids, placed.factor)
    if found.geometry is not None:
        geometry, doubt = found.geometry(scale)
        table.uns[UNS_KEY] = asdict(geometry)
        doubts.append(doubt)
    return Section(
        slide=slide,
        spots=table,
        name=found.name,
        mpp=scale,
        doubts=(*doubts, *more, *aside, *named, *count_doubts(table)),
        origin=str(found.origin),
        source=opened,
        picture=found.picture,
        outlines=outlines,
        outside=outside,
        registration=placing,
    )
