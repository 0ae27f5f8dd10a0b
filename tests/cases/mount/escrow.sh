#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Volumes that are opened by the escrow records of their point and a KEK; what escrow/ shows;
# records that are added later, that are of a vault which is not pinned, whose KEK is missing.
# long: keys/mount has a record of each kind opened
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
require_fuse
require cryptsetup mke2fs sfdisk jq openssl

mkdir root
make_image root/file 100K 1
make_fs clear 4M root -L rootfs
key_file k1 one
key_file k2 two
passphrase p1 one
passphrase p2 two
make_kek kek1
make_kek kek2
record p1 kek1 LinuxPassPhraseFileName >r1.json
record p2 kek2 LinuxPassPhraseFileName >r2.json
luks one 2 k1 p1 clear
luks two 2 k2 p2 clear
gpt_disk os.img clear one
vaultctl init -q vault --name v
for i in 1 2 3; do
	vaultctl backup -q vault vm -d os=os.img -d lun0=two -t 2026-01-0${i}T00:00:00Z \
		--escrow os-p2=r1.json
done
point=mnt/v/vm/latest

mount_vault -vv -k kek1.pem vault mnt
assert_eq "$(find mnt/v/vm/2026* -name '*.img' -path '*/volumes/*' | wc -l)" 6
assert_eq "$(grep -c 'a key is derived' "$(daemon_log mnt)")" 2
assert_same $point/volumes/os-p2.img clear
# The VM's record is tried on each of its volumes; it is not lun0's.
assert_contains "$(cat $point/volumes/lun0.locked)" "lun0 is locked (wrong-key): none of the keys"
assert_eq "$(ls $point/escrow)" 1-os.json
assert_eq "$(stat -c %A $point/escrow/1-os.json)" -r--------
jq -e '.part == 2 or .partition == 2' $point/escrow/1-os.json >/dev/null
assert_contains "$(cat $point/escrow/1-os.json)" keys/kek1/
umount_vault mnt

# No KEK, another KEK: which one is missing.
for with in "" "-k kek2.pem"; do
	# shellcheck disable=SC2086
	mount_vault $with vault mnt
	assert_contains "$(cat $point/volumes/os-p2.locked)" \
		"os-p2 is locked (kek-missing): the BEK of os-p2 is wrapped by KEK https://kv.vault.azure.net/keys/kek1/"
	umount_vault mnt
done

# A record that comes later: seen after a while, or at once by SIGHUP.
mount_vault --refresh 0 -k kek1.pem -k kek2.pem vault mnt
[[ -e $point/volumes/lun0.locked ]] || fail "lun0 is not locked"
vaultkey attach -q vault vm latest --escrow lun0=r2.json
kill -HUP "$(daemon_pid mnt)"
opened() { [[ -e $point/volumes/lun0.img ]]; }
wait_until 30 opened
assert_same $point/volumes/lun0.img clear
assert_eq "$(ls $point/escrow | wc -l)" 2
umount_vault mnt

# Whose owner key is not pinned here: its records could be anybody's.
export VAULTFS_CONFIG_DIR=$PWD/other VAULTFS_STATE_DIR=$PWD/other-state
mount_vault -k kek1.pem vault mnt
assert_contains "$(cat $point/volumes/os-p2.locked)" "--trust-unsealed"
umount_vault mnt
mount_vault --trust-unsealed -k kek1.pem vault mnt
assert_same $point/volumes/os-p2.img clear
umount_vault mnt

# Many at once, of whom some do not wait: the others get what they asked for.
mount_vault -k kek1.pem --trust-unsealed vault mnt
pids=()
for i in 1 2 3 4 5 6 7 8; do
	find mnt/v/vm -name '*.img' -size -100M >/dev/null 2>&1 &
	pids+=($!)
	if ((i % 3 == 0)); then
		kill -KILL "${pids[-1]}" 2>/dev/null || :
		unset 'pids[-1]'
	fi
done
ls mnt/v >/dev/null
for pid in "${pids[@]}"; do
	wait "$pid" || fail "find: $?"
done
assert_same $point/volumes/os-p2.img clear
umount_vault mnt
