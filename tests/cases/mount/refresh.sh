#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A mount that goes on: new points and VMs show up within --refresh, dropped ones
# go; a file of one that is open gives an error once its data is gone, and never other bytes.
# long: waits for the time between two looks
. "$SRC/tests/lib.sh"
require_fuse

make_image a.img 3M 1
make_image b.img 3M 2
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img -t 2026-01-01T00:00:00Z
mount_vault --refresh 1 --cache-size 0 vault mnt
vm=mnt/v/vm

seen() {
	[[ -e $1 ]]
}
gone() {
	[[ ! -e $1 ]]
}
assert_eq "$(ls $vm)" "2026-01-01T00-00-00Z
latest"
vaultctl backup -q vault vm -d os=b.img -t 2026-01-02T00:00:00Z
sleep 1.1
assert_eq "$(ls $vm)" "2026-01-01T00-00-00Z
2026-01-02T00-00-00Z
latest"
assert_eq "$(readlink $vm/latest)" 2026-01-02T00-00-00Z
assert_same $vm/latest/disks/os.img b.img
assert_same $vm/2026-01-01T00-00-00Z/disks/os.img a.img

vaultctl backup -q vault vm-2 -d os=b.img -t 2026-01-02T00:00:00Z
sleep 1.1
seen mnt/v/vm-2/latest/ || fail "no vm-2"

# Dropped while it is open.
exec 5<$vm/latest/disks/os.img
head -c 4096 <&5 | cmp - <(head -c 4096 b.img)
vaultctl prune -q vault vm 2026-01-02
sleep 1.1
gone $vm/2026-01-02T00-00-00Z || fail "a dropped point is still there"
assert_eq "$(readlink $vm/latest)" 2026-01-01T00-00-00Z
run_fails 1 cat $vm/2026-01-02T00-00-00Z/disks/os.img
assert_contains "$ERR" "No such file"
# What it still has it may give; nothing else.
cat <&5 >rest 2>/dev/null || :
cmp -n "$(stat -c %s rest)" rest <(tail -c +4097 b.img)
exec 5<&-

# Another one of the very same time is another one.
vaultctl backup -q vault vm -d os=a.img -t 2026-01-02T00:00:00Z
sleep 1.1
assert_same $vm/2026-01-02T00-00-00Z/disks/os.img a.img

# Its data goes, as a sweep will do it, while it is open.
vaultctl backup -q vault db -d os=b.img -t 2026-01-03T00:00:00Z
sleep 1.1
exec 5<mnt/v/db/latest/disks/os.img
head -c 4096 <&5 >/dev/null
vault_out vault
rm -rf vault/V/db/d/os/*/s
vault_in vault
# What the kernel has of it is let go.
python3 -c 'import os
os.posix_fadvise(5, 0, 0, os.POSIX_FADV_DONTNEED)'
CODE=0
cat <&5 >rest 2>err || CODE=$?
assert_eq "$CODE" 1
assert_contains "$(cat err)" "Input/output error"
cmp -n "$(stat -c %s rest)" rest <(tail -c +4097 b.img)
assert_contains "$(cat "$(daemon_log mnt)")" \
	"/v/db/2026-01-03T00-00-00Z/disks/os.img: "
# Said once, however often it is read.
n=$(wc -l <"$(daemon_log mnt)")
for _ in 1 2 3 4 5; do
	run_fails 1 tail -c 1 mnt/v/db/latest/disks/os.img
done
(($(wc -l <"$(daemon_log mnt)") <= n + 1)) ||
	fail "said again and again: $(cat "$(daemon_log mnt)")"
exec 5<&-
umount_vault mnt
