#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# vaultkey unwrap and escrow on files: the exact bytes, where they may go, and the
# sentence of each refusal. The wrapped BEK is made as Key Vault does, by openssl.
. "$SRC/tests/lib.sh"

# says CODE WORDS CMD...
says() {
	local code=$1 words=$2
	shift 2
	run_fails "$code" "$@"
	assert_contains "$ERR" "$words" "$*"
}

umask 077
cp "$SRC/tests/data/rsa-3072-1.pem" kek.pem
cp "$SRC/tests/data/rsa-3072-2.pem" other.pem
cp "$SRC/tests/data/rsa-2048.pem" old.pem
umask 022
for k in kek other old; do
	openssl pkey -in $k.pem -pubout -out $k.pub
done

# As the extension makes a BEK: 172 characters of base64.
head -c 127 /dev/urandom | base64 -w0 >bek
b64url() { base64 -w0 | tr '+/' '-_' | tr -d =; }
wrapped=$(openssl pkeyutl -encrypt -pubin -inkey kek.pub -in bek \
	-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha1 | b64url)
url=https://v.vault.azure.net/keys/kek/0123
cat >secret.json <<END
{ "contentType": "Wrapped BEK", "id": "https://v.vault.azure.net/secrets/a/1",
  "tags": { "DiskEncryptionKeyEncryptionAlgorithm": "RSA-OAEP",
            "DiskEncryptionKeyEncryptionKeyURL": "$url",
            "DiskEncryptionKeyFileName": "LinuxPassPhraseFileName" },
  "value": "$wrapped" }
END

vaultkey unwrap secret.json --kek kek.pem | cmp - bek
vaultkey unwrap - -k kek.pem <secret.json | cmp - bek
vaultkey unwrap secret.json --kek kek.pem --out out
cmp out bek
assert_eq "$(stat -c %a out)" 600
cp out before
says 1 "out is there already" vaultkey unwrap secret.json -k kek.pem -o out
cmp out before
rm out
assert_eq "$(vaultkey unwrap secret.json -k kek.pem -o out --json | jq -c \
	'[.bytes, .out, .secretUrl]')" \
	'[172,"out","https://v.vault.azure.net/secrets/a/1"]'

# A terminal, unless told.
if command -v script >/dev/null; then
	script -qec "vaultkey unwrap secret.json -k kek.pem" /dev/null >said || :
	grep -q "standard output is a terminal" said || fail "$(cat said)"
	! grep -qF "$(head -c 20 bek)" said || fail "the BEK was shown"
	script -qec "vaultkey unwrap secret.json -k kek.pem --out -" /dev/null >said
	grep -qF "$(cat bek)" said
fi

# No KEK, the wrong one, one that is short for it.
says 1 "the BEK of secret.json is wrapped by KEK $url: give it with --kek" \
	vaultkey unwrap secret.json
says 1 "it is not among the keys" vaultkey unwrap secret.json -k old.pem
says 1 "KEK other.pem does not unwrap the BEK of secret.json" \
	vaultkey unwrap secret.json -k other.pem
# A padding that does not come out is told like another KEK.
sed 's/"value": "..../"value": "AAAA/' secret.json >bent.json
says 1 "KEK kek.pem does not unwrap the BEK of bent.json" \
	vaultkey unwrap bent.json -k kek.pem
# A plaintext that is no BEK: the same words.
sed 's/LinuxPassPhraseFileName/0A1B.BEK/' secret.json >tag.json
says 1 "KEK kek.pem does not unwrap the BEK of tag.json" \
	vaultkey unwrap tag.json -k kek.pem
sed 's/"RSA-OAEP"/"RSA-OAEP-256"/' secret.json >alg.json
says 1 "KEK kek.pem does not unwrap the BEK of alg.json" \
	vaultkey unwrap alg.json -k kek.pem
head -c 500 secret.json >short.json
says 1 "JSON" vaultkey unwrap short.json -k kek.pem

# A secret that is not wrapped.
echo "{ \"contentType\": \"BEK\", \"value\": \"$(base64 -w0 <bek)\" }" >plain.json
says 1 "chmod 600" vaultkey unwrap plain.json
chmod 600 plain.json
vaultkey unwrap plain.json | cmp - bek
sed -i 's/"BEK"/null/' plain.json
says 1 "add --wrapped KEKURL or --plain" vaultkey unwrap plain.json
vaultkey unwrap plain.json --plain | cmp - bek
says 1 "is said to be wrapped" \
	vaultkey unwrap plain.json --wrapped "$url"
says 2 "exclude each other" \
	vaultkey unwrap plain.json --plain --wrapped "$url"

# A record of our own, for two KEKs.
vaultkey escrow --to kek.pub --to other.pub --label "the safe" \
	--file-name LinuxPassPhraseFileName <bek >own.json
assert_eq "$(jq -c '[.wraps[].alg, .wraps[].label]' own.json)" \
	'["RSA-OAEP-256","RSA-OAEP-256","the safe","the safe"]'
for k in kek other; do
	vaultkey unwrap own.json --kek $k.pem | cmp - bek
done
says 1 "wrapped by KEK 'the safe'" vaultkey unwrap own.json -k old.pem
says 1 "use one of 3072 bits or more" \
	vaultkey escrow --to old.pub --file-name LinuxPassPhraseFileName <bek
says 1 "no key for '0A1B.BEK'" \
	vaultkey escrow --to kek.pub --file-name 0A1B.BEK <bek
echo secret >newline
says 1 "ends in a newline" vaultkey escrow --to kek.pub \
	--file-name LinuxPassPhraseFileName <newline
says 2 "--to is missing" vaultkey escrow --file-name X.BEK <bek
says 2 "--file-name is missing" vaultkey escrow --to kek.pub <bek
says 2 "only for reading" vaultkey escrow --to kek.pub -a rsa1_5 \
	--file-name LinuxPassPhraseFileName <bek
says 2 "wrapping algorithm 'x'" vaultkey escrow --to kek.pub -a x \
	--file-name LinuxPassPhraseFileName <bek

# Neither a passphrase nor a PIN is taken from the arguments.
says 1 "can be read by all users" \
	vaultkey unwrap secret.json --kek 'pkcs11:object=k?pin-value=1234'
