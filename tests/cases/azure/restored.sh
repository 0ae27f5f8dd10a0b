#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What a restore job left in a storage container is mounted: its disks, and with the
# keys that it left there its encrypted volumes.
# timeout: 180
# long: a double of Azure is started; make check-azure has these
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
. "$SRC/tests/volumes.sh"
require_fuse
require python3 jq curl openssl cryptsetup mke2fs sfdisk

encrypted_disk os.raw
sparse_image lun3.raw 1 2 5:3 100:1
# point DAY KEY
point() {
	echo "{\"time\": \"2026-01-0${1}T02:00:00Z\", \"tiers\": [\"HardenedRP\"], \"key\": {$2}, \"disks\": [
	 {\"name\": \"o\", \"image\": \"$PWD/os.raw\"}, {\"name\": \"d\", \"lun\": 3, \"image\": \"$PWD/lun3.raw\"}]}"
}
cat >world.json <<END
{"subscription": "$SUB", "tenant": "$TENANT", "clients": {"app1": {"secret": "s3cret/+ &=x"}},
 "vaults": [{"name": "contoso-rsv", "rg": "Backup-RG", "items": [{"vm": "web-01", "rg": "R", "points": [
  $(point 1 "\"secretUrl\": \"https://kv/secrets/s/$v1\", \"keyUrl\": \"https://kv/keys/kek/$v1\", \"secretData\": \"$wrapped\"")]}]}],
 "containers": {"staging": {"empty": {"readme.txt": {"text": "x"}},
  "half": {"config-w-1.json": {"utf16": "{\"name\": \"w\", \"properties.storageProfile\": {\"osDisk\": {\"name\": \"w-osdisk-20260726-131655\", \"osType\": \"Windows\", \"encryptionSettings\": [{\"diskEncryptionKey\": {\"secretUrl\": \"https://kv/secrets/s/$v1\"}}, {\"diskEncryptionKey\": {\"secretUrl\": \"https://kv/secrets/t/$v1\"}, \"keyEncryptionKey\": {\"keyUrl\": \"https://kv/keys/kek/$v1\"}}], \"vhd\": {\"Uri\": \"https://x/y/w-osdisk-20260726-131655.vhd\"}}}}"},
   "encryption-info-1.json": {"text": "{\"OsDiskKeyAndSecretDetails\": {\"SecretUrl\": \"https://kv/secrets/s/$v1\", \"SecretData\": \"$plain\"}}"}},
  "bad": {"config-w-1.json": {"text": "{"}}}}}
END
start_azure world.json
account=/subscriptions/$SUB/resourceGroups/R/providers/Microsoft.Storage/storageAccounts/staging
run_ok vaultctl restore-disks --cacert "$VAULTFS_CACERT" "azure-rsv:$VAULT" web-01 latest --to "$account" --yes
url=$OUT
export AZURE_STORAGE_KEY=c2VjcmV0
blob=(--endpoint "https://127.0.0.1:$AZ_HTTPS/blob/staging" --cacert "$VAULTFS_CACERT")

# Opening it costs a look for a vault, the list, the config and what says of keys.
azure_reset
mount_vault "${blob[@]}" --kek kek.pem "$url" mnt
opened=$(azure_count '^blob ')
((opened <= 8)) || fail "$opened requests to open it: $(azure_lines)"
assert_eq "$(ls mnt)" "${url##*/}"
vm=mnt/${url##*/}/web-01
assert_eq "$(ls "$vm")" "2026-07-26T13-16-55Z
latest"
assert_eq "$(ls "$vm/latest/disks")" "lun3.img
os.img"
assert_eq "$(jq -r .tier "$vm/latest/point.json")" restored
assert_eq "$(jq -r .kind "mnt/${url##*/}/vault.json")" azure-restored-disks
azure_reset
head -c 4096 "$vm/latest/disks/os.img" >got
cmp got <(head -c 4096 os.raw)
((opened = $(azure_count '^blob '), opened <= 6)) || fail "$opened requests to the first byte"
same_disk "$vm/latest/disks/os.img" os.raw
same_disk "$vm/latest/disks/lun3.img" lun3.raw
assert_same "$vm/latest/volumes/os-p2.img" clear
assert_eq "$(getfattr --only-values -n user.vaultfs.verified "$vm/latest/disks/os.img")" \
	"no, as the service gives it"
umount_vault mnt

# It is copied into a vault of one's own like any other.
make_kek mine
vaultctl init -q vault --name v
run_ok vaultctl backup "${blob[@]}" vault web-01 --from "$url" --escrow-to mine.pub --kek kek.pem
run_ok vaultctl show --json vault web-01 latest
assert_eq "$(jq -r .kek <<<"$OUT")" null

# A disk without its VHD; a key that is not wrapped is in nothing that is shown.
mount_vault "${blob[@]}" az://staging/half mnt
assert_contains "$(cat mnt/half/w/latest/disks/os.txt)" "its VHD is not in az://staging/half"
# The settings of its other volumes are records as well.
assert_eq "$(jq -r .secretUrl mnt/half/w/latest/escrow/*.json | sort)" "https://kv/secrets/s/$v1
https://kv/secrets/t/$v1"
assert_lacks "$(cat mnt/half/w/latest/escrow/* mnt/half/w/latest/point.json)" "$plain"
umount_vault mnt
run_fails 1 vaultctl list "${blob[@]}" az://staging/empty
run_fails 1 vaultctl list "${blob[@]}" az://staging/bad
assert_contains "$ERR" "config-w-1.json"
