#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A VM that was encrypted inside, end to end: its point is mounted from a Recovery
# Services vault, its volume opened by a KEK in Key Vault, and a file compared; by
# each way in which a point says where its key is. (With AZURITE the bytes are
# there: make check-azure.)
# timeout: 240
# long: a double of Azure is started; make check-azure has these
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
. "$SRC/tests/volumes.sh"
require_fuse
require python3 jq curl openssl cryptsetup mke2fs debugfs sfdisk
python3 -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"

encrypted_disk os.raw -L rootfs
start_keyvaults
# Of another volume, as each of Windows has its own.
passphrase bek2 two
other=$(openssl pkeyutl -encrypt -pubin -inkey kek.pub -in bek2 \
	-pkeyopt rsa_padding_mode:oaep | base64 -w0 | tr '+/' '-_' | tr -d =)

tags='"DiskEncryptionKeyFileName": "LinuxPassPhraseFileName", "MachineName": "web-01"'
# point DAY DISK-NAME MEMBERS [OF-DISK]: of the world
point() {
	echo "{\"time\": \"2026-01-0${1}T00:00:00Z\", \"snapshot\": true, \"disks\": [
	 {\"name\": \"$2\", \"image\": \"$PWD/os.raw\"${4-}}], $3}"
}
both="\"secretUrl\": \"$kv1/secrets/wrapped/$v1\", \"keyUrl\": \"$kv1/keys/kek/$v1\""
azure_post world "$(
	cat <<END
{"keyvaults": {
  "kv1": {"keys": {"kek": {"versions": {"$v1": {"pem": "$PWD/kek.pem"}}}},
   "secrets": {
    "wrapped": {"versions": {"$v1": {"value": "$wrapped", "contentType": "Wrapped BEK", "tags": {$tags,
      "DiskEncryptionKeyEncryptionKeyURL": "$kv1/keys/kek/$v1",
      "DiskEncryptionKeyEncryptionAlgorithm": "RSA-OAEP"}}}},
    "plain": {"versions": {"$v1": {"value": "$plain", "contentType": "BEK", "tags": {$tags}}}},
    "other": {"versions": {"$v1": {"value": "$other", "contentType": "Wrapped BEK", "tags": {}}}},
    "gone": {"deleted": 12, "versions": {}}}},
  "kv2": {"keys": {"kek": {"versions": {"$v1": {"pem": "$PWD/kek.pem"}}}}}},
 "managed_disks": {"now": [{"secretUrl": "$kv1/secrets/other/$v1", "keyUrl": "$kv1/keys/kek/$v1"}, {$both}]},
 "vaults": [{"name": "contoso-rsv", "rg": "Backup-RG", "items": [{"vm": "web-01", "rg": "Web-RG", "points": [
  $(point 1 os "\"key\": {$both, \"secretData\": \"$wrapped\"}"),
  $(point 2 os "\"key\": {$both}"),
  $(point 3 os "\"key\": {\"secretUrl\": \"$kv1/secrets/plain/$v1\"}"),
  $(point 4 os "\"key\": {\"secretUrl\": \"https://no-more.vault.localhost/secrets/s/$v1\", \"secretData\": \"$plain\"}"),
  $(point 5 os '"encrypted": true' ", \"key\": {$both}"),
  $(point 6 now '"encrypted": true'),
  $(point 7 os "\"key\": {\"secretUrl\": \"$kv1/secrets/gone/$v1\", \"keyUrl\": \"$kv1/keys/kek/$v1\"}")]}]}]}
END
)"
vm=mnt/contoso-rsv/web-01

# opens DAY: its volume is decrypted, and the file in it is the one.
opens() {
	local at=$vm/2026-01-0${1}T00-00-00Z
	# shellcheck disable=SC2012
	assert_eq "$(ls "$at/volumes" | tr '\n' ' ')" "os-p1.img os-p2.img volumes.json "
	assert_same "$at/volumes/os-p2.img" clear
	debugfs -R "dump /file got" "$at/volumes/os-p2.img" 2>debugfs.log
	assert_same got root/file
	rm got
}
locked() {
	cat "$vm/2026-01-0${1}T00-00-00Z/volumes/os-p2.locked"
}

mount_vault --kek "$kv1" "azure-rsv:$VAULT" mnt
azure_reset
opens 1
# The point has the wrapped key: Key Vault is asked which token it wants, and to unwrap.
assert_eq "$(azure_count '^vault ')" 2
assert_eq "$(azure_count '^vault POST /keys/kek/.*/unwrapkey')" 2
azure_reset
opens 2
assert_eq "$(azure_count '^vault GET /secrets/wrapped/')" 1
opens 3
azure_reset
opens 4
assert_eq "$(azure_count '^vault ')" 0
opens 5
azure_reset
opens 6
assert_eq "$(azure_count '^arm GET .*/disks/now')" 1
# Each volume of a disk has a setting of its own: the second one opened it.
assert_eq "$(jq -r .secretUrl $vm/2026-01-06T00-00-00Z/escrow/*.json | sed 's|.*/secrets/||' | sort)" \
	"other/$v1
wrapped/$v1"
assert_contains "$(locked 7)" \
	"can be recovered for 12 days more: 'az keyvault secret recover --vault-name kv1 --name gone'"
# Those were more points than Azure lets be read at a time: what is not in use made
# room, for a disk too.
cmp $vm/2026-01-01T00-00-00Z/disks/os.img os.raw
# No key that is not wrapped is shown.
cat $vm/2026-*/escrow/*.json $vm/2026-*/point.json >shown
assert_lacks "$(cat shown)" "$plain"
assert_lacks "$(cat shown)" "$(cat bek)"
assert_eq "$(jq -r .wraps[0].value $vm/2026-01-01T00-00-00Z/escrow/1-vm.json)" "$wrapped"
assert_eq "$(jq -r .escrow[0].secretUrl $vm/2026-01-02T00-00-00Z/point.json)" \
	"$kv1/secrets/wrapped/$v1"
umount_vault mnt

# The addresses of one mount live on for half an hour: here they end with it.
afresh() {
	azure_reset
	azure_faults '[{"match": "/recoveryPoints/", "times": 1, "action": "revoke"}]'
}

# A key that was restored elsewhere; a vault that is not named is not asked.
afresh
mount_vault --kek "$kv2" --kek-host "${kv1#https://}=${kv2#https://}" "azure-rsv:$VAULT" mnt
opens 1
assert_eq "$(azure_count 'unwrapkey')" 2
umount_vault mnt
afresh
mount_vault --kek "$kv2/keys/kek/$v1" "azure-rsv:$VAULT" mnt
opens 1
assert_contains "$(locked 2)" "only where it is: $kv1/secrets/wrapped/$v1; --kek https://VAULT"
assert_eq "$(azure_count '/secrets/')" 0
umount_vault mnt

# Without keys it says what to give.
mount_vault "azure-rsv:$VAULT" mnt
assert_contains "$(locked 1)" "kek-missing"
assert_contains "$(locked 1)" "$kv1/keys/kek/$v1"
umount_vault mnt
