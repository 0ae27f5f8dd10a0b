#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# vaultctl backup --from: points of Azure are copied into a vault of one's own, keys
# included, and of the second only what differs; with --escrow-to they outlive Azure.
# timeout: 240
# long: a double of Azure is started; make check-azure has these
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
. "$SRC/tests/volumes.sh"
require_fuse
require python3 jq curl openssl cryptsetup mke2fs sfdisk
python3 -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"

encrypted_disk os1.raw
cp --sparse=always os1.raw os2.raw
# Two places, one of which is a hole now.
make_image change 64K 7
dd if=change of=os2.raw bs=64K seek=$((800 * 16)) conv=notrunc status=none
cp --sparse=always os2.raw os3.raw
fallocate -p -o $((800 << 20)) -l 64K os3.raw
sparse_image lun0.raw 1 2 5:3 100:1
make_kek mine

# The double itself tells what differs; Azurite does not.
unset AZURITE
start_keyvaults
# point DAY OS KEY-MEMBERS [MORE]
point() {
	echo "{\"time\": \"2026-01-0${1}T02:00:00.1234567Z\", \"snapshot\": true, \"type\": \"FileSystemConsistent\",
	 \"key\": {$3}, \"disks\": [{\"name\": \"d-os\", \"image\": \"$PWD/$2\"},
	 {\"name\": \"d-data\", \"lun\": 0, \"image\": \"$PWD/lun0.raw\"}]}"
}
both="\"secretUrl\": \"$kv1/secrets/wrapped/$v1\", \"keyUrl\": \"$kv1/keys/kek/$v1\""
azure_post world "$(
	cat <<END
{"keyvaults": {
  "kv1": {"keys": {"kek": {"versions": {"$v1": {"pem": "$PWD/kek.pem"}}}},
   "secrets": {
    "wrapped": {"versions": {"$v1": {"value": "$wrapped", "contentType": "Wrapped BEK", "tags": {
      "DiskEncryptionKeyFileName": "LinuxPassPhraseFileName",
      "DiskEncryptionKeyEncryptionKeyURL": "$kv1/keys/kek/$v1"}}}},
    "plain": {"versions": {"$v1": {"value": "$plain", "contentType": "BEK", "tags": {}}}}}}},
 "vaults": [{"name": "contoso-rsv", "rg": "Backup-RG", "items": [{"vm": "web-01", "rg": "Web-RG", "points": [
  $(point 1 os1.raw "$both"), $(point 2 os2.raw "$both"), $(point 3 os3.raw "$both"),
  $(point 4 os3.raw "\"secretUrl\": \"$kv1/secrets/plain/$v1\""),
  $(point 5 os3.raw "\"secretUrl\": \"$kv1/secrets/lost/$v1\", \"keyUrl\": \"$kv1/keys/kek/$v1\""),
  {"time": "2026-01-06T00:00:00Z", "tiers": ["HardenedRP"]}]}]}]}
END
)"
from=azure-rsv:$VAULT
copy() {
	run_ok vaultctl backup --json vault web --from "$from" --from-vm web-01 --point "$@"
}
# same DAY OS: the copy is the point.
same() {
	same_disk "mnt/v/web/2026-01-0${1}T02-00-00Z/disks/os.img" "$2"
	same_disk "mnt/v/web/2026-01-0${1}T02-00-00Z/disks/lun0.img" lun0.raw
}

vaultctl init -q vault --name v
# All of what is data, and no hole; the secret is read, since the point has none.
azure_reset
copy 2026-01-01
assert_contains "$ERR" "cannot be unwrapped once that vault is gone: --escrow-to"
assert_eq "$(azure_count 'vault GET /secrets/wrapped/')" 2
assert_eq "$(azure_count unwrapkey)" 0
assert_eq "$(azure_count previous)" 0
full=$(azure_count '^blob GET /[^ ]*sig=[^ &]*$')
((full >= 8 && full <= 25)) || fail "$full requests for data"
assert_eq "$(jq -r .time <<<"$OUT")" 2026-01-01T02:00:00.123456700Z

# Of the second what differs: 64 KiB, of one disk.
azure_reset
copy 2026-01-02
data=$(azure_count '^blob GET /[^ ]*sig=[^ &]*$')
((data <= 4)) || fail "$data requests for what changed in 64 KiB"
assert_eq "$(azure_count 'comp=pagelist.* previous')" 2
assert_eq "$(jq .readBytes <<<"$OUT")" 65536
assert_eq "$(jq .newFrames <<<"$OUT")" 1
azure_reset
copy 2026-01-03
assert_eq "$(jq .newFrames <<<"$OUT")" 0
assert_eq "$(jq .zeroFrames <<<"$OUT")" 1

mount_vault vault mnt
same 1 os1.raw
same 2 os2.raw
same 3 os3.raw
point=mnt/v/web/2026-01-01T02-00-00Z/point.json
assert_eq "$(jq -r .kek $point)" key-vault-only
assert_eq "$(jq -r .recoveryPointType $point)" FileSystemConsistent
assert_contains "$(jq -r '.labels["azure.item"]' $point)" "/protectedItems/VM;iaasvmcontainerv2;web-rg;web-01"
umount_vault mnt
assert_eq "$(vaultctl show --json vault web 2026-01-02 2>/dev/null | jq -r .kek)" key-vault-only

# Wrapped for a key of one's own: by the KEK that the record names, and a BEK that was
# not wrapped at all.
copy 2026-01-04 --escrow-to mine.pub
assert_lacks "$ERR" "cannot be unwrapped"
vaultctl init -q second --name s
run_ok vaultctl backup second web-01 --from "$from" --point 2026-01-03 --escrow-to mine.pub
assert_contains "$OUT" "web-01 2026-01-03T02-00-00Z: 2 disks"
# What cannot be had is not promised; without --escrow-to it is said.
run_fails 1 vaultctl backup second web-01 --from "$from" --point 2026-01-05 --escrow-to mine.pub
assert_contains "$ERR" "secret lost is not in kv1.vault.localhost"
run_ok vaultctl backup second web-01 --from "$from" --point 2026-01-05
assert_contains "$ERR" "its record is copied without the key"
# The service does not compare: all is read, and that is said.
azure_faults '[{"match": "previous$", "status": 409, "headers": {"x-ms-error-code": "PreviousSnapshotNotFound"}, "body": ""}]'
copy 2026-01-05
assert_contains "$ERR" "disk os: what changed since the last copy is not told"
assert_contains "$ERR" "PreviousSnapshotNotFound"
azure_reset
run_fails 1 vaultctl backup second web-01 --from "$from" --point 2026-01-06
assert_contains "$ERR" "vaultctl restore-disks"
run_fails 1 vaultctl backup second web-01 --from "$from" --point 2026-01-03
for bad in "--disk os=os1.raw" "--time 2026-01-01" "--escrow =bek" "--check 1%"; do
	# shellcheck disable=SC2086
	run_fails 2 vaultctl backup second web-01 --from "$from" $bad
done
run_fails 2 vaultctl backup second web-01 --point latest -d os=os1.raw

# Azure is gone; the keys that were wrapped for us open what was copied.
unset "${!AZURE_@}" VAULTFS_AZURE_ARM
mount_vault --kek mine.pem --trust-unsealed vault second mnt
for p in v/web/2026-01-04T02-00-00Z s/web-01/2026-01-03T02-00-00Z; do
	assert_same mnt/$p/volumes/os-p2.img clear
	assert_eq "$(jq .kek mnt/$p/point.json)" null
done
[[ -e mnt/v/web/2026-01-01T02-00-00Z/volumes/os-p2.locked ]] || fail "opened with a key of another"
cat mnt/*/*/*/escrow/*.json mnt/*/*/*/point.json >shown
assert_lacks "$(cat shown)" "$plain"
umount_vault mnt
