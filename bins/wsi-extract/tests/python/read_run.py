"""Reads with h5py and torch what `wsi-extract run` and `wsi-bags convert` wrote of one slide of three cells.

``python read_run.py FOLDER`` with `bags/slide-1.h5`, and `clam/` made of it. CLAM's files are read by the lines of CLAM's own users:
`h5["features"][:]`, `h5["coords"][:]`, `torch.load(pt)`; without torch by those of `read_back.py` that do the same.
"""

import sys
from pathlib import Path

import h5py
import numpy as np

from read_back import equal, load_pt

N_CELLS, WIDTH, CELL = 3, 128, 1024

folder = Path(sys.argv[1])
with h5py.File(folder / "bags" / "slide-1.h5") as bag:
    assert bag.attrs["producer"] == "wsi-bags", bag.attrs["producer"]
    assert bag.attrs["mpp"] == 0.5, bag.attrs["mpp"]
    cells = {tuple(corner) for corner in bag["x5/coords"][:]}
    assert len(cells) == N_CELLS, cells
    for power, per_cell in ((5, 1), (10, 4), (20, 16)):
        group, side = bag[f"x{power}"], CELL * 5 // power
        features, coords = group["features/stain-texture"][:], group["coords"][:]
        assert features.shape == (N_CELLS * per_cell, WIDTH) and features.dtype == "<f4", (features.shape, features.dtype)
        assert np.isfinite(features).all() and len(np.unique(features, axis=0)) == len(features)
        assert group.attrs["patch_size_level0"] == side
        assert {tuple(corner // CELL * CELL) for corner in coords} == cells and len(np.unique(coords, axis=0)) == len(coords)
        assert (coords % side == 0).all()

        home = folder / "clam" / f"x{power}"
        with h5py.File(home / "h5_files" / "slide-1.h5") as h5:
            equal(h5["features"][:], features, f"CLAM's x{power} features", "<f4")
            equal(h5["coords"][:], coords, f"CLAM's x{power} coords")
        equal(load_pt(home / "pt_files" / "slide-1.pt"), features, f"CLAM's x{power} .pt", "<f4")
print("read with torch" if "torch" in sys.modules else "read without torch")
