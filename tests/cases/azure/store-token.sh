#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A vault in az: with neither key nor SAS: a token of the official chain of credentials
# lets us in, one for all requests, and another when it is refused. A key comes first.
# timeout: 120
# long: a double of Azure is started; make check-azure has these
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
. "$SRC/tests/service.sh"
require python3 jq curl

cat >world.json <<END
{"subscription": "$SUB", "tenant": "$TENANT", "identity": {},
 "clients": {"app1": {"secret": "s3cret/+ &=x"}}, "vaults": []}
END
start_azure world.json
start_fake
unset AZURE_STORAGE_KEY
vault=az://acct/vaults/v

azure_reset
run_ok vaultctl init "$vault"
assert_eq "$(azure_count oauth2)" 1 "questions for a token"
make_image a.img 3M
run_ok vaultctl backup -vv "$vault" vm -d os=a.img -t 2026-01-01T00:00:00Z
assert_contains "$ERR" "PUT object"
for secret in eyJ Bearer 's3cret'; do
	assert_lacks "$ERR$OUT" "$secret"
done
run_ok vaultctl verify "$vault"

# All that were given so far are refused: another is asked for.
if [[ -e /dev/fuse ]] && command -v fusermount3 >/dev/null; then
	require_fuse
	mount_vault --disk-cache-size 0 --cache-size 0 "$vault" mnt
	assert_same mnt/v/vm/latest/disks/os.img a.img
	azure_reset
	[[ $(say revoke) != 0 ]] || fail "no token was used"
	python3 -c 'import os
fd = os.open("mnt/v/vm/latest/disks/os.img", os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)'
	assert_same mnt/v/vm/latest/disks/os.img a.img
	assert_eq "$(azure_count oauth2)" 1 "questions for another token"
	umount_vault mnt
fi

# The service has no such right for us.
say deny GET >/dev/null
run_fails 1 vaultctl list "$vault"
assert_contains "$ERR" "refuses it to us (403 AuthorizationPermissionMismatch)"
say allow GET >/dev/null

# A wrong secret, and none of anything.
AZURE_CLIENT_SECRET=wrong run_fails 1 vaultctl list "$vault"
assert_contains "$ERR" "AADSTS7000215"
assert_contains "$ERR" "$vault"
assert_contains "$ERR" "no AZURE_STORAGE_KEY"

# A key of the account is taken instead; so is a SAS.
azure_reset
key=dGhlIGtleSBvZiB0aGUgYWNjb3VudDogMzIgYnl0ZXMh
AZURE_STORAGE_KEY=$key run_ok vaultctl list "$vault"
AZURE_STORAGE_SAS_TOKEN='sv=1&sig=SECRETSAS' run_ok vaultctl list "$vault"
assert_eq "$(azure_count oauth2)" 0 "questions for a token"

# A token is not sent in clear over a network.
AZURE_STORAGE_SERVICE_ENDPOINT=http://storage.test run_fails 1 vaultctl list "$vault"
assert_contains "$ERR" "not sent over http"
