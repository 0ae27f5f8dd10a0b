#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What is shown of a point is asked for once: the size of point.json, its bytes, and the
# records in escrow/ come of the same requests. Counted where they are most: a point that
# was encrypted and says nothing of its key, so that its disks are asked for it.
# timeout: 120
# long: a double of Azure is started; make check-azure has these
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
require_fuse
require python3 jq curl

sparse_image os.raw 1 1 0:1
at=https://kv1.vault.localhost
setting() {
	echo "[{\"secretUrl\": \"$at/secrets/$1/1\", \"keyUrl\": \"$at/keys/kek/1\"}]"
}
point() {
	echo "{\"time\": \"2026-01-0${1}T00:00:00Z\", \"snapshot\": true, \"encrypted\": true, \"disks\": [
	 {\"name\": \"one\", \"image\": \"$PWD/os.raw\"},
	 {\"name\": \"two\", \"lun\": 0, \"image\": \"$PWD/os.raw\"}]}"
}
cat >world.json <<END
{"subscription": "$SUB", "tenant": "$TENANT",
 "clients": {"app1": {"secret": "s3cret/+ &=x"}},
 "managed_disks": {"one": $(setting one), "two": $(setting two)},
 "vaults": [{"name": "contoso-rsv", "rg": "Backup-RG", "items": [
  {"vm": "web-01", "rg": "Web-RG", "points": [$(point 1), $(point 2)]}]}]}
END
start_azure world.json
vm=mnt/contoso-rsv/web-01
first=$vm/2026-01-01T00-00-00Z

# fresh_mount: what was known before is not.
fresh_mount() {
	mount_vault --refresh 1h "azure-rsv:$VAULT" mnt
	run_ok ls $vm
	azure_reset
}

# Itself, the restore points of the subscription and of the VM, and two disks.
fresh_mount
run_ok cat $first/point.json
assert_eq "$(jq -r '[.escrow[].secretUrl] | join(" ")' <<<"$OUT")" "$at/secrets/two/1 $at/secrets/one/1"
alone=$(azure_count)
assert_eq "$(azure_count 'GET .*/disks/(one|two)\?')" 2
assert_eq "$alone" 5
umount_vault mnt

# Its size first: no more.
fresh_mount
run_ok stat -c %s $first/point.json
size=$OUT
run_ok cat $first/point.json
assert_eq "${#OUT}" $((size - 1))
assert_eq "$(azure_count)" "$alone"
# Nor for those who come at once, or again, or for the records.
azure_reset
readers=()
for _ in 1 2 3 4; do
	cat $first/point.json >/dev/null &
	readers+=($!)
done
wait "${readers[@]}"
run_ok ls -l $first $first/escrow
run_ok cat $first/escrow/1-lun0.json $first/escrow/2-os.json
assert_eq "$(azure_count)" 0

# Opening another point of the same disks is its one GET.
run_ok ls -l $vm/2026-01-02T00-00-00Z
run_ok stat $vm/2026-01-02T00-00-00Z/point.json
run_ok cat $vm/2026-01-02T00-00-00Z/point.json
assert_eq "$(azure_count)" 1
assert_eq "$(azure_count 'GET .*/recoveryPoints/')" 1
umount_vault mnt
