"""Writes the first inputs of every fuzz target, from the fixtures of this repository: `python3 fuzz/seeds.py FOLDER`.

Python's standard library is enough. Each target gets a folder of its name; what its first byte means is said in the target.
"""

import gzip
import io
import json
import struct
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "fixtures" / "reference"
BAGS = ROOT / "crates" / "wsi-bags" / "tests" / "data"
# Larger inputs slow every try and hold nothing that smaller ones do not.
LARGEST = 48 << 10


def put(target, name, data):
    if len(data) <= LARGEST:
        folder = OUT / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def pt():
    for path in sorted(BAGS.glob("*.pt")) + sorted(FIXTURES.rglob("*.pt")):
        data = path.read_bytes()
        put("pt", f"whole-{path.parent.name}-{path.name}", b"\0" + data)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith("data.pkl"):
                        put("pt", f"pickle-{path.parent.name}-{path.name}", b"\1" + archive.read(name))


def hdf5():
    for path in sorted(BAGS.glob("*.h5")) + sorted(FIXTURES.rglob("*.h5")):
        put("hdf5", "-".join(path.relative_to(path.parents[2]).parts), path.read_bytes())


def safetensors():
    for path in sorted(FIXTURES.rglob("*.safetensors")):
        name = "-".join(path.relative_to(FIXTURES).parts)
        put("weights", f"bag-{name}", b"\3" + path.read_bytes())
        put("weights", name, b"\0" + path.read_bytes())
    for path in sorted(FIXTURES.rglob("*.pt")) + sorted(BAGS.glob("state_*.pt")):
        put("weights", path.name, b"\1" + path.read_bytes())
    put("weights", "bag", b"\3" + small_safetensors("features", "coords", ""))
    put("weights", "bag-scales", b"\3" + small_safetensors("x20/features", "x20/coords", "x20/"))
    model = {"name": "amil"}
    metadata = {"model": json.dumps(model), "backbone_dim": "4"}
    for form in range(3):
        put("weights", f"small-{form}", bytes([form]) + small_safetensors("final_ln.weight", "attention_net.0.weight", "", metadata))


def small_safetensors(features, coords, prefix, metadata=None):
    metadata = metadata or {
        "encoder": "resnet50", "mpp": "0.25", "slide_width": "4096", "slide_height": "4096",
        f"{prefix}patch_size_level0": "512", f"{prefix}patch_mpp": "0.5", f"{prefix}parent_fallbacks": "0",
    }
    header = {
        "__metadata__": metadata,
        features: {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]},
        coords: {"dtype": "I64", "shape": [3, 2], "data_offsets": [48, 96]},
        f"{prefix}parent": {"dtype": "I64", "shape": [3], "data_offsets": [96, 120]},
        f"{prefix}tissue": {"dtype": "U8", "shape": [3], "data_offsets": [120, 123]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    values = struct.pack("<12f6q3q3B", *[0.5] * 12, *[0, 0, 512, 0, 0, 512], -1, 0, 1, 3, 5, 7)
    return struct.pack("<Q", len(text)) + text + values


def jpegs():
    cases = json.loads((FIXTURES / "libjpeg.json").read_text())
    return {case["name"]: bytes.fromhex(case["stream"]) for case in cases}


# 64 by 64 pixels as OpenJPEG writes them (Pillow: `no_jp2=True, num_resolutions=2, irreversible=True`, rate 20).
JPEG_2000 = ROOT / "fuzz" / "tile.j2k"


def tiles():
    for name, stream in jpegs().items():
        put("tile", f"jpeg-{name}", b"\0" + stream)
    raw = bytes(i % 251 for i in range(64 * 64 * 3))
    put("tile", "deflate", b"\5" + zlib.compress(raw))
    put("tile", "packbits", b"\7" + b"".join(b"\x7f" + raw[i : i + 128] for i in range(0, len(raw), 128)))
    for form in (3, 4):
        put("tile", f"jpeg2000-{form}", bytes([form]) + JPEG_2000.read_bytes())


def tiff(levels, compression, tiles, tables=None, order="<", big=False, text=b"Aperio fake|AppMag = 20|MPP = 0.5\0", strips=False):
    """A TIFF file; `levels` are (side, side of a tile)."""
    out = bytearray()
    head = b"II" if order == "<" else b"MM"
    out += head + (struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8))
    number = "Q" if big else "I"
    kinds = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 16: "Q"}
    for index, (side, tile_side) in enumerate(levels):
        across = -(-side // tile_side)
        n = across if strips else across * across
        data = tiles(side, tile_side)
        tags = {
            256: (4, [side]), 257: (4, [side]), 258: (3, [8, 8, 8]), 259: (3, [compression]), 262: (3, [6 if compression == 7 else 2]),
            270: (2, list(text)), 277: (3, [3]), 282: (5, [20000, 1]), 283: (5, [20000, 1]), 284: (3, [1]), 296: (3, [3]),
        }
        lists = (273, 279) if strips else (324, 325)
        if strips:
            tags[278] = (3, [tile_side])
        else:
            tags[322], tags[323] = (3, [tile_side]), (3, [tile_side])
        if tables:
            tags[347] = (1, list(tables))
        tags[lists[0]], tags[lists[1]] = (16 if big else 4, [0] * n), (16 if big else 4, [len(data)] * n)
        size = (8 + 20 * len(tags) + 8) if big else (2 + 12 * len(tags) + 4)
        start = len(out)
        room = {tag: len(values) * struct.calcsize("=" + kinds[kind]) // (2 if kind == 5 else 1) for tag, (kind, values) in tags.items()}
        behind, at = {}, start + size
        for tag in tags:
            if room[tag] > (8 if big else 4):
                behind[tag] = at
                at += room[tag]
        tags[lists[0]] = (tags[lists[0]][0], [at] * n)
        directory, values_behind = bytearray(struct.pack(order + ("Q" if big else "H"), len(tags))), bytearray()
        for tag in sorted(tags):
            kind, values = tags[tag]
            letter = "I" if kind == 5 else kinds[kind]
            packed = struct.pack(f"{order}{len(values)}{letter}", *values)
            count = len(values) // 2 if kind == 5 else len(values)
            directory += struct.pack(order + "HH" + number, tag, kind, count)
            if tag in behind:
                directory += struct.pack(order + number, behind[tag])
            else:
                directory += packed.ljust(8 if big else 4, b"\0")
        for tag in behind:
            kind, values = tags[tag]
            values_behind += struct.pack(f"{order}{len(values)}{'I' if kind == 5 else kinds[kind]}", *values)
        after = at + len(data) if index + 1 < len(levels) else 0
        directory += struct.pack(order + number, after)
        out += directory + values_behind + data
    return bytes(out)


def slides():
    plain = jpegs()
    small = min((stream for name, stream in plain.items()), key=len)
    raw = lambda side, tile: bytes(i % 251 for i in range(tile * tile * 3))
    packed = lambda side, tile: zlib.compress(raw(side, tile))
    put("slide", "pyramid-deflate", tiff([(64, 16), (32, 16), (16, 16)], 8, packed))
    put("slide", "pyramid-plain", tiff([(32, 16), (16, 16)], 1, raw))
    put("slide", "big", tiff([(32, 16), (16, 16)], 8, packed, big=True))
    put("slide", "motorola", tiff([(32, 16)], 8, packed, order=">"))
    put("slide", "jpeg", tiff([(32, 16)], 7, lambda side, tile: small))
    put("slide", "generic", tiff([(32, 16)], 8, packed, text=b"<?xml version=\"1.0\"?><OME/>\0"))
    put("slide", "strips", tiff([(16, 4)], 8, lambda side, rows: zlib.compress(bytes(side * rows * 3)), strips=True))
    for name, stream in plain.items():
        put("slide", f"image-{name}", stream)
    put("slide", "image-png", png())


def png():
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = b"".join(b"\0" + bytes(x * y % 256 for x in range(16 * 3)) for y in range(16))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


TABLE = """case_id,slide_id,site,is_female,age,survival_months,censorship
TCGA-2F-A9KO-01,TCGA-2F-A9KO-01Z-00-DX1.svs,2F,0,63,24.11,0
TCGA-2F-A9KP-01,TCGA-2F-A9KP-01Z-00-DX1.svs,2F,0,66,11.96,1
"""
SURVPATH = "case_id,slide_id,survival_months,censorship,survival_months_pfi,censorship_pfi\na,a.svs,12,0,3,0\nb,b.svs,4,1,4,1\n"
MMP = "case_id,slide_id,os_survival_days,os_censorship,pfs_survival_days,pfs_censorship\na,a.svs,365,0,30,0\nb,b.svs,40,1,40,1\n"
STAMP = "PATIENT,FILENAME,survival_months,event\na,a.h5,12,1\nb,b.h5,4,0\n"
CBIOPORTAL = "#Patient Identifier\tOverall Survival\n#STRING\tNUMBER\nPATIENT_ID\tOS_MONTHS\tOS_STATUS\nTCGA-01\t12.5\t1:DECEASED\nTCGA-02\t3\t0:LIVING\n"
GDC = "case_submitter_id\tvital_status\tdays_to_death\tdays_to_last_follow_up\nTCGA-01\tDead\t365\t'--\nTCGA-02\tAlive\t'--\t700\n"
PATHO_BENCH = "case_id\tslide_id\tOS_days\tOS_event\nTCGA-01\tTCGA-01-DX1\t365\t1\nTCGA-02\tTCGA-02-DX1\t700\t0\n"
RESOLUTIONS = "slide,mpp,mag\nTCGA-01,0.25,40\nTCGA-02,,20\n"


# In the order of the presets; the last is read without one.
TABLES = (TABLE, SURVPATH, MMP, STAMP, CBIOPORTAL, GDC, PATHO_BENCH, TABLE)


def tables():
    for form, text in enumerate(TABLES):
        put("clinical", f"plain-{form}", bytes([form]) + text.encode())
        # Rows without an outcome are skipped, the last endpoint is read, the table is its own table of slides.
        put("clinical", f"all-{form}", bytes([form | 56]) + text.encode())
    put("clinical", "semicolons", b"\7\xef\xbb\xbf" + TABLE.replace(",", ";").replace("\n", "\r\n").encode())
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/table.csv", TABLE)
    put("clinical", "zip", b"\7" + zipped.getvalue())
    put("clinical", "gzip", b"\7" + gzip.compress(TABLE.encode(), mtime=0))
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        for name, text in (("clinical.tsv", GDC), ("exposure.tsv", "a\tb\n1\t2\n")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    put("clinical", "tar", b"\5" + gzip.compress(tarred.getvalue(), mtime=0))
    put("clinical", "resolutions", b"\xff" + RESOLUTIONS.encode())


def splits():
    put("splits", "released", b"\0,train,val\n0,TCGA-2F-A9KO-01,TCGA-4Z-AA7M-01\n1,TCGA-2F-A9KP-01,\n")
    put("splits", "clam", b"\0,train,val,test\n0,a,c,d\n1,b,,\n")
    put("splits", "mmp", b"\1case_id,slide_id,dss_censorship,dss_survival_days\nTCGA-2F-A9KO-01,a,0,365\n")
    fold = {"train_patients": ["TCGA-2F-A9KO", "d"], "val_patients": ["TCGA-2F-A9KP"], "test_patients": ["c"]}
    put("splits", "stamp", b"\2" + json.dumps({"splits": [fold, fold]}).encode())
    put("splits", "patho-bench", b"\3case_id\tfold_0\tfold_1\nd\ttrain\ttest\nTCGA-2F-A9KP-01\ttest\ttrain\n")


def configs():
    for path in sorted((ROOT / "examples" / "configs").rglob("*.toml")):
        text = path.read_text()
        put("config", "-".join(path.parts[-2:]), bytes(["[study]" in text]) + text.encode())


OUT = Path(sys.argv[1])
for make in (pt, hdf5, safetensors, tiles, slides, tables, splits, configs):
    make()
for folder in sorted(OUT.iterdir()):
    print(f"{folder.name}: {len(list(folder.iterdir()))} seeds")
