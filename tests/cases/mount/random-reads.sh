#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Reads at random offsets and of random lengths, from several threads, compared with the
# kept images; through the page cache and past it.
# timeout: 120
. "$SRC/tests/lib.sh"
require_fuse

make_image --holes a.img 9M 1
make_image b.img 3333333 2
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img -d lun0=b.img -t 2026-01-01T00:00:00Z
cp a.img a2.img
python3 - <<'END'
import random
with open("a2.img", "r+b") as f:
    for i in range(1, 21):
        f.seek(i * 431234)
        f.write(b"%d" % random.randrange(1 << 15))
END
vaultctl backup -q vault vm -d os=a2.img -d lun0=b.img -t 2026-01-02T00:00:00Z
mount_vault --cache-size 1M vault mnt
vm=mnt/v/vm
python3 - $vm/2026-01-01T00-00-00Z/disks/os.img a.img \
	$vm/2026-01-02T00-00-00Z/disks/os.img a2.img \
	$vm/2026-01-02T00-00-00Z/disks/lun0.img b.img \
	$vm/2026-01-01T00-00-00Z/vhd/os.vhd a.img <<'END'
import mmap, os, random, sys, threading
files = [(p, open(k, "rb").read()) for p, k in zip(sys.argv[1::2], sys.argv[2::2])]
bad = []

def direct(fd, off, n):
    # Aligned memory, as O_DIRECT wants it.
    with mmap.mmap(-1, n) as m:
        got = os.preadv(fd, [m], off)
        return m[:got]

def work(seed):
    rnd = random.Random(seed)
    for _ in range(150 if os.environ.get("CHECK_ALL") else 12):
        path, kept = rnd.choice(files)
        past = rnd.random() < 0.3
        fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if past else 0))
        for _ in range(3):
            off = rnd.randrange(len(kept))
            n = rnd.choice([1, 100, 4096, 65536, 65537, 1 << 20, 3 << 20])
            if past:
                off, n = off // 4096 * 4096, (n + 4095) // 4096 * 4096
                n = max(4096, min(n, (len(kept) - off) // 4096 * 4096))
                got = direct(fd, off, n)
            else:
                n = min(n, len(kept) - off)
                got = os.pread(fd, n, off)
            if got[:len(kept) - off] != kept[off:off + n]:
                bad.append((path, off, n, past))
        os.close(fd)

threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
for t in threads: t.start()
for t in threads: t.join()
assert not bad, bad[:3]
END
umount_vault mnt
