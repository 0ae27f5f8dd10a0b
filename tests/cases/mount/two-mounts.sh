#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Two mounts of one vault, which is backed up into and pruned meanwhile.
# timeout: 120
. "$SRC/tests/lib.sh"
require_fuse

make_image a.img 6M 1
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img -t 2026-01-01T00:00:00Z
mount_vault --refresh 0 vault m1
mount_vault --refresh 0 --cache-size 2M vault m2

sum=$(sha256sum <a.img)
rounds=4
[[ ! ${CHECK_ALL-} ]] || rounds=10
(
	for ((i = 0; i < rounds; i++)); do
		for m in m1 m2; do
			[[ $(sha256sum <$m/v/vm/2026-01-01T00-00-00Z/disks/os.img) == "$sum" ]] ||
				exit 1
			find $m >/dev/null || exit 1
		done
	done
) &
reader=$!
for day in 02 03 04 05 06; do
	printf %s "$day" | dd of=a.img bs=1 seek=$((10#$day * 500000)) conv=notrunc status=none
	vaultctl backup -q vault vm -d os=a.img -t 2026-01-${day}T00:00:00Z
	for m in m1 m2; do
		assert_eq "$(readlink $m/v/vm/latest)" 2026-01-${day}T00-00-00Z
		assert_same $m/v/vm/latest/disks/os.img a.img
	done
done
wait $reader || fail "the reader met an error or other bytes"
vaultctl prune -q vault vm 2026-01-06
for m in m1 m2; do
	assert_eq "$(readlink $m/v/vm/latest)" 2026-01-05T00-00-00Z
done
umount_vault m1
ls m2/v/vm >/dev/null
umount_vault m2
