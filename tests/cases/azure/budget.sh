#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What it costs at the size of a company: counted in requests.
# timeout: 180
# long: a double of Azure is started; make check-azure has these
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
require_fuse
require python3 jq curl

sparse_image os.raw 1 1 0:1
cat >world.json <<WORLD
{"subscription": "$SUB", "tenant": "$TENANT", "page": 200, "more_vaults": 499,
 "clients": {"app1": {"secret": "s3cret/+ &=x"}},
 "vaults": [{"name": "contoso-rsv", "rg": "Backup-RG", "more_vms": 999, "items": [
  {"vm": "web-01", "rg": "R", "more_points": 300, "points": [
   {"time": "2026-11-21T02:00:07Z", "snapshot": true, "disks": [{"name": "o", "image": "$PWD/os.raw"}]},
   {"time": "2026-11-20T02:00:07Z", "snapshot": true, "disks": [{"name": "o", "image": "$PWD/os.raw"}]}]}]}]}
WORLD
start_azure world.json

# 500 vaults: their pages, and nothing of what is in them.
mount_vault "azure-rsv:$SUB" all
azure_reset
run_ok ls -l all
# shellcheck disable=SC2012
assert_eq "$(ls all | wc -l)" 500
((all = $(azure_count), all <= 3)) || fail "$all requests for 500 vaults: $(azure_lines)"
umount_vault all

# 1,000 VMs: five pages; a second look costs none.
mount_vault "azure-rsv:$VAULT" one
azure_reset
run_ok ls -l one/contoso-rsv
# shellcheck disable=SC2012
assert_eq "$(ls one/contoso-rsv | wc -l)" 1001
assert_eq "$(azure_count)" 5
assert_eq "$(azure_count 'backupProtectedItems')" 5
# 302 points: two pages. A point: one GET, the first with a snapshot two more; then one.
azure_reset
run_ok ls -l one/contoso-rsv/web-01
assert_eq "$(azure_count)" 2
azure_reset
run_ok cat one/contoso-rsv/web-01/2026-11-20T02-00-07Z/point.json
assert_eq "$(azure_count)" 3
azure_reset
run_ok cat one/contoso-rsv/web-01/2026-11-21T02-00-07Z/point.json
run_ok ls -l one/contoso-rsv/web-01/2026-11-21T02-00-07Z/disks
assert_eq "$(azure_count)" 1
# The first byte, once there is an address: at most six round trips.
azure_reset
head -c 1 one/contoso-rsv/web-01/2026-11-21T02-00-07Z/disks/os.img >first
((blobs = $(azure_count '^blob '), blobs <= 6)) || fail "$blobs round trips to the first byte"
umount_vault one

# The command: the vault, its pages, and nothing a VM.
azure_reset
run_ok vaultctl list -q --json --cacert "$VAULTFS_CACERT" "azure-rsv:$VAULT"
assert_eq "$(azure_count '^arm ')" 6
assert_eq "$(jq ".vms | length" <<<"$OUT")" 1000
azure_reset
run_ok vaultctl list -q --cacert "$VAULTFS_CACERT" "azure-rsv:$VAULT" web-01
assert_eq "$(azure_count '^arm ')" 8
