#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# needs: VAULT_URL_BASE
# timeout: 240
#
# kill -9 of who reads, in the middle: a mount, whose cache the next one goes on with, and a
# restore, which is gone on with. Right bytes each time.
. "$SRC/tests/lib.sh"
require_fuse

url=$(vault_url vault)
make_image a.img 32M 1
vaultctl init -q "$url"
vaultctl backup -q "$url" vm -d os=a.img

for round in 1 2 3; do
	mount_vault --cache-dir kept "$url" mnt
	dd if=mnt/vault/vm/latest/disks/os.img of=got.$round bs=1M status=none 2>/dev/null &
	reader=$!
	some() { [[ -s got.$round ]]; }
	wait_until 60 some
	kill -9 "$(daemon_pid mnt)"
	wait $reader || :
	fusermount3 -uz mnt
	cmp -n "$(stat -c %s "got.$round")" "got.$round" a.img
done
mount_vault --cache-dir kept "$url" mnt
assert_same mnt/vault/vm/latest/disks/os.img a.img
umount_vault mnt

mkdir out
for _ in 1 2 3; do
	vaultctl restore -q "$url" vm latest --to out/ --resume 2>err &
	pid=$!
	at_exit sh -c "kill -9 $pid 2>/dev/null"
	begun() { [[ -e out/.os.img.vaultfs-partial ]] || ! kill -0 "$pid" 2>/dev/null; }
	wait_until 60 begun
	kill -9 $pid 2>/dev/null || :
	wait $pid || :
	[[ ! -e out/os.img ]] || assert_same out/os.img a.img
done
[[ -e out/os.img ]] || run_ok vaultctl restore -q "$url" vm latest --to out/ --resume
assert_same out/os.img a.img
