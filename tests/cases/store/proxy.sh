#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Proxies by the usual variables: http_proxy, https_proxy (by a tunnel, so that it sees
# nothing), and no_proxy.
# long: a server, its proxy or its certificates are started for each part; unit/http has the same answers
. "$SRC/tests/lib.sh"
. "$SRC/tests/service.sh"
require python3 openssl

python3 "$SRC/tests/fakes/proxy.py" "$PWD/asked" >proxy.url &
at_exit kill $!
started() { [[ -s proxy.url ]]; }
wait_until 30 started
proxy=$(<proxy.url)
asked() { sort -u asked 2>/dev/null || :; }
make_image a.img 2M
vault=az://acct/vaults/v

start_fake
http_proxy=$proxy run_ok vaultctl init "$vault"
http_proxy=$proxy run_ok vaultctl backup "$vault" vm -d os=a.img
assert_contains "$(asked)" "PUT $FAKE_URL"
assert_contains "$(asked)" "GET $FAKE_URL"
rm asked
http_proxy=$proxy no_proxy=127.0.0.1 run_ok vaultctl verify "$vault"
https_proxy=$proxy run_ok vaultctl verify "$vault"
assert_eq "$(asked)" ""

certificate right IP:127.0.0.1
start_fake right.pem
export https_proxy=$proxy
run_ok vaultctl init --cacert right-ca.pem "$vault"
run_ok vaultctl backup --cacert right-ca.pem "$vault" vm -d os=a.img
run_ok vaultctl restore -q --cacert right-ca.pem "$vault" vm latest --to out.img
assert_same out.img a.img
assert_eq "$(asked)" "CONNECT ${FAKE_URL#https://}"
rm asked
no_proxy=127.0.0.1 run_ok vaultctl verify --cacert right-ca.pem "$vault"
assert_eq "$(asked)" ""

# One that is not there.
https_proxy=http://127.0.0.1:1 VAULTFS_RETRY=1s \
	run_fails 1 vaultctl list --cacert right-ca.pem "$vault"
assert_contains "$ERR" "no connection to 127.0.0.1:"
