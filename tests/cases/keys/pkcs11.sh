#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A KEK in an HSM: SoftHSM through OpenSSL's engine. RSA-OAEP, RSA-OAEP-256; a PIN
# that is wrong, given once; a key or token that is not there; how a PIN is given.
# long: a token is made for it
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
require softhsm2-util
use_softhsm

says() {
	local code=$1 words=$2
	shift 2
	run_fails "$code" "$@"
	assert_contains "$ERR" "$words" "$*"
}

umask 077
openssl genrsa -out kek.pem 3072 2>/dev/null
openssl pkey -in kek.pem -pubout -out kek.pub
openssl pkcs8 -topk8 -nocrypt -in kek.pem -out k8.pem
softhsm2-util --init-token --free --label t1 --pin 123456 --so-pin 567890 >/dev/null
softhsm2-util --import k8.pem --token t1 --label kek --id a1b2 --pin 123456 >/dev/null
printf '123456\n' >pin
printf 654321 >bad
printf %s 'correct horse battery staple' >bek
for alg in RSA-OAEP RSA-OAEP-256; do
	vaultkey escrow --to kek.pub -a $alg -n LinuxPassPhraseFileName <bek >$alg.json
done

uri='pkcs11:token=t1;object=kek;type=private'
for alg in RSA-OAEP RSA-OAEP-256; do
	run_ok vaultkey unwrap $alg.json --kek "$uri,pass-file=pin" --out out
	assert_eq "$ERR" ""
	assert_same out bek
	rm out
done
run_ok vaultkey unwrap RSA-OAEP.json --kek "$uri,pass-fd=7" --out out 7<pin
rm out
# The module in the URI, the PIN in a file of keys.
echo "$uri?pin-value=12345%36&module-path=$PKCS11_MODULE_PATH" >keys
PKCS11_MODULE_PATH=/nothing run_ok vaultkey unwrap RSA-OAEP.json --keys keys --out out
rm out

# Each in a process of its own; the first attempt is the only one.
says 1 "the token refuses the PIN; it is not tried again" \
	vaultkey unwrap RSA-OAEP.json --kek "$uri,pass-file=bad"
! grep -q 654321 <<<"$ERR$OUT" || fail "the PIN was shown"
says 1 "the token or its key is not to be had" \
	vaultkey unwrap RSA-OAEP.json --kek "${uri/kek/none},pass-file=pin"
says 1 "not to be had without a PIN" \
	vaultkey unwrap RSA-OAEP.json --kek "$uri" </dev/null
says 1 "not to be had" \
	vaultkey unwrap RSA-OAEP.json --kek "${uri/t1/t2},pass-file=pin"
PKCS11_MODULE_PATH=/nothing run_fails -l any 1 \
	vaultkey unwrap RSA-OAEP.json --kek "$uri,pass-file=pin"
assert_contains "$ERR" "whether the module is right"

# A record for another KEK: the HSM says no, and the next is tried.
openssl genrsa -out other.pem 3072 2>/dev/null
openssl pkey -in other.pem -pubout -out other.pub
vaultkey escrow --to other.pub -n LinuxPassPhraseFileName <bek >other.json
says 1 "is not among the keys" vaultkey unwrap other.json --kek "$uri,pass-file=pin"
run_ok vaultkey unwrap other.json --kek "$uri,pass-file=pin" -k other.pem --out out
assert_same out bek
