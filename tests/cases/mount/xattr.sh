#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Extended attributes: what a disk is, and what vouches for it.
. "$SRC/tests/lib.sh"
require_fuse
require getfattr jq

get() {
	getfattr --only-values -n "user.vaultfs.$1" -- "$2"
}
make_image a.img 100K
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img -t 2026-01-01T00:00:00Z
mount_vault vault mnt
p=mnt/v/vm/2026-01-01T00-00-00Z
assert_eq "$(get root $p/disks/os.img)" "$(jq -r '.disks[0].rootHash' $p/point.json)"
assert_eq "$(get root $p/vhd/os.vhd)" "$(jq -r '.disks[0].rootHash' $p/point.json)"
for f in $p $p/disks/os.img $p/vhd/os.vhd; do
	assert_eq "$(get point "$f")" "$(jq -r .id $p/point.json)"
	assert_eq "$(get verified "$f")" "sha256, seal pinned"
done
assert_eq "$(getfattr -m - $p/disks/os.img | grep -c user.vaultfs)" 3
assert_eq "$(getfattr -m - mnt mnt/v mnt/v/vm $p/point.json)" ""
run_fails 1 getfattr -n user.vaultfs.root $p
run_fails 1 getfattr -n user.other $p/disks/os.img
assert_lacks "$(cat "$(daemon_log mnt)")" "pinned"
umount_vault mnt

# Somebody else, who has pinned nothing.
export VAULTFS_CONFIG_DIR=$PWD/other VAULTFS_STATE_DIR=$PWD/other-state
mount_vault vault mnt
assert_eq "$(get verified $p/disks/os.img)" "sha256, seal not pinned"
log=$(cat "$(daemon_log mnt)")
assert_contains "$log" "vaultctl key pin"
assert_eq "$(wc -l <<<"$log")" 1
umount_vault mnt
