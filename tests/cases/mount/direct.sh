#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# --offline=wait: who reads with O_DIRECT from a server that hangs can be interrupted, and
# what AIO asks for is still asked for side by side.
. "$SRC/tests/lib.sh"
. "$SRC/tests/service.sh"
require_fuse
require python3

start_fake
# No request fails by itself as long as this case may run.
export VAULTFS_RETRY=1h
make_image a.img 16M
vaultctl init -q az://acct/vaults/v
vaultctl backup -q az://acct/vaults/v vm -d os=a.img
disk=mnt/v/vm/latest/disks/os.img
gone() {
	! kill -0 "$1" 2>/dev/null
}

# Names that were looked up stay known while it hangs.
mount_vault --refresh 1h --offline wait --cache-size 1M --disk-cache-size 0 az://acct/vaults/v mnt
dd if=$disk of=direct.img bs=4M iflag=direct status=none
assert_same direct.img a.img

say fault hang GET 1000000 >/dev/null
reads=$(fs_stat read)
dd if=$disk of=/dev/null bs=4M iflag=direct status=none &
reader=$!
wait_until 30 counted read $((reads + 1))
assert_eq "$(fs_stat interrupted)" 0
kill -TERM $reader
wait_until 30 gone $reader
wait_until 30 counted interrupted 1

# Two reads, of which neither is answered.
reads=$(fs_stat read)
python3 - $disk <<-'END' &
	import ctypes, mmap, os, struct, sys, time
	io_setup, io_submit = {"x86_64": (206, 209)}.get(os.uname().machine, (0, 2))
	libc = ctypes.CDLL(None, use_errno=True)
	fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
	room = mmap.mmap(-1, 8192)
	at = ctypes.addressof(ctypes.c_char.from_buffer(room))
	ctx = ctypes.c_ulong()
	assert libc.syscall(io_setup, 2, ctypes.byref(ctx)) == 0
	# struct iocb
	blocks = [ctypes.create_string_buffer(struct.pack("=QIiHhIQQqQII", 0, 0, 0, 0, 0, fd, at + 4096 * i,
	                                                  4096, i << 23, 0, 0, 0)) for i in (0, 1)]
	list_of = (ctypes.c_void_p * 2)(*map(ctypes.addressof, blocks))
	got = libc.syscall(io_submit, ctx, 2, list_of)
	assert got == 2, (got, ctypes.get_errno())
	open("submitted", "w").close()
	time.sleep(3600)
END
reader=$!
wait_until 30 test -e submitted
wait_until 30 counted read $((reads + 2))

# What it asked for ends with the mount, and it with that.
kill -KILL $reader
kill -TERM "$(daemon_pid mnt)"
wait_daemon mnt
wait $reader || :
