"""Reads with h5py, safetensors and torch what `wsi-bags` wrote; fails if anything differs from the rule.

``python read_back.py FOLDER`` with `f16/` and `f32/` in the folder, each with `native/`, `clam/`, `crossfusion/` and
`safetensors/`, each holding the slides of `fixtures/reference/layouts/trident` with backbone `uni_v1`. Without torch, `.pt` files are read by the
few lines below that do what `torch.load` does with one tensor.
"""

import pickle
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
from safetensors import safe_open

SLIDES = ["TCGA-AA-0001-01Z-00-DX1.5A6B", "slide-2"]
LATTICE = {
    5: [(0, 0), (1, 0)],
    10: [(0, 0), (1, 0), (0, 1), (2, 0)],
    20: [(0, 0), (1, 0), (3, 0), (4, 0), (0, 1), (1, 1), (2, 1), (0, 2), (5, 1)],
}


def side(power):
    return 512 * 20 // power


def features(slide, power):
    i = np.arange(len(LATTICE[power]) * 4)
    return ((((i + 7 * slide + power) % 61) - 30) / 8).astype(np.float32).reshape(-1, 4)


def coords(power):
    return np.array(sorted(LATTICE[power], key=lambda c: (c[1], c[0]))) * side(power)


def parents(power):
    coarse = [tuple(c) for c in coords(power // 2)]
    return [coarse.index(tuple(c // side(power // 2) * side(power // 2))) for c in coords(power)]


def equal(found, wanted, what, dtype=None):
    if dtype is not None and found.dtype != dtype:
        raise SystemExit(f"{what}: {found.dtype} is not {dtype}")
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.shape != wanted.shape or not (found == wanted).all():
        raise SystemExit(f"{what}: {found} is not {wanted}")


STORAGES = {"FloatStorage": "<f4", "HalfStorage": "<f2"}


class Tensors(pickle.Unpickler):
    """A tensor as (storage key, offset, shape, strides)."""

    def find_class(self, module, name):
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *rest: (storage, offset, shape, strides)
        if module == "torch" and name in STORAGES:
            return name
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        raise SystemExit(f"the pickle names {module}.{name}")

    def persistent_load(self, saved):
        assert saved[0] == "storage" and saved[1] in STORAGES, saved
        return saved[1:3]


def load_pt(path):
    try:
        import torch
    except ImportError:
        with zipfile.ZipFile(path) as archive:
            home = next(name for name in archive.namelist() if name.endswith("/data.pkl"))[: -len("data.pkl")]
            (storage, key), offset, shape, strides = Tensors(archive.open(home + "data.pkl")).load()
            values = np.frombuffer(archive.read(f"{home}data/{key}"), dtype=STORAGES[storage])
        assert (offset, strides) == (0, (shape[1], 1))
        return values.reshape(shape)
    return torch.load(path, weights_only=True).numpy()


def main(folder, dtype):
    for k, slide in enumerate(SLIDES):
        with h5py.File(folder / "native" / f"{slide}.h5") as file:
            assert file.attrs["producer"] == "wsi-bags"
            equal([file.attrs["slide_width"], file.attrs["slide_height"]], [4096, 3000], "slide size")
            for power in LATTICE:
                group = file[f"x{power}"]
                equal(group["features/uni_v1"], features(k, power), f"native x{power}", dtype)
                equal(group["coords"], coords(power), f"native x{power} coords")
                assert group["coords"].dtype == "<i8"
                assert group["features/uni_v1"].attrs["tool"] == "trident"
                assert group.attrs["row_order"] == "row-major"
                assert group.attrs["patch_size_level0"] == side(power)
                if power > 5:
                    equal(group["parent"], parents(power), f"native x{power} parents")
                    assert group.attrs["parent_fallbacks"] == 0
        for power in LATTICE:
            home = folder / "clam" / f"x{power}"
            with h5py.File(home / "h5_files" / f"{slide}.h5") as file:
                equal(file["features"], features(k, power), "clam", dtype)
                equal(file["coords"], coords(power), "clam coords")
                assert file["features"].chunks == (32, 4), file["features"].chunks
                assert file["features"].maxshape == (None, 4), file["features"].maxshape
                assert file["coords"].dtype == "<i4" and file["coords"].maxshape == (None, 2)
            equal(load_pt(home / "pt_files" / f"{slide}.pt"), features(k, power), "clam pt", dtype)
            tensor = folder / "crossfusion" / "uni_v1" / f"x{power}" / "pt_files" / f"{slide}.pt"
            equal(load_pt(tensor), features(k, power), "crossfusion", dtype)
            path = folder / "safetensors" / "uni_v1" / f"x{power}" / f"{slide}.safetensors"
            with safe_open(path, framework="np") as file:
                equal(file.get_tensor("features"), features(k, power), "safetensors", dtype)
                equal(file.get_tensor("coords"), coords(power), "safetensors coords")
                assert file.metadata()["patch_size_level0"] == str(side(power))
                if power > 5:
                    equal(file.get_tensor("parent"), parents(power), "safetensors parents")


if __name__ == "__main__":
    for name, dtype in (("f16", "<f2"), ("f32", "<f4")):
        main(Path(sys.argv[1]) / name, dtype)
    print("torch" in sys.modules and "read with torch" or "read without torch")
