"""Colours as the file's ICC profile means them, in sRGB."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from napari_stenhance.section.images.slicing import SlicedLevel

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.section.images.image import ImageSource, Pixels

CONVERTED = "colours to sRGB by the file's profile"
_SPACE = slice(16, 20)
_SAME = 1


def in_srgb(image: ImageSource) -> ImageSource:
    """Convert what an image gives by its profile; one that cannot be applied is a doubt.

    A profile that is sRGB itself, within one grey level, changes nothing.
    """
    if image.profile is None:
        return image
    try:
        profile = _Profile(image.profile)
        changes = profile.changes
    except ValueError as error:
        doubt = f"The image's colour profile is not applied: {error}."
        return replace(image, doubts=(*image.doubts, doubt))
    if not changes:
        return image
    return replace(
        image,
        strips=lambda: (profile.apply(strip) for strip in image.strips()),
        levels=tuple(_Managed(level, profile) for level in image.levels),
        conversions=(*image.conversions, CONVERTED),
    )


@dataclass(frozen=True)
class _Profile:
    """An ICC profile of RGB, or of CMYK, applied with perceptual intent.

    Raises
    ------
    ValueError
        If it is of other colours, or damaged.
    """

    data: bytes
    space: str = "rgb"

    def __post_init__(self) -> None:
        space, needed = self.data[_SPACE], self.space.upper()
        if space.strip() != needed.encode():
            what = space.decode("ascii", "replace").strip() or "nothing"
            msg = f"it is of {what}, not of {needed}"
            raise ValueError(msg)

    @cached_property
    def changes(self) -> bool:
        """Tell whether any colour of a coarse cube becomes another by more than a grey level."""
        import numpy as np

        steps = np.linspace(0, 255, 9).astype(np.uint8)
        cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
        if self.space != "rgb":
            return self.apply(np.concatenate([cube, cube[..., :1]], axis=-1)).size > 0
        return int(np.abs(self.apply(cube).astype(int) - cube).max()) > _SAME

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert pixels, (y, x, 3) uint8, or (y, x, 4) of CMYK; any thread may."""
        import imagecodecs
        import numpy as np

        if not pixels.size:
            return pixels[..., :3]
        try:
            converted: NDArray[np.uint8] = imagecodecs.cms_transform(
                np.ascontiguousarray(pixels),
                self.data,
                imagecodecs.cms_profile("srgb"),
                colorspace=self.space,
                outcolorspace="rgb",
            )
        except imagecodecs.CmsError as error:
            msg = "it is damaged"
            raise ValueError(msg) from error
        return converted


def cmyk_to_srgb(
    profile: bytes | None,
) -> tuple[Callable[[NDArray[np.uint8]], NDArray[np.uint8]], str, tuple[str, ...]]:
    """Choose how CMYK, (y, x, 4) uint8, becomes sRGB: by its profile, or as libvips takes it.

    Returns
    -------
    convert : callable
    said : str
        What it does, in words.
    doubts : tuple of str
        Why the profile is not applied, if it is not.
    """
    if profile is None:
        return _usual_cmyk, "CMYK to sRGB", ()
    try:
        managed = _Profile(profile, "cmyk")
        managed.changes  # noqa: B018  it is tried
    except ValueError as error:
        doubt = f"The image's colour profile is not applied: {error}."
        return _usual_cmyk, "CMYK to sRGB", (doubt,)
    return managed.apply, "CMYK to sRGB by the file's profile", ()


def _usual_cmyk(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import numpy as np
    import pyvips

    height, width, bands = values.shape
    data = np.ascontiguousarray(values).tobytes()
    image = pyvips.Image.new_from_memory(data, width, height, bands, "uchar")
    return image.copy(interpretation="cmyk").colourspace("srgb").numpy()


class _Managed(SlicedLevel):
    """A level whose colours are converted where it is sliced."""

    def __init__(self, level: Pixels, profile: _Profile) -> None:
        super().__init__(level.shape, level.chunks)
        self._level, self._profile = level, profile

    def _read(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.uint8]:
        return self._profile.apply(self._level[top:bottom, left:right])
