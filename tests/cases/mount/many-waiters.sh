#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# --offline=wait with more readers than may wait: those fail, and the mount goes on for all
# others: another vault in it answers, and who waits can be ended.
# long: 140 readers
. "$SRC/tests/lib.sh"
require_fuse

make_image a.img 16M 1
for v in one two; do
	vaultctl init -q $v --name $v
	vaultctl backup -q $v vm -d os=a.img -t 2026-01-01T00:00:00Z
done
mount_vault --refresh 0 --offline wait --cache-size 1M --disk-cache-size 0 one two mnt
disk=vm/2026-01-01T00-00-00Z/disks/os.img
# Open before the store is away: the kernel then asks for the bytes alone.
exec 8<mnt/one/$disk
vault_away one
readers=()
for ((i = 0; i < 140; i++)); do
	dd if=/proc/self/fd/8 of=/dev/null bs=4K iflag=direct skip=$((i * 28)) count=1 \
		2>"said.$i" &
	readers+=($!)
done
wait_until 60 counted waited 96

# What is more than may wait has failed.
failed() {
	local pid n=0
	for pid in "${readers[@]}"; do
		kill -0 "$pid" 2>/dev/null || ((++n))
	done
	((n >= 140 - 96))
}
wait_until 60 failed
grep -lq "Input/output error" said.* || fail "none failed"

# All others are served.
timeout -s KILL 60 cat mnt/two/$disk | cmp - a.img || fail "the other vault is not served"
# And who waits can be ended.
ended=0
for pid in "${readers[@]}"; do
	if kill -KILL "$pid" 2>/dev/null; then
		((++ended))
	fi
done
((ended >= 90)) || fail "only $ended waited"
wait "${readers[@]}" || :
exec 8<&-
vault_back one
assert_same mnt/one/$disk a.img
umount_vault mnt
