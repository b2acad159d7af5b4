"""Makes the fixtures in this directory: files as PyTorch and h5py really write them, good and bad.

    pip install torch h5py numpy
    python generate.py

All values follow one rule, so that tests can state them: the i-th value of a matrix, counted row after row, is
(i - 5) / 8, which every float type holds exactly.
"""

import io
import os
import tarfile
from pathlib import Path

import h5py
import numpy as np
import torch

HERE = Path(__file__).parent


def matrix(rows, columns):
    return ((torch.arange(rows * columns, dtype=torch.float64) - 5) / 8).reshape(rows, columns)


def save(name, value, **options):
    torch.save(value, HERE / f"{name}.pt", **options)


def bare_tensors():
    features = matrix(3, 4)
    for name, dtype in [("f32", torch.float32), ("f16", torch.float16), ("bf16", torch.bfloat16), ("f64", torch.float64)]:
        save(f"features_{name}", features.to(dtype))
    features = features.float()
    # Views: saved with the strides and the whole storage of the tensor they look at.
    save("features_transposed", matrix(4, 3).float().t())
    save("features_rows", matrix(3, 4).float()[1:])
    save("features_columns", matrix(3, 4).float()[:, 1:3])
    save("features_protocol4", features, pickle_protocol=4)
    save("features_parameter", torch.nn.Parameter(features))


def wrong_tensors():
    save("wrong_expanded", torch.tensor([[1.0, 2.0]]).expand(1000, 2))
    save("wrong_int64", torch.arange(6).reshape(3, 2))
    save("wrong_complex", torch.zeros(2, 2, dtype=torch.complex64))
    save("wrong_one_axis", torch.arange(6).float())
    save("wrong_three_axes", torch.zeros(1, 3, 2))
    save("wrong_no_rows", torch.zeros(0, 4))
    save("wrong_no_columns", torch.zeros(4, 0))
    values = matrix(3, 4).float()
    values[1, 2] = float("nan")
    save("wrong_nan", values)
    values[1, 2] = -float("inf")
    save("wrong_inf", values)
    # As of `.conj().imag`: the storage holds the negated values, and the metadata say so.
    save("wrong_negated", torch._neg_view(matrix(3, 4).float()))


class Call:
    """Unpickled by Python, this would run a shell."""

    def __reduce__(self):
        return os.system, ("true",)


def wrong_content():
    features = matrix(3, 4).float()
    save("wrong_legacy", features, _use_new_zipfile_serialization=False)
    save("wrong_list", [features])
    save("wrong_dict", {"features": features, "coords": torch.zeros(3, 2)})
    save("wrong_numpy", features.numpy())
    save("wrong_none", None)
    save("wrong_call", Call())
    save("wrong_module", torch.nn.Linear(2, 2))
    np.savez(HERE / "wrong_npz.pt", features=features.numpy())
    (HERE / "wrong_npz.pt.npz").rename(HERE / "wrong_npz.pt")
    buffer = io.BytesIO()
    np.save(buffer, features.numpy())
    (HERE / "wrong_npy.pt").write_bytes(buffer.getvalue())
    with tarfile.open(HERE / "wrong_tar.pt", "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("storages"))
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), HERE / "wrong_torchscript.pt")


def state_dicts():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.dtype == torch.float32:
                tensor.copy_((torch.arange(tensor.numel()).float() - 5).reshape(tensor.shape) / 8)
            else:
                tensor.fill_(7)
    state = model.state_dict()
    save("state_plain", state)
    save("state_nested", {"epoch": 3, "lr": 0.1, "state_dict": state, "best": None})
    save("state_model", {"model": dict(state), "args": {"name": "x", "sizes": [1, 2], "amp": True}})
    tied = torch.nn.Parameter(matrix(2, 2).half())
    save("state_tied", {"a": tied, "b": tied, "c": tied.t()})
    save("state_wrong_value", {"weight": torch.zeros(2), "epoch": 3})
    save("state_wrong_key", {0: torch.zeros(2)})


N_PATCHES = {"x5": 1, "x10": 2, "x20": 3}
PARENTS = {"x10": [0, -1], "x20": [0, 1, 1]}


def native(name, dtype, mode=None, attributes=True, extra=4, **dataset):
    file_options, dataset = dict(mode or {}), dict(dataset)
    with h5py.File(HERE / f"{name}.h5", "w", **file_options) as file:
        if attributes:
            file.attrs["slide_width"], file.attrs["slide_height"] = 40000, np.int32(30000)
            file.attrs["mpp"] = 0.25
            file.attrs["producer"] = "generate.py"
        for label, n in N_PATCHES.items():
            group = file.create_group(label)
            side = 512 * 20 // int(label[1:])
            group.create_dataset("coords", data=np.array([[i * side, 0] for i in range(n)], dtype="<i8"))
            group.create_dataset("features/uni", data=matrix(n, 4).numpy().astype(dtype), **dataset)
            group.create_dataset("features/resnet50", data=matrix(n, 2).numpy().astype("<f4"))
            if label in PARENTS:
                group.create_dataset("parent", data=np.array(PARENTS[label], dtype="<i8"))
            if label == "x20":
                group.create_dataset("tissue", data=np.array([2, 0, 1], dtype="u1"))
            if attributes:
                group.attrs["patch_size_level0"] = side
                group.attrs["mpp"] = np.float32(0.25 * side / 256)
                group.attrs["row_order"] = "row-major"
            # Enough attributes to push the header into a continuation block; more than eight, or more than eight
            # encoders, are stored in another way by new libraries.
            for i in range(extra):
                group.attrs[f"note_{i}"] = "x" * 100
            for i in range(extra - 4):
                group.create_dataset(f"features/encoder_{i}", data=np.zeros((n, 1), dtype="<f4"))


def native_files():
    native("native_f32", "<f4")
    native("native_f16", "<f2")
    native("native_f64", "<f8")
    native("native_big_endian", ">f4")
    native("native_latest", "<f4", {"libver": "latest"})
    native("native_dense", "<f4", {"libver": "latest"}, extra=12)
    native("native_ordered", "<f2", {"libver": "latest", "track_order": True})
    native("native_user_block", "<f4", {"userblock_size": 512})
    native("native_gzip", "<f4", chunks=(1, 4), compression="gzip", shuffle=True)
    native("native_lzf", "<f2", chunks=(1, 4), compression="lzf")
    native("native_bare", "<f4", attributes=False)


def wrong_native():
    with h5py.File(HERE / "wrong_native_unwritten.h5", "w") as file:
        file.create_dataset("x20/coords", data=np.zeros((2, 2), dtype="<i8"))
        file.create_dataset("x20/features/uni", shape=(2, 4), dtype="<f4")
    with h5py.File(HERE / "wrong_native_sparse.h5", "w") as file:
        file.create_dataset("x20/coords", data=np.zeros((2, 2), dtype="<i8"))
        file.create_dataset("x20/features/uni", shape=(1 << 40, 1024), dtype="<f4", chunks=(1024, 1024))
    # By the index of the chunks: a B-tree of version 1; an extensible array, a fixed one, a B-tree of version 2, a single chunk.
    for name, libver in (("", "earliest"), ("_v4", "v110")):
        with h5py.File(HERE / f"wrong_native_chunks{name}.h5", "w", libver=(libver, "v110")) as file:
            group = file.create_group("x20")
            group.create_dataset("coords", data=np.array([[i * 512, 0] for i in range(70)], dtype="<i8"))
            for label, filters in (("plain", {}), ("gzip", {"compression": "gzip"})):
                options = {"dtype": "<f4", "chunks": (32, 4), **filters}
                group.create_dataset(f"features/never_{label}", (70, 4), **options)
                # Written as far as row 40, then made longer: the third chunk is not there.
                for index, maxshape in (("extensible", (None, 4)), ("tree", (None, None))):
                    grown = group.create_dataset(f"features/grown_{index}_{label}", (40, 4), maxshape=maxshape, **options)
                    grown[:] = matrix(40, 4).numpy()
                    grown.resize((70, 4))
                hole = group.create_dataset(f"features/hole_{label}", (70, 4), **options)
                hole[:32], hole[64:] = matrix(32, 4).numpy(), matrix(6, 4).numpy()
                columns = group.create_dataset(f"features/columns_{label}", (70, 4), **{**options, "chunks": (32, 2)})
                columns[:, :2] = matrix(70, 2).numpy()
                single = {**options, "chunks": (70, 4)}
                group.create_dataset(f"features/single_{label}", (70, 4), **single)
                # Zeros that were written.
                group.create_dataset(f"features/zeros_{label}", data=np.zeros((70, 4)), **options)
                group.create_dataset(f"features/zeros_single_{label}", data=np.zeros((70, 4)), **single)
    with h5py.File(HERE / "wrong_native_virtual.h5", "w") as file:
        file.create_dataset("x20/coords", data=np.zeros((2, 2), dtype="<i8"))
        layout = h5py.VirtualLayout(shape=(2, 2), dtype="<f4")
        layout[:] = h5py.VirtualSource("native_f32.h5", "x10/features/resnet50", shape=(2, 2))
        file.create_virtual_dataset("x20/features/uni", layout)
    with h5py.File(HERE / "wrong_native_external.h5", "w") as file:
        file.create_dataset("x20/coords", data=np.zeros((2, 2), dtype="<i8"))
        file.create_dataset("x20/features/uni", shape=(2, 2), dtype="<f4", external=[("native_f32.h5", 0, 16)])
    with h5py.File(HERE / "wrong_native_linked.h5", "w") as file:
        file.create_dataset("x20/coords", data=np.zeros((2, 2), dtype="<i8"))
        file["x20/features/uni"] = h5py.ExternalLink("native_f32.h5", "x10/features/resnet50")
    with h5py.File(HERE / "wrong_native_szip.h5", "w") as file:
        file.create_dataset("x20/coords", data=np.array([[i * 512, 0] for i in range(32)], dtype="<i8"))
        file.create_dataset("x20/features/uni", data=matrix(32, 4).numpy().astype("<f4"), chunks=(32, 4), compression="szip")
    with h5py.File(HERE / "wrong_native_text.h5", "w") as file:
        file.create_dataset("x20/coords", data=np.zeros((2, 2), dtype="<i8"))
        file.create_dataset("x20/features/uni", data=np.array([["a", "b"], ["c", "d"]], dtype="S1"))


if __name__ == "__main__":
    bare_tensors()
    wrong_tensors()
    wrong_content()
    state_dicts()
    native_files()
    wrong_native()
