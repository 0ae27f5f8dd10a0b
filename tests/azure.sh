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
