#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A Recovery Services vault is mounted as it stands: its VMs, points and the disks
# of the snapshot tier, at no more requests than they take.
# long: a double of Azure is started; make check-azure has these
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
require_fuse
require python3 jq curl

sparse_image os.raw 2 1 0:3 70:2 1024:1 2047:1
sparse_image lun0.raw 1 2 5:3

cat >world.json <<END
{"subscription": "$SUB", "tenant": "$TENANT", "page": 2,
 "clients": {"app1": {"secret": "s3cret/+ &=x"}}, "more_vaults": 5,
 "vaults": [{"name": "contoso-rsv", "rg": "Backup-RG", "items": [
  {"vm": "web-01", "rg": "Web-RG", "shout": true, "points": [
   {"time": "2026-11-21T02:00:07.6678121Z", "snapshot": true,
    "snapshot_time": "2026-11-21T02:03:01.1Z", "disks": [
     {"name": "web-01-os", "image": "$PWD/os.raw"},
     {"name": "web-01-data", "lun": 0, "image": "$PWD/lun0.raw"}]},
   {"time": "2026-11-21T08:00:07.5Z", "snapshot": true, "type": "CrashConsistent",
    "tiers": ["InstantRP"], "disks": [
     {"name": "web-01-os", "image": "$PWD/lun0.raw"}]},
   {"time": "2026-11-20T02:00:07.6678121Z", "old": true,
    "tiers": ["InstantRP:Deleted", "HardenedRP"], "disk_config": {
     "includedDiskList": [{"lun": -1, "name": "os"}, {"lun": 3, "name": "d"}]}},
   {"time": "2019-11-19T02:00:07Z", "tiers": ["HardenedRP:Deleted", "ArchivedRP"]}]},
  {"vm": "twin", "rg": "A", "points": []},
  {"vm": "Twin", "rg": "B", "points": []},
  {"vm": "db/01", "rg": "Web-RG", "classic": true, "points": []},
  {"kind": "sql", "container": "VMAppContainer;Compute;rg;vm", "friendly": "sales",
   "name": "SQLDataBase;mssqlserver;sales",
   "points": [{"time": "2026-11-21T02:00:07.6678121Z"}]}]}]}
END
start_azure world.json

# One vault: its own GET, and nothing of what is in it. The token is asked for once.
mount_vault "azure-rsv:$VAULT" one
assert_eq "$(ls one)" contoso-rsv
assert_eq "$(azure_count '^arm ')" 1
assert_eq "$(azure_count '^entra ')" 1

# Five items on three pages, and no request an item.
azure_reset
run_ok ls -l one/contoso-rsv
assert_eq "$(azure_count)" 3
mapfile -t names < <(ls one/contoso-rsv)
assert_eq "${#names[@]}" 6
[[ ${names[0]} =~ ^Twin~[0-9a-f]{4}$ ]] || fail "${names[0]}"
assert_eq "${names[1]}" db_01
assert_eq "${names[2]}" sales
[[ ${names[3]} =~ ^twin~[0-9a-f]{4}$ ]] || fail "${names[3]}"
assert_eq "${names[5]}" web-01

# Four points on two pages, and no request a point.
azure_reset
vm=one/contoso-rsv/web-01
run_ok ls -l $vm
assert_eq "$(azure_count)" 2
assert_eq "$(ls $vm | paste -sd ' ')" "2019-11-19T02-00-07Z 2026-11-20T02-00-07Z \
2026-11-21T02-00-07Z 2026-11-21T08-00-07Z latest"
assert_eq "$(readlink $vm/latest)" 2026-11-21T08-00-07Z

# A point is one GET; the first that has to be restored asks for its vault's jobs too.
azure_reset
old=$vm/2026-11-20T02-00-07Z
assert_eq "$(jq -r .tier $old/point.json)" vault-standard
assert_eq "$(jq -r '[.disks[].name] | join(" ")' $old/point.json)" "lun3 os"
assert_eq "$(jq -r .recoveryPointType $old/point.json)" ApplicationConsistent
assert_eq "$(azure_count)" 2
assert_eq "$(azure_count 'GET .*/backupJobs')" 1

# Its disks say what to do; nothing is triggered by that.
run_fails 1 cat $old/disks/os.img
assert_contains "$(cat $old/disks/os.txt)" "vaultctl restore-disks azure-rsv:$VAULT web-01 2026-11-20T02-00-07Z"
assert_contains "$(cat $vm/2019-11-19T02-00-07Z/disks/os.txt)" "archive tier"
assert_eq "$(azure_count)" 3
assert_eq "$(azure_count ' POST ')" 0

# With a snapshot: the collections of the subscription and this VM's, once.
azure_reset
first=$vm/2026-11-21T02-00-07Z
assert_eq "$(jq -r .tier $first/point.json)" "snapshot and vault-standard"
assert_eq "$(azure_count)" 3
azure_reset
assert_eq "$(jq -r .tier $vm/latest/point.json)" snapshot
assert_eq "$(jq -r .recoveryPointType $vm/latest/point.json)" CrashConsistent
assert_eq "$(azure_count)" 1
assert_eq "$(stat -c %s $first/disks/os.img)" $((2 << 30))
assert_eq "$(azure_count)" 1

# The bytes. Until the address is there: begin, status twice, result; then at most
# six requests to the first byte.
azure_reset
head -c 4096 $first/disks/os.img >got
cmp got <(head -c 4096 os.raw)
assert_eq "$(azure_count '^arm POST .*beginGetAccess')" 1
assert_eq "$(azure_count '^arm ')" 4
blobs=$(azure_count '^blob ')
((blobs <= 6)) || fail "$blobs requests to the first byte"
same_disk $first/disks/os.img os.raw
same_disk $first/disks/lun0.img lun0.raw
run_ok python3 - $first/disks/lun0.img <<'END'
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
assert os.lseek(fd, 0, os.SEEK_DATA) == 5 << 20
assert os.lseek(fd, 5 << 20, os.SEEK_HOLE) == 8 << 20
END
assert_eq "$(tail -c 512 $first/vhd/os.vhd | head -c 8)" conectix

# What is no VM says so.
assert_contains "$(cat one/contoso-rsv/sales/latest/point.txt)" AzureVmWorkloadSQLDatabase
assert_eq "$(ls one/contoso-rsv/sales/latest/disks)" ""
assert_eq "$(getfattr --only-values -n user.vaultfs.verified $first/disks/os.img)" \
	"no, as the service gives it"
umount_vault one

# Nothing was restored, no session begun, no access ended.
assert_eq "$(azure_count 'restore |provision|endGetAccess')" 0

# All of a subscription, by its id alone: no vault is asked for its items.
azure_reset
mount_vault "azure-rsv:$SUB" all
assert_eq "$(ls all | wc -l)" 6
run_ok ls -l all
assert_eq "$(azure_count '^arm ')" 3
umount_vault all

run_fails 1 vaultfs -f --require-pin "azure-rsv:$VAULT" one
assert_contains "$ERR" "have no seals"
run_fails 1 vaultfs -f "azure-rsv:${VAULT%contoso-rsv}other" one
assert_contains "$ERR" "'Microsoft.RecoveryServices/vaults/other'"
run_fails 1 vaultfs -f azure-rsv:nothing one
