#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A BEK is unwrapped by its KEK in Key Vault; what the vault refuses is told in words.
# timeout: 180
# long: a double of Azure is started; make check-azure has these
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
require python3 jq curl openssl
python3 -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"

{
	openssl genrsa -out kek.pem 3072
	openssl pkey -in kek.pem -pubout -out kek.pub
	openssl genrsa -out other.pem 3072
} 2>/dev/null
v1=0123456789abcdef0123456789abcdef
cat >world.json <<END
{"subscription": "$SUB", "tenant": "$TENANT",
 "clients": {"app1": {"secret": "s3cret/+ &=x"}},
 "keyvaults": {
  "kv1": {"keys": {"kek": {"versions": {"$v1": {"pem": "$PWD/kek.pem"}}}}},
  "kv2": {"keys": {"kek": {"versions": {"$v1": {"pem": "$PWD/kek.pem"}}}}},
  "kv3": {"keys": {"kek": {"versions": {"new": {"pem": "$PWD/other.pem"}}}}},
  "kv4": {"keys": {"kek": {"deleted": 12, "versions": {}}}},
  "kv5": {"keys": {"kek": {"versions": {"$v1": {"pem": "$PWD/kek.pem", "disabled": true}}}}},
  "kv6": {"keys": {"kek": {"versions": {"$v1": {"pem": "$PWD/kek.pem", "expired": true}}}}},
  "kv7": {"keys": {"kek": {"versions": {"$v1": {"pem": "$PWD/other.pem"}}}}},
  "kv8": {"deny": {"keys/unwrapKey": [403, "Forbidden", "ForbiddenByRbac"]},
   "keys": {"kek": {"versions": {"$v1": {"pem": "$PWD/kek.pem"}}}}},
  "kv9": {"deny": {"keys": [403, "Forbidden", "ForbiddenByFirewall"]}},
  "kv10": {"keys": {}},
  "hsm1": {"keys": {"kek": {"versions": {"$v1": {"pem": "$PWD/kek.pem"}}}}}}, "vaults": []}
END
start_azure world.json
at() {
	echo "https://kv$1.vault.localhost:$AZ_HTTPS"
}
need_localhost_names "$(at 1)"

head -c 127 /dev/urandom | base64 -w0 >bek
b64url() { base64 -w0 | tr '+/' '-_' | tr -d =; }
# record N ALG HASH
record() {
	local wrapped
	wrapped=$(openssl pkeyutl -encrypt -pubin -inkey kek.pub -in bek \
		-pkeyopt rsa_padding_mode:oaep -pkeyopt "rsa_oaep_md:$3" | b64url)
	cat <<END
{"contentType": "Wrapped BEK", "id": "$(at "$1")/secrets/s/1", "value": "$wrapped",
 "tags": {"DiskEncryptionKeyEncryptionAlgorithm": "$2", "DiskEncryptionKeyFileName":
 "LinuxPassPhraseFileName", "DiskEncryptionKeyEncryptionKeyURL": "$(at "$1")/keys/kek/$v1"}}
END
}
# refused N WORDS [OPTION...]: the key of vault N does not, and says so.
refused() {
	local n=$1 words=$2
	shift 2
	record "$n" RSA-OAEP sha1 >refused.json
	run_fails 1 vaultkey unwrap refused.json --kek "$(at "$n")" "$@"
	assert_contains "$ERR" "$words"
	assert_lacks "$ERR" s3cret
	assert_lacks "$ERR" "$(head -c 24 bek)"
}

record 1 RSA-OAEP sha1 >secret.json
azure_reset
vaultkey unwrap secret.json --kek "$(at 1)/keys/kek/$v1" | cmp - bek
# Asked which token it wants, the token, the key.
assert_eq "$(azure_count)" 3
vaultkey unwrap secret.json --kek "$(at 1)/keys/kek" | cmp - bek

vaultkey unwrap secret.json --kek "$(at 1)" | cmp - bek
record 1 RSA-OAEP-256 sha256 >256.json
vaultkey unwrap 256.json --kek "$(at 1)" | cmp - bek

# The same key under another vault: by name and version, or because we are told.
vaultkey unwrap secret.json --kek "$(at 2)/keys/kek/$v1" | cmp - bek
vaultkey unwrap secret.json --kek "$(at 2)" --kek-host "kv1.vault.localhost:$AZ_HTTPS=$(at 2)" |
	cmp - bek
azure_reset
run_fails 1 vaultkey unwrap secret.json --kek "$(at 2)"
assert_eq "$(azure_count)" 0

refused 3 "but not its version $v1"
refused 4 "can be recovered for 12 days more: 'az keyvault key recover --vault-name kv4 --name kek'"
refused 5 "it is disabled: 'az keyvault key set-attributes --enabled true'"
refused 6 "it has expired"
refused 7 "does not unwrap the BEK of refused.json"
refused 8 "Key Vault Crypto User"
refused 9 "network-rule add"
refused 10 "nor among what was deleted there"

# A vault that wants a token for another service gets none, unless we say so; then it
# is said.
azure_reset
azure_post world '{"kv_resource": "https://vault.azure.net"}'
refused 1 "asks for a token for another service, https://vault.azure.net: refused"
assert_eq "$(azure_count '^entra')" 0
run_ok vaultkey unwrap secret.json --kek "$(at 1)" --kv-resource "kv1.vault.localhost:$AZ_HTTPS"
assert_contains "$ERR" "gets a token for https://vault.azure.net, as --kv-resource says"
azure_post world '{"kv_resource": "https://vault.localhost"}'

# Busy for a moment.
azure_reset
azure_faults '[{"match": "unwrapkey", "after": 1, "times": 1, "status": 429,
 "headers": {"Retry-After": "0"}, "body": {}}]'
vaultkey unwrap secret.json --kek "$(at 1)" | cmp - bek
assert_eq "$(azure_count unwrapkey)" 3

# A Managed HSM: keys only, behind a token for the resource that it names.
hsm=https://hsm1.managedhsm.localhost:$AZ_HTTPS
record 1 RSA-OAEP sha1 | sed "s|kv1\.vault\.localhost|hsm1.managedhsm.localhost|" >hsm.json
azure_reset
vaultkey unwrap hsm.json --kek "$hsm" | cmp - bek
assert_eq "$(azure_count '^vault ')" 2
assert_eq "$(azure_count '^entra ')" 1
# The record has no wrapped key, and there are no secrets there: it takes the BEK.
jq -c --arg id "$hsm/secrets/s/$v1" '{vaultfsEscrow: 1, secretUrl: $id, wraps: []}' <<<'{}' >none.json
run_fails 1 vaultkey unwrap none.json --kek "$hsm"
assert_contains "$ERR" "a managed HSM has keys only, no secrets: give the volume's own key with --bek"
