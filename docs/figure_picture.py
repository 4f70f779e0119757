"""Make the picture of docs/figures.md: `python docs/figure_picture.py`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

import napari_stenhance as st

PICTURES = Path(__file__).parent / "pictures"
WIDTH, SIZE_MM, GENE = 900, 3.0, "ERBB2"


def main() -> None:
    """Draw four panels of a phantom."""
    with tempfile.TemporaryDirectory() as folder:
        made = st.phantom(Path(folder) / "C1", size_mm=SIZE_MM)
        result = st.enhance(made.folder, out=Path(folder) / "C1.stenhance.zarr", device="cpu")
        file = result.figure(
            Path(folder) / "figure.png",
            genes=GENE,
            panels=["he", "measured", "predicted", "uncertainty"],
        )
        with Image.open(file) as image:
            small = image.convert("RGB").resize((WIDTH, round(image.height / image.width * WIDTH)))
            small.save(PICTURES / "figure.jpg", quality=80, optimize=True)


if __name__ == "__main__":
    main()
