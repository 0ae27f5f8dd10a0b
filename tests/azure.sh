# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# Sourced after tests/lib.sh by the cases that talk with the double of Azure
# (tests/fakes/azure/double.py).

SUB=11111111-2222-3333-4444-555555555555
TENANT=99999999-2222-3333-4444-555555555555
VAULT=/subscriptions/$SUB/resourceGroups/Backup-RG/providers/Microsoft.RecoveryServices/vaults/contoso-rsv

# start_azure WORLD.json: starts the double; sets AZ_HTTPS and AZ_HTTP, and the
# variables by which our programs find it, with the credentials of app1. With
# AZURITE (an URL), the bytes of disks are there.
start_azure() {
	local pid
	AZ_DIR=$(mktemp -d "$TMPDIR/azure.XXXXXX")
	python3 "$SRC/tests/fakes/azure/double.py" --dir "$AZ_DIR" --world "$1" \
		${AZURITE:+--azurite "$AZURITE"} >"$AZ_DIR/log" 2>&1 &
	pid=$!
	at_exit stop_azure "$pid" "$AZ_DIR/log"
	wait_until 60 azure_is_up "$pid"
	AZ_HTTPS=$(jq -r .https "$AZ_DIR/ports.json")
	AZ_HTTP=$(jq -r .http "$AZ_DIR/ports.json")
	export VAULTFS_AZURE_ARM=https://127.0.0.1:$AZ_HTTPS
	export AZURE_AUTHORITY_HOST=https://127.0.0.1:$AZ_HTTPS
	export VAULTFS_CACERT=$AZ_DIR/cert.pem
	export AZURE_TENANT_ID=$TENANT AZURE_CLIENT_ID=app1
	export AZURE_CLIENT_SECRET='s3cret/+ &=x'
}

# start_keyvaults: starts it with the credentials alone, to be told the rest. kv1 and kv2
# are the addresses of two key vaults.
start_keyvaults() {
	echo "{\"subscription\": \"$SUB\", \"tenant\": \"$TENANT\", \"vaults\": [],
	 \"clients\": {\"app1\": {\"secret\": \"s3cret/+ &=x\"}}}" >world.json
	start_azure world.json
	kv1=https://kv1.vault.localhost:$AZ_HTTPS
	kv2=https://kv2.vault.localhost:$AZ_HTTPS
	need_localhost_names "$kv1"
}

# need_localhost_names KEY-VAULT
need_localhost_names() {
	curl -s -o /dev/null --cacert "$VAULTFS_CACERT" "$1/keys/kek" ||
		skip "needs names under localhost to be this host"
}

azure_is_up() {
	[[ -e $AZ_DIR/ports.json ]] && return 0
	kill -0 "$1" 2>/dev/null || fail "the double ended: $(cat "$AZ_DIR/log")"
	return 1
}

stop_azure() {
	kill "$1" 2>/dev/null
	wait "$1" 2>/dev/null
	# It has nothing to say, but when it is broken.
	[[ ! -s $2 ]] || cat -- "$2" >&2
}

# azure_post WHAT JSON: tells the double.
azure_post() {
	curl -sSf -o /dev/null -d "$2" "http://127.0.0.1:$AZ_HTTP/_double/$1"
}

azure_faults() {
	azure_post faults "$1"
}

azure_reset() {
	azure_post reset '{}'
}

# azure_count [REGEX]: how many requests there were since the last reset, of those
# whose line ("arm GET /subscriptions…") matches.
azure_count() {
	curl -sSf "http://127.0.0.1:$AZ_HTTP/_double/counts" |
		jq -r '.lines[]' | grep -cE -- "${1:-.}" || :
}

azure_lines() {
	curl -sSf "http://127.0.0.1:$AZ_HTTP/_double/counts" | jq -r '.lines[]'
}

# sparse_image FILE GIB SEED [OFFSET:MIB]...: data at these offsets (in MiB), holes
# elsewhere.
sparse_image() {
	local file=$1 seed=$3 at
	truncate -s "$2G" "$file"
	shift 3
	for at; do
		make_image "$file.part" "${at#*:}M" "$seed-$at"
		dd if="$file.part" of="$file" bs=1M seek="${at%:*}" conv=notrunc status=none
	done
	rm -f "$file.part"
}

# same_disk MOUNTED FILE: the same bytes, reading only what is data in either.
same_disk() {
	python3 - "$1" "$2" <<'END' || fail "$1 and $2 differ"
import os, sys
files = [os.open(p, os.O_RDONLY) for p in sys.argv[1:]]
size = os.fstat(files[0]).st_size
assert size == os.fstat(files[1]).st_size, "sizes differ"
for f in files:
    at = 0
    while at < size:
        try:
            at = os.lseek(f, at, os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(f, at, os.SEEK_HOLE)
        while at < end:
            n = min(end - at, 1 << 20)
            assert os.pread(files[0], n, at) == os.pread(files[1], n, at), at
            at += n
END
}

# encrypted_disk FILE [MKE2FS-OPTION...]: the disk of a VM, with one LUKS2 partition of what
# is in clear; sourced after tests/volumes.sh. Its BEK is bek, in base64 $plain, wrapped by
# kek.pem as Key Vault writes it $wrapped; $v1 is the version of whatever has one.
encrypted_disk() {
	local disk=$1
	shift
	mkdir root
	make_image root/file 300K 1
	make_fs clear 4M root "$@"
	key_file volume one
	passphrase bek one
	luks two 2 volume bek clear
	gpt_disk gpt clear two
	cp --sparse=always gpt "$disk"
	# A disk of Azure has whole gibibytes.
	truncate -s 1G "$disk"
	make_kek kek
	# shellcheck disable=SC2034 # all three are for the cases
	v1=0123456789abcdef0123456789abcdef
	# shellcheck disable=SC2034
	wrapped=$(openssl pkeyutl -encrypt -pubin -inkey kek.pub -in bek \
		-pkeyopt rsa_padding_mode:oaep | base64 -w0 | tr '+/' '-_' | tr -d =)
	# shellcheck disable=SC2034
	plain=$(base64 -w0 bek)
}
