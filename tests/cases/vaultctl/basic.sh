#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The whole way: a vault, two points of two disks, list, show, restore, verify,
# prune. What --json prints is JSON.
# timeout: 120
. "$SRC/tests/lib.sh"

# What it says is looked at in the end, all at once.
json_ok() {
	run_ok "$@" --json
	printf '%s\0' "$OUT" >>said
}

make_image --holes os.img 9M 1
make_image lun0.img 1234567 2
cp os.img os.1
cp lun0.img lun0.1

json_ok vaultctl init vault --name contoso
assert_contains "$OUT" '"vault": "contoso"'
run_fails 1 vaultctl init vault
assert_contains "$ERR" "already"

run_ok vaultctl backup vault web-01 --disk os=os.img --disk lun0=lun0.img \
	--time 2026-11-20T02:00:07Z --consistency application --label job=daily
assert_contains "$OUT" "web-01 2026-11-20T02-00-07Z: 2 disks, 10.18 MiB, "
assert_eq "$ERR" ""

# One frame differs.
printf x | dd of=os.img bs=1 seek=200000 conv=notrunc status=none
json_ok vaultctl backup vault web-01 -d os=os.img -d lun0=lun0.img \
	-t 2026-11-21T02:00:07Z
assert_contains "$OUT" '"newFrames": 1,'
json_ok vaultctl backup dir:vault db -d os=lun0.img
run_fails 1 vaultctl backup vault web-01 -d os=os.img -t 2026-11-20T02:00:07Z
assert_contains "$ERR" "already"

run_ok vaultctl list vault
assert_contains "$OUT" "db "
assert_contains "$OUT" "web-01       2  2026-11-21T02-00-07Z  CrashConsistent"
run_ok vaultctl list vault web-01 --long
assert_contains "$OUT" "2026-11-20T02-00-07Z  ApplicationConsistent"
run_ok vaultctl list -1 vault web-01
assert_eq "$OUT" "2026-11-20T02-00-07Z
2026-11-21T02-00-07Z"
json_ok vaultctl list vault
json_ok vaultctl list -l vault web-01

run_ok vaultctl show vault web-01 2026-11-20
assert_contains "$OUT" "job=daily"
assert_contains "$OUT" "lun0"
run_ok vaultctl show vault web-01
assert_contains "$OUT" "Points       2"
json_ok vaultctl show vault
json_ok vaultctl show vault web-01
json_ok vaultctl show vault web-01 latest
assert_contains "$OUT" '"rootHash"'

# By a time with colons, without, by a prefix, by an id.
run_ok vaultctl restore vault web-01 2026-11-20T02:00:07Z --to out/
assert_same out/os.img os.1
assert_same out/lun0.img lun0.1
id=$(vaultctl list --json vault web-01 | sed -n 's/.*"id": "\(.*\)".*/\1/p' | tail -n 1)
run_ok vaultctl restore vault web-01 "$id" --to now.img --disk os
assert_same now.img os.img
json_ok vaultctl restore vault web-01 latest --to lun0.2 --disk lun0
assert_same lun0.2 lun0.img
vaultctl restore vault web-01 2026-11-21 --to - -d os | cmp - os.img
assert_eq "$(find . -name '.*vaultfs-*')" "" "left over"

for level in objects checksums data; do
	run_ok vaultctl verify vault --level $level
	assert_contains "$OUT" "verified: 2 VMs, 3 points, "
done
run_ok vaultctl verify vault web-01
run_ok vaultctl verify vault web-01 2026-11-20
assert_contains "$OUT" "verified: 1 VM, 1 point, "
json_ok vaultctl verify vault
assert_contains "$OUT" '"ok": true'

run_ok vaultctl prune vault web-01 2026-11-20 --dry-run
assert_contains "$OUT" "would be dropped"
run_ok vaultctl list -1 vault web-01
assert_contains "$OUT" 2026-11-20
json_ok vaultctl prune vault web-01 2026-11-20
run_ok vaultctl list -1 vault web-01
assert_eq "$OUT" "2026-11-21T02-00-07Z"
run_ok vaultctl verify vault
run_ok vaultctl restore vault web-01 latest --to last.img -d os
assert_same last.img os.img
run_ok vaultctl prune -q vault web-01 latest
assert_eq "$OUT$ERR" ""
run_ok vaultctl list vault
assert_contains "$OUT" "web-01       0  -"
run_fails 1 vaultctl show vault web-01 latest

python3 - <<'END'
import json
texts = open("said").read().split("\0")
assert texts.pop() == "" and len(texts) == 11, len(texts)
for text in texts:
    try:
        json.loads(text)
    except ValueError as e:
        raise SystemExit("no JSON: %s: %s" % (e, text))
END
