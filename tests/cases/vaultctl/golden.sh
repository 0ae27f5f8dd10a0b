#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The golden vault, which another writer made from the specification alone: each level of
# verify finds it whole, and what is restored has the digests that belong to it.
# timeout: 120
. "$SRC/tests/lib.sh"
require xz tar

tar xJf "$SRC/tests/data/golden-1.tar.xz"
vault_in golden-1
for level in objects checksums data; do
	run_ok vaultctl verify -v golden-1 --level $level
	assert_contains "$OUT" "verified: 2 VMs, 292 points, "
done
run_ok vaultctl list -1 golden-1 tiny
assert_eq "$(wc -l <<<"$OUT")" 286
assert_eq "$(LC_ALL=C sort -u <<<"$OUT")" "$OUT"
run_ok vaultctl key list golden-1
assert_contains "$OUT" "retired     host-a"

# The disks of all points of the larger VM; of the largest one, which is mostly hole, one,
# and by default none: unit/golden reads it.
python3 - "$SRC/tests/data/golden-1.json" >wanted <<'PY'
import json, os, sys
large = 0 if os.environ.get('CHECK_ALL') else 1
for name, vm in json.load(open(sys.argv[1]))['vms'].items():
    for point in vm['points'] if name != 'tiny' else []:
        for disk, d in point['disks'].items():
            is_large = d['size'] > 1 << 26
            large += is_large
            if not is_large or large == 1:
                print(d['sha256'], point['id'], disk, name, sep='\t')
PY
n=0
while IFS=$'\t' read -r sum id disk vm; do
	assert_eq "$(vaultctl restore -q golden-1 "$vm" "$id" --disk "$disk" --to - |
		sha256sum)" "$sum  -" "$id $disk"
	n=$((n + 1))
done <wanted
((n > 5)) || fail "only $n disks"
