#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A point in the vault tier is restored by Azure when it is asked for, and only then;
# afterwards the point tells where its disks are.
# long: a double of Azure is started; make check-azure has these
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
require_fuse
require python3 jq curl

sparse_image os.raw 1 1 0:1
cat >world.json <<END
{"subscription": "$SUB", "tenant": "$TENANT",
 "clients": {"app1": {"secret": "s3cret/+ &=x"}},
 "vaults": [{"name": "contoso-rsv", "rg": "Backup-RG", "items": [
  {"vm": "web-01", "rg": "R", "points": [
   {"time": "2026-11-20T02:00:07.5Z", "tiers": ["HardenedRP"],
    "disks": [{"name": "o", "image": "$PWD/os.raw"}]},
   {"time": "2026-11-19T14:00:07.5Z", "tiers": ["HardenedRP"],
    "disks": [{"name": "o", "image": "$PWD/os.raw"}]}]},
  {"vm": "web-02", "rg": "R", "points": [
   {"time": "2026-11-20T02:00:07.5Z", "tiers": ["HardenedRP"],
    "disks": [{"name": "o", "image": "$PWD/os.raw"}]}]},
  {"kind": "sql", "container": "VMAppContainer;Compute;rg;vm", "friendly": "sales",
   "name": "SQLDataBase;mssqlserver;sales", "points": [{"time": "2026-11-21T02:00:07Z"}]}]}]}
END
start_azure world.json
account=/subscriptions/$SUB/resourceGroups/R/providers/Microsoft.Storage/storageAccounts/staging
restore() {
	vaultctl restore-disks --cacert "$VAULTFS_CACERT" "azure-rsv:$VAULT" "$@" </dev/null
}

run_fails -l any 2 restore web-01 latest
assert_contains "$ERR" "--to ACCOUNT"
run_fails -l any 2 restore web-01 latest --to "$account"
assert_contains "$ERR" "add --yes"
run_fails 1 restore web-01 latest --to staging --yes
assert_contains "$ERR" "is not the id of a storage account"
run_fails 1 restore sales latest --to "$account" --yes
assert_contains "$ERR" "AzureVmWorkloadSQLDatabase"
assert_eq "$(azure_count ' POST .*/restore')" 0

# The service's URLs of 4 KiB are followed, then the job.
run_ok restore web-01 latest --to "$account" --yes
[[ $OUT =~ ^az://staging/web01-[0-9a-f]{32}$ ]] || fail "$OUT"
assert_eq "$(azure_count ' POST .*/restore')" 1
assert_eq "$(azure_count 'operationsStatus')" 3
assert_eq "$(azure_count 'backupJobs/')" 3
run_ok restore web-01 latest --to "$account" --yes --json
assert_eq "$(jq -r .account <<<"$OUT")" staging
newest=$(jq -r '"az://\(.account)/\(.container)"' <<<"$OUT")

azure_post world '{"restore_fails": "Storage account is full."}'
run_fails 1 restore web-01 latest --to "$account" --yes
assert_contains "$ERR" "the job Failed: Storage account is full."

# Where what they left cannot be read, it is named.
azure_post world '{"storage_denied": true}'
at=(--endpoint "https://127.0.0.1:$AZ_HTTPS/blob/staging")

# What jobs left is found again, by who lists nothing but that vault: in point.json and
# beside the disk. Only the point that it was; of the machine that it was.
azure_reset
mount_vault "${at[@]}" "azure-rsv:$VAULT" m
run_ok ls -l m/contoso-rsv m/contoso-rsv/web-01 m/contoso-rsv/web-02
assert_eq "$(azure_count 'backupJobs')" 0
run_ok jq -r .azure.restoredDisks m/contoso-rsv/web-01/latest/point.json
assert_eq "$OUT" "$newest"
assert_contains "$(cat m/contoso-rsv/web-01/latest/disks/os.txt)" "'vaultfs $newest DIRECTORY'"
# The list of the vault, and the two jobs that had completed, the newer first.
assert_eq "$(azure_count 'backupJobs\?')" 1
assert_eq "$(azure_count 'backupJobs/')" 1
run_ok jq -c .azure.restoredDisks m/contoso-rsv/web-01/2026-11-19T14-00-07Z/point.json
assert_eq "$OUT" null
assert_eq "$(azure_count 'backupJobs/')" 2
run_ok jq -c .azure.restoredDisks m/contoso-rsv/web-02/latest/point.json
assert_eq "$OUT" null
assert_contains "$(cat m/contoso-rsv/web-02/latest/disks/os.txt)" "vaultctl restore-disks azure-rsv:"
assert_eq "$(azure_count 'backupJobs')" 3
umount_vault m

# Who may not see the jobs still sees the point.
azure_post world '{"no_jobs": true}'
mount_vault "azure-rsv:$VAULT" m
assert_contains "$(cat m/contoso-rsv/web-01/latest/disks/os.txt)" "backupJobs/read is missing"
umount_vault m
