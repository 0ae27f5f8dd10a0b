#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The disks that a restore job left are those of the point that it restored: in the mount
# of its vault, where the storage account lets us in, and for a backup of it.
# timeout: 240
# long: a double of Azure is started; make check-azure has these
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
. "$SRC/tests/volumes.sh"
require_fuse
require python3 jq curl openssl cryptsetup mke2fs sfdisk

encrypted_disk os.raw
sparse_image lun3.raw 1 2 5:3 100:1
key="\"secretUrl\": \"https://kv/secrets/s/$v1\", \"keyUrl\": \"https://kv/keys/kek/$v1\""
point() {
	echo "{\"time\": \"2026-01-0${1}T02:00:00.25Z\", \"tiers\": [\"HardenedRP\"], \"key\": {$2}${3-}, \"disks\": [
	 {\"name\": \"o\", \"image\": \"$PWD/os.raw\"}, {\"name\": \"d\", \"lun\": 3, \"image\": \"$PWD/lun3.raw\"}]}"
}
cat >world.json <<END
{"subscription": "$SUB", "tenant": "$TENANT", "clients": {"app1": {"secret": "s3cret/+ &=x"}},
 "vaults": [{"name": "contoso-rsv", "rg": "Backup-RG", "items": [{"vm": "web-01", "rg": "R", "points": [
  $(point 1 "$key, \"secretData\": \"$wrapped\""), $(point 2 "$key, \"secretData\": \"$wrapped\""),
  $(point 3 "$key" ", \"left_data\": \"$wrapped\"")]}]}]}
END
start_azure world.json
account=/subscriptions/$SUB/resourceGroups/R/providers/Microsoft.Storage/storageAccounts/staging
# With the identity's token: no key of the account is given.
at=(--endpoint "https://127.0.0.1:$AZ_HTTPS/blob/staging" --cacert "$VAULTFS_CACERT")
run_ok vaultctl restore-disks --cacert "$VAULTFS_CACERT" "azure-rsv:$VAULT" web-01 2026-01-01 --to "$account" --yes
url=$OUT
run_ok vaultctl restore-disks --cacert "$VAULTFS_CACERT" "azure-rsv:$VAULT" web-01 2026-01-03 --to "$account" --yes
one=mnt/contoso-rsv/web-01/2026-01-01T02-00-00Z
two=mnt/contoso-rsv/web-01/2026-01-02T02-00-00Z

# The point says where they are and has them; it is the vault's, with its own time. Besides
# its GET, the jobs are listed, the job and the container looked at, with a token for the
# storage; a look at its disks costs no more.
mount_vault "${at[@]}" --refresh 1h --kek kek.pem "azure-rsv:$VAULT" mnt
run_ok ls mnt/contoso-rsv/web-01
azure_reset
run_ok cat $one/point.json
assert_eq "$(jq -r .azure.restoredDisks <<<"$OUT")" "$url"
assert_eq "$(jq -r .tier <<<"$OUT")" vault-standard
assert_eq "$(jq -r .recoveryPointTime <<<"$OUT")" 2026-01-01T02:00:00.250Z
# The newer of two jobs is asked first.
assert_eq "$(azure_count '^arm ')" 4
assert_eq "$(azure_count '^blob ')" 3
run_ok stat -c %s $one/disks/os.img $one/disks/lun3.img
assert_eq "$OUT" "$(stat -c %s os.raw lun3.raw)"
assert_eq "$(ls $one/disks)" "lun3.img
os.img"
assert_eq "$(azure_count)" 8
# Its bytes, from the first on at no more than another disk; its volumes.
azure_reset
head -c 4096 $one/disks/os.img >got
cmp got <(head -c 4096 os.raw)
((n = $(azure_count), n <= 6)) || fail "$n requests to the first byte: $(azure_lines)"
same_disk $one/disks/os.img os.raw
same_disk $one/disks/lun3.img lun3.raw
assert_same $one/volumes/os-p2.img clear
# Of this one only the job has the wrapped key.
three=mnt/contoso-rsv/web-01/2026-01-03T02-00-00Z
assert_same $three/volumes/os-p2.img clear
assert_eq "$(jq -r '.wraps[0].value' $three/escrow/*.json)" "$wrapped"
# The second point was not restored.
run_fails 1 head -c 1 $two/disks/os.img
assert_contains "$(cat $two/disks/os.txt)" "vaultctl restore-disks azure-rsv:"
assert_eq "$(azure_count ' (POST|PUT|DELETE) ')" 0
umount_vault mnt

# It is copied like any other point.
vaultctl init -q vault --name v
run_ok vaultctl backup "${at[@]}" vault web --from "azure-rsv:$VAULT" --from-vm web-01 --point 2026-01-01
mount_vault vault mnt
same_disk mnt/v/web/2026-01-01T02-00-00Z/disks/os.img os.raw
same_disk mnt/v/web/2026-01-01T02-00-00Z/disks/lun3.img lun3.raw
umount_vault mnt

# not_there WORDS: the point is, its disks are not; why, and where it said they were.
not_there() {
	mount_vault "${at[@]}" --refresh 1h "azure-rsv:$VAULT" mnt
	assert_eq "$(jq -r .azure.restoredDisks $one/point.json)" "$url"
	run_fails 1 head -c 1 $one/disks/os.img
	azure_reset
	assert_contains "$(cat $one/disks/os.txt)" "$1"
	assert_contains "$(cat $one/disks/os.txt)" "'vaultfs $url DIRECTORY'"
	# It is not asked for again at once.
	run_ok ls -l $one $one/disks
	assert_eq "$(azure_count)" 0
	umount_vault mnt
}
azure_post world '{"storage_denied": true}'
not_there AuthorizationPermissionMismatch
azure_post world '{"storage_denied": false}'
# A machine was made of one: it is not the point's any more, and is not shown as such.
azure_post write "\"${url#az://}/web-01-datadisk\""
mount_vault -v "${at[@]}" "azure-rsv:$VAULT" mnt
run_fails 1 head -c 1 $one/disks/lun3.img
assert_contains "$(cat "$(daemon_log mnt)")" "was written to after the restore job had ended"
same_disk $one/disks/os.img os.raw
umount_vault mnt
mount_vault "${at[@]}" "$url" mnt
same_disk "mnt/${url##*/}/web-01/latest/disks/lun3.img" lun3.raw
umount_vault mnt

# A VHD was removed, or the config, or all of it.
azure_post remove "\"${url#az://}/web-01-osdisk\""
mount_vault "${at[@]}" "azure-rsv:$VAULT" mnt
assert_contains "$(cat $one/disks/os.txt)" "its VHD is not in $url"
umount_vault mnt
azure_post remove "\"${url#az://}/config\""
not_there "$url has no config of a restore job"
azure_post remove "\"${url#az://}\""
not_there "cannot be read from here ($url"
