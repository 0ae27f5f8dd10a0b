#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The vault's directory is renamed: nothing changes. It vanishes and comes back: errors
# meanwhile, no wrong bytes, and then the mount goes on as if nothing had been.
. "$SRC/tests/lib.sh"
require_fuse

make_image a.img 8M 1
make_image b.img 8M 2
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img -d lun0=b.img -t 2026-01-01T00:00:00Z
relay_service
mount_vault --refresh 0 --cache-size 1M --disk-cache-size 0 vault mnt
p=mnt/v/vm/2026-01-01T00-00-00Z
exec 5<$p/disks/os.img
head -c 4096 <&5 >/dev/null

if ! is_remote; then
	mv vault elsewhere
	assert_contains "$(ls mnt/v/vm)" latest
	head -c 4096 $p/disks/lun0.img | cmp - <(head -c 4096 b.img)
	mv elsewhere vault
fi

vault_away vault
run_fails 2 ls mnt/v/vm
assert_contains "$ERR" "Input/output error"
run_fails 1 cat $p/disks/lun0.img
run_fails 1 cat mnt/v/vm/latest/point.json
# Maybe from what is open, but never anything else.
cat <&5 >rest 2>err || assert_contains "$(cat err)" "Input/output error"
cmp -n "$(stat -c %s rest)" rest <(tail -c +4097 a.img)
ls mnt >/dev/null
assert_eq "$(ls mnt)" v
log=$(cat "$(daemon_log mnt)")
assert_contains "$log" vault

vault_back vault
assert_same $p/disks/lun0.img b.img
assert_same $p/disks/os.img a.img
assert_contains "$(ls mnt/v/vm)" latest
exec 5<&-
umount_vault mnt
