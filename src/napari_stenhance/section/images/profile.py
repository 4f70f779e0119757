"""Colours as the file's ICC profile means them, in sRGB."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.section.images.image import ImageSource, Pixels

CONVERTED = "colours to sRGB by the file's profile"
_RGB_SPACE = slice(16, 20)
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
    """An ICC profile of RGB, applied with perceptual intent.

    Raises
    ------
    ValueError
        If it is of other colours, or damaged.
    """

    data: bytes

    def __post_init__(self) -> None:
        space = self.data[_RGB_SPACE]
        if space != b"RGB ":
            msg = f"it is of {space.decode('ascii', 'replace').strip() or 'nothing'}, not of RGB"
            raise ValueError(msg)

    @cached_property
    def changes(self) -> bool:
        """Tell whether any colour of a coarse cube becomes another by more than a grey level."""
        import numpy as np

        steps = np.linspace(0, 255, 9).astype(np.uint8)
        cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
        return int(np.abs(self.apply(cube).astype(int) - cube).max()) > _SAME

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert pixels, (y, x, 3) uint8; any thread may."""
        import imagecodecs
        import numpy as np

        if not pixels.size:
            return pixels
        try:
            converted: NDArray[np.uint8] = imagecodecs.cms_transform(
                np.ascontiguousarray(pixels),
                self.data,
                imagecodecs.cms_profile("srgb"),
                colorspace="rgb",
                outcolorspace="rgb",
            )
        except imagecodecs.CmsError as error:
            msg = "it is damaged"
            raise ValueError(msg) from error
        return converted


class _Managed:
    """A level whose colours are converted where it is sliced."""

    def __init__(self, level: Pixels, profile: _Profile) -> None:
        self._level, self._profile = level, profile
        self.shape, self.chunks = level.shape, level.chunks
        self.dtype, self.ndim = level.dtype, level.ndim

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        # Colours are those of whole pixels: bands and single places are taken afterwards.
        places = list(key[:2])
        spans = [k if isinstance(k, slice) else slice(k, k + 1 or None) for k in places]
        pixels = self._profile.apply(self._level[spans[0], spans[1]])
        inner = [slice(None) if isinstance(k, slice) else 0 for k in places]
        return pixels[(*inner, *key[2:])]
