#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# needs: VAULT_URL_BASE
# timeout: 120
#
# Who may create and read, and not delete, can back up, resume, verify and restore.
. "$SRC/tests/lib.sh"
require python3 curl

place=no-delete-${VAULT_CASE//[^a-z0-9]/}
make_image a.img 5M 1
make_image b.img 24M 2

# By the whole key; then less.
if [[ $VAULT_KIND == azure ]]; then
	url=${VAULT_URL_BASE%/*}/$place/vault
	vaultctl init -q "$url"
	# A service SAS of the container: read, create, list.
	AZURE_STORAGE_SAS_TOKEN=$(python3 - "$place" <<-'END'
		import base64, hashlib, hmac, os, sys, time, urllib.parse
		end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
		account, version = os.environ["AZURE_STORAGE_ACCOUNT"], "2020-12-06"
		text = ["rcl", "", end, "/blob/%s/%s" % (account, sys.argv[1]), "", "", "", version, "c"]
		sig = hmac.new(base64.b64decode(os.environ["AZURE_STORAGE_KEY"]),
		               "\n".join(text + [""] * 7).encode(), hashlib.sha256).digest()
		print(urllib.parse.urlencode({"sv": version, "sr": "c", "sp": "rcl", "se": end,
		                              "sig": base64.b64encode(sig).decode()}))
	END
	)
	export AZURE_STORAGE_SAS_TOKEN
	unset AZURE_STORAGE_KEY
else
	url=s3://$place/vault
	vaultctl init -q "$url"
	# A policy that holds for the owner too.
	cat >policy <<-END
		{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*",
		 "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
		 "Resource": ["arn:aws:s3:::$place/*"]}]}
	END
	run_ok curl -sSf --aws-sigv4 aws:amz:us-east-1:s3 \
		--user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
		-H "x-amz-content-sha256: $(sha256sum <policy | cut -d ' ' -f 1)" \
		-X PUT --data-binary @policy "$AWS_ENDPOINT_URL/$place?policy="
fi

run_ok vaultctl backup "$url" vm -d os=a.img -t 2026-01-01T00:00:00Z
run_ok vaultctl backup "$url" vm -d os=b.img -t 2026-01-02T00:00:00Z
# One that is killed, and one that goes on.
cat b.img a.img >c.img
vaultctl backup -vv "$url" vm -d os=c.img -t 2026-01-03T00:00:00Z >out 2>err &
pid=$!
at_exit sh -c "kill -9 $pid 2>/dev/null"
stored() { grep -q 'PUT object V/vm/d/os/.*: 20' err || ! kill -0 $pid 2>/dev/null; }
wait_until 60 stored
kill -9 $pid 2>/dev/null || :
wait $pid 2>/dev/null || :
vaultctl list -1 "$url" vm | grep -q ^2026-01-03 ||
	run_ok vaultctl backup "$url" vm -d os=c.img -t 2026-01-03T00:00:00Z
run_ok vaultctl verify "$url"
for n in 1:a 2:b 3:c; do
	run_ok vaultctl restore -q "$url" vm "2026-01-0${n%:*}" --to out.img --force
	assert_same out.img "${n#*:}.img"
done

# It is so that nothing can be deleted.
run_fails 1 "$BUILD/tests/tools/objects" clear "$url"
assert_contains "$ERR" "refuses it to us (403"
run_ok vaultctl verify "$url"
