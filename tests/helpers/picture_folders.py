"""A folder of pictures, for tests of image folders."""

import numpy as np
from PIL import Image


def picture_folder(folder, *, colour=False, test="test", classes=("cat", "dog")):
    """Two pictures a class and split, PNG, 8 pixels high and 6 wide."""
    rng = np.random.default_rng(0)
    for split in ("train", test):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for i in range(2):
                shape = (8, 6, 3) if colour else (8, 6)
                pixels = rng.integers(0, 256, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i}.png")
    return folder
