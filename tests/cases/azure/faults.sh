#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What can go wrong between a mount and Azure, one after the other: the right bytes
# come, or the right sentence.
# timeout: 180
# long: a double of Azure is started; make check-azure has these
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
require_fuse
require python3 jq curl

sparse_image os.raw 1 1 0:2 100:3 1023:1
cat >world.json <<END
{"subscription": "$SUB", "tenant": "$TENANT", "page": 1, "page_ranges": 1,
 "clients": {"app1": {"secret": "s3cret/+ &=x"}},
 "vaults": [{"name": "contoso-rsv", "rg": "Backup-RG", "items": [
  {"vm": "web-01", "rg": "R", "points": [
   $(for n in 1 2 3 4 5 6; do
	comma='' vault=''
	((n == 1)) || comma=,
	((n > 3)) || vault=', "HardenedRP"'
	printf '%s{"time": "2026-11-0%dT02:00:07Z", "snapshot": true, "tiers": ["InstantRP"%s],
	"disks": [{"name": "o", "image": "%s/os.raw"}]}' "$comma" $n "$vault" "$PWD"
   done)]},
  {"vm": "locked", "rg": "R", "points": [
   {"time": "2026-11-01T02:00:07Z", "snapshot": true, "private": true,
    "disks": [{"name": "l", "image": "$PWD/os.raw", "network": "DenyAll"}]}]}]}]}
END
start_azure world.json

mnt() {
	mount_vault "azure-rsv:$VAULT" mnt
}
mkdir mnt
# At the mount already: a subscription that is not ours, a token that is refused.
run_fails 1 env AZURE_CLIENT_SECRET=wrong vaultfs -f "azure-rsv:$VAULT" mnt
assert_contains "$ERR" "EnvironmentCredential: Entra ID refused to give a token (401): invalid_client: AADSTS7000215"
assert_lacks "$ERR" wrong
run_fails 1 vaultfs -f "azure-rsv:${SUB/1111/2222}" mnt
assert_contains "$ERR" SubscriptionNotFound
azure_post world '{"deny": "vaults"}'
run_fails 1 vaultfs -f "azure-rsv:$VAULT" mnt
assert_contains "$ERR" "AuthorizationFailed"
assert_contains "$ERR" "Backup Reader"
azure_post world '{"deny": null}'

# Throttled, broken off, refused for an instant: asked again.
azure_reset
azure_faults '[{"match": "^arm GET .*/vaults/contoso-rsv.api", "times": 1, "status": 429,
  "headers": {"Retry-After": "0"}, "body": {}},
 {"match": "^arm GET .*/vaults/contoso-rsv.api", "times": 1, "action": "drop"},
 {"match": "^arm GET .*/vaults/contoso-rsv.api", "times": 1, "status": 401, "body": {}}]'
mnt
assert_eq "$(azure_count '^arm ')" 4
assert_eq "$(azure_count '^entra ')" 2
p=mnt/contoso-rsv/web-01

# A link to the next page that leads elsewhere gets no token.
azure_reset
azure_faults "[{\"match\": \"backupProtectedItems\", \"status\": 200,
 \"body\": $(jq -c '. | tojson' <<<'{"value": [], "nextLink": "https://evil.example/x"}')}]"
run_fails 2 ls mnt/contoso-rsv
assert_contains "$(cat "$(daemon_log mnt)")" "another host, 'evil.example': refused"
azure_reset
azure_faults '[{"match": "backupProtectedItems", "status": 200, "body": "[1"}]'
run_fails 2 ls mnt/contoso-rsv
azure_reset
run_ok ls $p
assert_eq "$(azure_count '^arm ')" 8

# The address of a disk ends in mid-read: asked for anew, once, and the bytes go on.
azure_faults '[{"match": "^blob GET .*sig=[^&]*$", "after": 1, "times": 1, "action": "revoke"},
 {"match": "^blob GET .*sig=[^&]*$", "after": 3, "times": 1, "action": "short"},
 {"match": "^blob GET .*sig=[^&]*$", "after": 5, "times": 1, "status": 503, "body": ""}]'
same_disk $p/2026-11-01T02-00-07Z/disks/os.img os.raw
assert_eq "$(azure_count 'beginGetAccess')" 2
# One range a page, three of the disk and the footer's.
((3 <= $(azure_count 'comp=pagelist'))) || fail "page ranges were not asked for in pages"

# The operation fails; then the disk may not be exported at all.
azure_post world '{"sas_fails": "The disk is busy."}'
run_fails 1 cat $p/2026-11-02T02-00-07Z/disks/os.img
assert_contains "$(cat "$(daemon_log mnt)")" "InternalExecutionError: The disk is busy."
azure_post world '{"sas_fails": null}'
run_fails 1 cat mnt/contoso-rsv/locked/latest/disks/os.img
assert_contains "$(cat "$(daemon_log mnt)")" "network access policy is DenyAll"

# Five points of a disk at a time: a sixth takes the place of one that is closed and
# whose copy in the vault is whole; the service's own transfers are left alone.
azure_reset
for n in 2 3 4 5; do
	run_ok head -c 512 $p/2026-11-0${n}T02-00-07Z/disks/os.img
done
exec 3<$p/2026-11-01T02-00-07Z/disks/os.img
run_ok head -c 512 $p/2026-11-06T02-00-07Z/disks/os.img
assert_eq "$(azure_count endGetAccess)" 1
ended=$(azure_lines | grep endGetAccess)
assert_contains "$ended" AzureBackup_2026110
[[ $ended == *20261102* || $ended == *20261103* ]] || fail "$ended"
exec 3<&-
umount_vault mnt

# The blob changes under us: no byte of the other.
azure_reset
mnt
exec 4<$p/2026-11-01T02-00-07Z/disks/os.img
azure_faults '[{"match": "^blob GET", "times": 1, "action": "touch"}]'
run_fails 1 dd if=/proc/self/fd/4 of=/dev/null bs=1M skip=100 count=1 status=none
assert_contains "$(cat "$(daemon_log mnt)")" "it changed while it was read"
exec 4<&-
umount_vault mnt

# What is read ahead of somebody who is gone holds nothing up: the service is silent, and
# the daemon ends all the same (it has a minute of patience with those who wait).
azure_reset
azure_faults '[{"match": "^blob GET", "range": "bytes=106954752-", "action": "stall"}]'
mnt
# Two MiB of three, without the kernel's own reading ahead: ours asks for the third.
run_ok dd if=$p/2026-11-01T02-00-07Z/disks/os.img of=/dev/null bs=1M skip=100 count=2 \
	iflag=direct status=none
stalled() {
	[[ $(curl -sSf "http://127.0.0.1:$AZ_HTTP/_double/counts" | jq '.faults[0]') != 0 ]]
}
wait_until 60 stalled
umount_vault mnt

# Restore points that this identity may not see are told, and nothing else is lost.
azure_reset
azure_post world '{"deny": "restorePointCollections"}'
mnt
assert_contains "$(cat $p/latest/disks/os.txt)" "Disk Snapshot Contributor"
assert_eq "$(jq -r '.disks[0].state' $p/latest/point.json)" needs-grant
log=$(cat "$(daemon_log mnt)")
umount_vault mnt
assert_lacks "$log" sig=
assert_lacks "$log" Bearer
assert_lacks "$log" s3cret
