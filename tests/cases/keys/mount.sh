#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# timeout: 120
#
# vaultkey on a mount, by what it shows of a point: check on all of it, a vault, a VM, a
# point; unwrap by the records in escrow/.
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
require_fuse
require cryptsetup mke2fs sfdisk jq openssl

umask 077
mkdir tree
echo hello >tree/hello
make_fs clear 4M tree
for i in 1 2; do
	key_file k$i $i
	passphrase p$i $i
	luks v$i 2 k$i p$i clear
done
gpt_disk os.img clear v1
make_kek kek
make_kek other
record p1 kek LinuxPassPhraseFileName >r1.json
record p2 kek LinuxPassPhraseFileName >r2.json
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=os.img -d lun0=v2 -t 2026-01-01T00:00:00Z
vaultctl backup -q vault vm -d os=os.img -d lun0=v2 -t 2026-01-02T00:00:00Z \
	--escrow os-p2=r1.json --escrow lun0=r2.json
of() {
	jq -r '[.volumes[] | .point[8:10] + "/" + .volume + "=" + .state] | sort |
		join(" ")' <<<"$OUT"
}

# Without keys of its own: it gives ciphertext and records, no more.
mount_vault vault mnt
point=mnt/v/vm/latest
assert_eq "$(ls $point/escrow | wc -l)" 2
second="02/lun0=opens 02/os-p1=clear 02/os-p2=opens"
run_ok vaultkey check --json mnt/v vm 2026-01-02T00-00-00Z --kek kek.pem
assert_eq "$(of)" "$second"
run_ok vaultkey check --json mnt vm latest --kek kek.pem
assert_eq "$(jq -r '[.volumes[] | .volume + "=" + .state] | sort | join(" ")' <<<"$OUT")" \
	"lun0=opens os-p1=clear os-p2=opens"
for where in mnt mnt/v "mnt vm"; do
	# shellcheck disable=SC2086
	run_fails -l any 1 vaultkey check --json $where -k kek.pem
	assert_eq "$(of)" "01/lun0=no-record 01/os-p1=clear 01/os-p2=no-record $second"
	assert_eq "$(jq -c '[.points, .open, .cannot, .unknown, .derivations]' <<<"$OUT")" \
		'[2,4,2,0,2]'
done
run_fails -l any 1 vaultkey check --json mnt vm latest -k other.pem
assert_contains "$(of)" "lun0=kek-missing"
run_fails 1 vaultkey check mnt nothing
run_fails 1 vaultkey check tree

vaultkey unwrap $point --volume os-p2 --kek kek.pem | cmp - p1
vaultkey unwrap $point --volume lun0 --kek kek.pem --out out
assert_same out p2
# Which one it should be has to be said.
run_fails 2 vaultkey unwrap $point --kek kek.pem
assert_contains "$ERR" "--volume"
run_fails 1 vaultkey unwrap $point --volume lun7 --kek kek.pem
assert_contains "$ERR" "there is no escrow record for lun7"
run_fails 1 vaultkey unwrap $point --volume lun0 --kek other.pem
run_fails 1 vaultkey unwrap mnt/v/vm/2026-01-01T00-00-00Z --volume lun0 --kek kek.pem
assert_contains "$ERR" "no escrow record"
umount_vault mnt

# Records of a vault that no key is pinned for are not tried, unless told.
mkdir elsewhere
VAULTFS_CONFIG_DIR=$PWD/elsewhere mount_vault vault mnt
run_fails -l any 3 vaultkey check --json mnt vm latest -k kek.pem
assert_contains "$OUT" "--trust-unsealed"
run_fails 1 vaultkey unwrap $point --volume lun0 --kek kek.pem
assert_contains "$ERR" "--trust-unsealed"
vaultkey unwrap $point --volume lun0 --kek kek.pem --trust-unsealed | cmp - p2
run_ok vaultkey check --json mnt vm latest -k kek.pem --trust-unsealed
umount_vault mnt
