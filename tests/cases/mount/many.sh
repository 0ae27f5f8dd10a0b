#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Ten thousand points of a VM list at once, and 500 VMs of 200 points are mounted and
# listed without any of them being asked.
. "$SRC/tests/lib.sh"
require_fuse
require getfattr jq

names() {
	python3 -c 'import os, sys
print(*os.listdir(sys.argv[1]), sep="\n")' "$1"
}
mkdir mnt
"$BUILD/tests/bench/mount_fake" -s 1M mnt 2>log &
pid=$!
at_exit fusermount3 -uz "$PWD/mnt"
wait_until 20 is_mounted mnt
assert_eq "$(names mnt/fake | wc -l)" 503
assert_eq "$(names mnt/fake/many | wc -l)" 10001
assert_eq "$(names mnt/fake/many | sort -u | wc -l)" 10001
assert_eq "$(find mnt/fake/many -maxdepth 1 -printf '%i\n' | sort -u | wc -l)" 10002
# In few requests, each of many names; plain ones, once the kernel has seen that
# nobody looks closer.
lists=$(getfattr --only-values -n user.vaultfs.stats mnt |
	jq '.readdir + .readdirplus')
((lists < 3000)) || fail "$lists requests for lists"
python3 - mnt/fake/many <<'END'
import os, sys
# From any place in it, in any order: what telldir gave is good for seekdir.
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = ctypes.c_void_p
libc.telldir.argtypes = libc.readdir64.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
libc.readdir64.restype = ctypes.c_void_p

def name(e):
    return ctypes.string_at(e + 19)

d = libc.opendir(sys.argv[1].encode())
seen = []
while True:
    at = libc.telldir(d)
    e = libc.readdir64(d)
    if not e:
        break
    seen.append((at, name(e)))
assert len(seen) == 10003, len(seen)
for at, want in seen[::997][::-1] + seen[:3]:
    libc.seekdir(d, at)
    assert name(libc.readdir64(d)) == want
libc.closedir(d)
END
fusermount3 -u mnt
wait $pid
