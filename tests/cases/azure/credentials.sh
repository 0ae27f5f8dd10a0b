#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Each way to a token that the official chain has, in its order, and what is said
# where there is none.
# timeout: 180
# long: a double of Azure is started; make check-azure has these
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
require_fuse
require python3 jq curl openssl

openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=app2 -days 30 -keyout app2.key \
	-out app2.crt 2>/dev/null
(umask 077 && cat app2.key app2.crt >app2.pem)
(umask 077 && openssl rsa -in app2.key -aes256 -passout pass:pw -traditional 2>/dev/null >enc.pem &&
	cat app2.crt >>enc.pem)
cat >world.json <<END
{"subscription": "$SUB", "tenant": "$TENANT", "identity": {},
 "clients": {"app1": {"secret": "s3cret/+ &=x"}, "app2": {"cert": "$PWD/app2.crt"},
  "app3": {"federated": "eyJ.federated.token"}},
 "vaults": [{"name": "contoso-rsv", "rg": "Backup-RG", "items": []}]}
END
start_azure world.json
unset AZURE_CLIENT_SECRET AZURE_CLIENT_ID AZURE_TENANT_ID
# Nobody else's machine is asked.
export AZURE_POD_IDENTITY_AUTHORITY_HOST=http://127.0.0.1:$AZ_HTTP
mkdir -p mnt bin
faults=''

# with VARIABLE=VALUE...: mounts, and prints the name of the credential.
with() {
	local pid i
	azure_reset
	[[ ! $faults ]] || azure_faults "$faults"
	env "$@" vaultfs -f "azure-rsv:$VAULT" mnt >log 2>&1 &
	pid=$!
	for ((i = 0; i < 3000; i++)); do
		is_mounted mnt && break
		kill -0 $pid 2>/dev/null || break
		sleep 0.02
	done
	if ! is_mounted mnt; then
		wait $pid || :
		cat log
		return 0
	fi
	jq -r .credential mnt/contoso-rsv/vault.json
	# A secret in the environment is not left there.
	! tr '\0' '\n' <"/proc/$pid/environ" | grep -q 's3cret' || echo "secret in environ"
	fusermount3 -u mnt
	wait $pid
}
app() {
	echo "AZURE_TENANT_ID=$TENANT AZURE_CLIENT_ID=$1"
}

# shellcheck disable=SC2046
{
	assert_eq "$(with $(app app1) "AZURE_CLIENT_SECRET=s3cret/+ &=x")" EnvironmentCredential
	assert_eq "$(with $(app app2) "AZURE_CLIENT_CERTIFICATE_PATH=$PWD/app2.pem")" \
		EnvironmentCredential
	assert_eq "$(with $(app app2) "AZURE_CLIENT_CERTIFICATE_PATH=$PWD/enc.pem" \
		AZURE_CLIENT_CERTIFICATE_PASSWORD=pw)" EnvironmentCredential
	assert_contains "$(with $(app app2) "AZURE_CLIENT_CERTIFICATE_PATH=$PWD/enc.pem")" \
		"no private key in it that can be read"
	chmod 644 app2.pem
	assert_contains "$(with $(app app2) "AZURE_CLIENT_CERTIFICATE_PATH=$PWD/app2.pem")" "chmod 600"
	printf 'eyJ.federated.token\n' >federated
	assert_eq "$(with $(app app3) "AZURE_FEDERATED_TOKEN_FILE=$PWD/federated")" \
		WorkloadIdentityCredential
	# What is there and refused ends the search.
	azure_post world '{"identity": {"imds": true}}'
	assert_contains "$(with $(app app1) AZURE_CLIENT_SECRET=no)" "EnvironmentCredential: Entra ID refused"
	assert_eq "$(azure_count '^identity ')" 0
	# ... unless the chain is narrowed.
	assert_eq "$(with $(app app1) AZURE_CLIENT_SECRET=no \
		AZURE_TOKEN_CREDENTIALS=managedidentitycredential)" ManagedIdentityCredential
}
assert_eq "$(with A=1)" ManagedIdentityCredential
assert_contains "$(azure_lines)" "resource=https%3A%2F%2Fmanagement.azure.com"
azure_post world '{"identity": {"imds": "user-1"}}'
assert_eq "$(with AZURE_CLIENT_ID=user-1)" ManagedIdentityCredential
# Busy, and not yet there: asked again.
azure_post world '{"identity": {"imds": true}}'
faults='[{"match": "^identity ", "times": 1, "status": 404, "body": {}},
 {"match": "^identity ", "times": 1, "status": 429, "body": {}},
 {"match": "^identity ", "times": 1, "status": 500, "body": {}}]'
assert_eq "$(with A=1)" ManagedIdentityCredential
faults=''
assert_eq "$(azure_count '^identity ')" 4

azure_post world '{"identity": {"app": "header-1"}}'
assert_eq "$(with "IDENTITY_ENDPOINT=http://127.0.0.1:$AZ_HTTP/msi/token" \
	IDENTITY_HEADER=header-1)" ManagedIdentityCredential
assert_contains "$(with "IDENTITY_ENDPOINT=http://127.0.0.1:$AZ_HTTP/msi/token" \
	IDENTITY_HEADER=other)" "App Service's managed identity refused to give a token (401)"
faults='[{"match": "^identity ", "times": 2, "status": 503, "body": {}}]'
assert_eq "$(with "IDENTITY_ENDPOINT=http://127.0.0.1:$AZ_HTTP/msi/token" \
	IDENTITY_HEADER=header-1)" ManagedIdentityCredential
faults=''
assert_eq "$(azure_count '^identity ')" 3

# Arc's key is looked for in its own folder only.
echo key >stray.key
azure_post world "{\"identity\": {\"arc\": \"$PWD/stray.key\"}}"
assert_contains "$(with "IDENTITY_ENDPOINT=http://127.0.0.1:$AZ_HTTP/arc/token" IMDS_ENDPOINT=x)" \
	"names a key outside of /var/opt/azcmagent/tokens/: refused"

# In its folder it is taken, and shown once more. That folder is the machine's: here it
# is one that only this process sees.
arc() {
	unshare -rm sh -c 'mount -t tmpfs none /var/opt && mkdir -p /var/opt/azcmagent/tokens &&
		printf key-1 >/var/opt/azcmagent/tokens/x.key && chmod 600 /var/opt/azcmagent/tokens/x.key && "$@"' - "$@"
}
if arc true 2>/dev/null; then
	azure_reset
	azure_post world "{\"identity\": {\"arc\": \"/var/opt/azcmagent/tokens/x.key\", \"arc_key\": \"key-1\"}}"
	azure_faults '[{"match": "^identity ", "times": 1, "status": 429, "body": {}}]'
	run_ok arc env "IDENTITY_ENDPOINT=http://127.0.0.1:$AZ_HTTP/arc/token" IMDS_ENDPOINT=x \
		vaultctl list -q --cacert "$VAULTFS_CACERT" "azure-rsv:$VAULT"
	# Busy, which key, the token.
	assert_eq "$(azure_count '^identity ')" 3
fi

# The CLI, whose arguments are looked at, and which gets no secrets of ours.
azure_post world '{"identity": {"imds": false}}'
cat >bin/az <<'END'
#!/bin/sh
[ "$*" = "account get-access-token --output json --scope https://management.azure.com/.default" ] ||
	{ echo "ERROR: $*" >&2; exit 1; }
[ -z "$AZURE_CLIENT_SECRET$VAULTFS_CACERT" ] || { echo "ERROR: secrets" >&2; exit 1; }
[ -z "$AZ_SAYS" ] || { echo "ERROR: $AZ_SAYS" >&2; exit 1; }
printf '{"accessToken": "%s", "expiresOn": "2026-01-01 00:00:00.000000", "expires_on": %d, "tokenType": "Bearer"}\n' \
	"$(cat "$AZ_TOKEN")" $(($(date +%s) + 3000))
END
chmod +x bin/az
curl -sSf "http://127.0.0.1:$AZ_HTTP/_double/token?aud=https://management.azure.com" |
	jq -r .token >token
assert_eq "$(with "PATH=$PWD/bin:$PATH" "AZ_TOKEN=$PWD/token")" AzureCliCredential
assert_eq "$(with "PATH=$PWD/bin:$PATH" "AZ_TOKEN=$PWD/token" AZURE_TOKEN_CREDENTIALS=dev)" \
	AzureCliCredential
said=$(with "PATH=$PWD/bin:$PATH" "AZ_SAYS=Please run 'az login' to setup account.")
assert_contains "$said" "nobody is logged in (az login)"
assert_contains "$said" "AZURE_FEDERATED_TOKEN_FILE is not set"
assert_contains "$said" "this machine has no managed identity"
assert_lacks "$(with "PATH=$PWD/bin:$PATH" AZURE_TOKEN_CREDENTIALS=prod)" "az login"
assert_contains "$(with AZURE_TOKEN_CREDENTIALS=everything)" "neither prod nor dev"
assert_contains "$(with AZURE_AUTHORITY_HOST=http://x)" "is not an https address"
assert_contains "$(with VAULTFS_AZURE_CLOUD=moon)" "none of public, usgov, china"
