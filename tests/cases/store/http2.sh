#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A service that speaks HTTP/2: it is agreed on, and all goes by it.
# long: a server, its proxy or its certificates are started for each part; unit/http has the same answers
. "$SRC/tests/lib.sh"
. "$SRC/tests/service.sh"
require python3 openssl nghttpx

certificate front IP:127.0.0.1
start_fake
port=$(python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# shellcheck disable=SC2016 # the variables are those of nghttpx
nghttpx --conf=/dev/null -f "127.0.0.1,$port" -b "127.0.0.1,${FAKE_URL##*:}" --workers=1 \
	--accesslog-file="$PWD/access" --accesslog-format='$alpn $method $status' \
	front.key front.crt >nghttpx.log 2>&1 &
at_exit kill $!
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }
wait_until 30 listens

export AZURE_STORAGE_SERVICE_ENDPOINT=https://127.0.0.1:$port
vault=az://acct/vaults/v
run_ok vaultctl init --cacert front-ca.pem "$vault"
make_image --holes a.img 12M
run_ok vaultctl backup --cacert front-ca.pem "$vault" vm -d os=a.img
run_ok vaultctl verify --cacert front-ca.pem "$vault"
run_ok vaultctl restore -q --cacert front-ca.pem "$vault" vm latest --to out.img
assert_same out.img a.img
# A stream that breaks in the middle is gone on with.
say fault truncate GET 1 1 /s/ >/dev/null
say fault reset GET 1 3 >/dev/null
say fault 503 GET 1 5 >/dev/null
rm out.img
run_ok vaultctl restore -q --cacert front-ca.pem "$vault" vm latest --to out.img
assert_same out.img a.img
assert_eq "$(say clear)" 0 "faults that were not met"

(($(grep -c '^h2 GET 20[06]$' access) > 5)) || fail "not by HTTP/2: $(sort access | uniq -c)"
(($(grep -c '^h2 PUT 201$' access) > 5)) || fail "not by HTTP/2: $(sort access | uniq -c)"
assert_eq "$(grep -c -v '^h2 \|^- ' access || :)" 0 "$(sort access | uniq -c)"
