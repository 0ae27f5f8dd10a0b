#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the metadata of a volume group of LVM2 into files, its physical volumes.

usage: mklvm.py [--seqno N] [--bad-crc] VG PV-FILE... -- LV=SEGMENT[+SEGMENT...]...

Extents are of 1 MiB, the first at 1 MiB. The files, pv0, pv1, … in the order given,
keep all but their first MiB. A SEGMENT of N extents is N@PV:EXTENT, or, striped,
N/BYTES@PV:EXTENT,PV:EXTENT…, or !TYPE for one of a type that is not mapped, or
!snapshot:ORIGIN:COW, which makes a hidden volume, as LVM does.
"""
import struct
import sys
import uuid

SECTOR = 512
EXTENT = 2048  # in sectors
AREA = (4096, (1 << 20) - 4096)


def crc(data, c=0xf597a6cf):
    for byte in data:
        c ^= byte
        for _ in range(8):
            c = c >> 1 ^ (0xedb88320 if c & 1 else 0)
    return c


def lvm_id(name):
    """Made of the name, so that it is the same each time."""
    s = uuid.uuid5(uuid.NAMESPACE_DNS, name).hex
    return "-".join([s[:6], s[6:10], s[10:14], s[14:18], s[18:22], s[22:26], s[26:]])


def segment(number, start, spec):
    head = f"\t\t\tsegment{number} {{\n\t\t\t\tstart_extent = {start}\n"
    if spec.startswith("!"):
        kind, *more = spec[1:].split(":")
        body = f'\t\t\t\textent_count = 1\n\t\t\t\ttype = "{kind}"\n'
        if kind == "snapshot":
            body += (f'\t\t\t\tchunk_size = 8\n\t\t\t\torigin = "{more[0]}"\n'
                     f'\t\t\t\tcow_store = "{more[1]}"\n')
        return head + body + "\t\t\t}\n", 1
    count, areas = spec.split("@")
    count, _, stripe = count.partition("/")
    areas = [a.split(":") for a in areas.split(",")]
    body = (f'\t\t\t\textent_count = {count}\n\t\t\t\ttype = "striped"\n'
            f"\t\t\t\tstripe_count = {len(areas)}\t# a comment {{\n")
    if stripe:
        body += f"\t\t\t\tstripe_size = {int(stripe) // SECTOR}\n"
    body += "\t\t\t\tstripes = [\n"
    body += ",\n".join(f'\t\t\t\t\t"{pv}", {extent}' for pv, extent in areas)
    return head + body + "\n\t\t\t\t]\n\t\t\t}\n", int(count)


def volume(vg, name, spec):
    segments, start = [], 0
    for part in spec.split("+"):
        text, n = segment(len(segments) + 1, start, part)
        segments.append(text)
        start += n
    seen = '"READ", "WRITE"' + ("" if spec.startswith("!snapshot") else ', "VISIBLE"')
    return (f'\t\t{name} {{\n\t\t\tid = "{lvm_id(vg + name)}"\n\t\t\tstatus = [{seen}]\n'
            f"\t\t\tsegment_count = {len(segments)}\n{''.join(segments)}\t\t}}\n")


def text(vg, seqno, sizes, volumes):
    out = (f'{vg} {{\n\tid = "{lvm_id(vg)}"\n\tseqno = {seqno}\n\tformat = "lvm2"\n'
           '\tstatus = ["RESIZEABLE", "READ", "WRITE"]\n\tflags = []\n'
           f"\textent_size = {EXTENT}\n\tphysical_volumes {{\n")
    for i, size in enumerate(sizes):
        out += (f'\t\tpv{i} {{\n\t\t\tid = "{lvm_id(f"{vg}pv{i}")}"\n'
                f'\t\t\tdevice = "/dev/sd\\"{i}"\n\t\t\tdev_size = {size // SECTOR}\n'
                f"\t\t\tpe_start = {EXTENT}\n"
                f"\t\t\tpe_count = {size // (EXTENT * SECTOR) - 1}\n\t\t}}\n")
    out += "\t}\n\tlogical_volumes {\n"
    out += "".join(volume(vg, *v.split("=", 1)) for v in volumes)
    return (out + '\t}\n}\ncontents = "Text Format Volume Group"\nversion = 1\n'
            ).encode() + b"\0"


def write(path, ident, size, metadata, bad):
    """The text lies so that it goes round the end of its area."""
    start, length = AREA
    off = length - max(len(metadata) // 2 // SECTOR, 1) * SECTOR
    label = bytearray(SECTOR)
    struct.pack_into("<8sQII8s", label, 0, b"LABELONE", 1, 0, 32, b"LVM2 001")
    struct.pack_into("<32sQQQQQQQQQ", label, 32, ident.replace("-", "").encode(), size,
                     EXTENT * SECTOR, 0, 0, 0, start, length, 0, 0)
    struct.pack_into("<I", label, 16, crc(label[20:]))
    head = bytearray(SECTOR)
    struct.pack_into("<16sIQQQQII", head, 4, b" LVM2 x[5A%r0N*>", 1, start, length, off,
                     len(metadata), crc(metadata) ^ bad, 0)
    struct.pack_into("<I", head, 0, crc(head[4:]))
    first = metadata[:length - off]
    with open(path, "r+b") as f:
        f.write(bytes(SECTOR) + label)
        f.seek(start)
        f.write(head)
        f.seek(start + SECTOR)
        f.write(metadata[len(first):])
        f.seek(start + off)
        f.write(first)


def main(args):
    seqno, bad = 1, 0
    while args[0].startswith("--"):
        if args[0] == "--seqno":
            seqno = int(args.pop(1))
        elif args[0] == "--bad-crc":
            bad = 1
        args.pop(0)
    cut = args.index("--")
    vg, paths, volumes = args[0], args[1:cut], args[cut + 1:]
    sizes = []
    for path in paths:
        with open(path, "rb") as f:
            sizes.append(f.seek(0, 2))
    metadata = text(vg, seqno, sizes, volumes)
    for i, path in enumerate(paths):
        write(path, lvm_id(f"{vg}pv{i}"), sizes[i], metadata, bad)


main(sys.argv[1:])
