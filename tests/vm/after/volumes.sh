#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the machine's kernel had encrypted is read here, without one, to the same bytes.
. "$SRC/tests/lib.sh"

count=0
for want in "$OUT"/*.sha256; do
	name=${want%.sha256}
	header=()
	[[ ! -e $name.header ]] || header=("$name.header")
	chmod 600 "$OUT/pass"
	got=$("$BUILD/tests/tools/decrypt" -p "$name" "$OUT/pass" "${header[@]}" | sha256sum)
	assert_eq "$got" "$(<"$want")" "${name##*/}"
	count=$((count + 1))
done
assert_eq "$count" 3
