#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The double is checked by Azure's own clients, so that what our client passes theirs
# passes too. Needs them under AZURE_NPM (`make check-azure` puts them there).
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
require python3 jq curl node openssl
[[ -d ${AZURE_NPM:-/nonexistent}/node_modules/@azure/arm-compute ]] ||
	skip "needs Azure's npm clients (make check-azure)"
python3 -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"

sparse_image os.raw 1 1 0:1
openssl genrsa -out kek.pem 3072 2>/dev/null
cat >world.json <<END
{"subscription": "$SUB", "tenant": "$TENANT", "page": 2,
 "clients": {"app1": {"secret": "s3cret/+ &=x"}},
 "keyvaults": {"kv1": {
  "keys": {"kek": {"versions": {"1": {"pem": "$PWD/kek.pem"}}}, "gone": {"deleted": 7, "versions": {}}},
  "secrets": {"s": {"versions": {"a": {"value": "v", "contentType": "Wrapped BEK", "tags": {"x": "y"}}}}}}},
 "vaults": [{"name": "contoso-rsv", "rg": "Backup-RG", "more_vms": 4, "items": [
  {"vm": "web-01", "rg": "Web-RG", "points": [
   {"time": "2026-11-21T02:00:07.6678121Z", "snapshot": true,
    "key": {"secretUrl": "https://kv/secrets/s/a", "keyUrl": "https://kv/keys/kek/1"},
    "disks": [{"name": "web-01-os", "image": "$PWD/os.raw"}]},
   {"time": "2026-11-20T02:00:07.6678121Z"}, {"time": "2026-11-19T02:00:07.6678121Z"}]}]},
  {"name": "other", "rg": "B", "minimal": true}, {"name": "third", "rg": "C"}]}
END
start_azure world.json
cp "$SRC/tests/fakes/azure/clients.mjs" "$AZURE_NPM/clients.mjs"
run_ok env NODE_EXTRA_CA_CERTS="$VAULTFS_CACERT" SUB="$SUB" TENANT="$TENANT" \
	BASE="https://127.0.0.1:$AZ_HTTPS" node "$AZURE_NPM/clients.mjs"
assert_eq "$OUT" "recoveryservices backup compute keys secrets"
