"""Colours as the file's ICC profile means them, in sRGB."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from napari_stenhance.section.images.slicing import SlicedLevel

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from PIL import ImageCms

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
        profile = _Profile(image.profile, "L" if image.grey else "RGB")
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
    """An ICC profile of RGB, of grey (L), or of CMYK, applied with perceptual intent.

    Raises
    ------
    ValueError
        If it is of other colours, or damaged.
    """

    data: bytes
    space: str = "RGB"

    def __post_init__(self) -> None:
        space = self.data[_SPACE].strip()
        own = "GRAY" if self.space == "L" else self.space
        if space != own.encode():
            what = space.decode("ascii", "replace") or "nothing"
            msg = f"it is of {what}, not of {own}"
            raise ValueError(msg)

    @cached_property
    def changes(self) -> bool:
        """Tell whether any colour of a coarse cube becomes another by more than a grey level."""
        import numpy as np

        if self.space == "L":
            greys = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
            return int(np.abs(self.apply(greys).astype(int) - greys).max()) > _SAME
        steps = np.linspace(0, 255, 9).astype(np.uint8)
        cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
        return int(np.abs(self.apply(cube).astype(int) - cube).max()) > _SAME

    @cached_property
    def transform(self) -> ImageCms.ImageCmsTransform:
        """What is made once, as making it takes longer than converting a tile."""
        import imagecodecs
        from PIL import ImageCms

        # Without its cache of the last colour threads share nothing that changes.
        flags = ImageCms.Flags.NOCACHE
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(self.data))
            srgb = ImageCms.ImageCmsProfile(io.BytesIO(imagecodecs.cms_profile("srgb")))
            return ImageCms.buildTransform(own, srgb, self.space, "RGB", flags=flags)
        except (ImageCms.PyCMSError, OSError) as error:
            msg = "it is damaged"
            raise ValueError(msg) from error

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert pixels, (y, x, 3) uint8, or (y, x, 4) of CMYK; any thread may.

        Of grey all three are the same.
        """
        import numpy as np
        from PIL import Image

        height, width = pixels.shape[:2]
        stored = pixels[..., 0] if self.space == "L" else pixels
        image = Image.frombytes(self.space, (width, height), stored.tobytes())
        return np.asarray(self.transform.apply(image))


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
        managed = _Profile(profile, "CMYK")
        managed.transform  # noqa: B018  it is tried
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
