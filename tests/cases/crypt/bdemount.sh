#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# libbde reads what the tests' BitLocker writer makes as it is meant (the unit tests compare it
# with dislocker and with ours).
# long: another reader of the same volumes
. "$SRC/tests/lib.sh"

require bdemount fusermount3 python3
require_fuse
make=$BUILD/tests/tools/mkbitlocker
recovery=363770-230505-096371-652674-567006-579150-291038-408111

# As much of NTFS as libbde looks at: the size.
python3 - <<'EOF'
import random, struct
size = 4 << 20
data = bytearray(random.Random(1).randbytes(size))
data[:512] = bytes(512)
data[:11] = b"\xeb\x52\x90NTFS    "
data[11:13] = struct.pack("<H", 512)
data[13] = 8
data[40:48] = struct.pack("<Q", size // 512 - 1)
data[510:512] = b"\x55\xaa"
open("clear", "wb").write(data)
EOF

mkdir mnt
at_exit fusermount3 -uzq mnt
for method in 8001 8002 8004; do
	with=(-k key.BEK)
	open=(-s key.BEK)
	# What is stretched takes its time: once will do.
	if [[ $method == 8004 ]]; then
		with=(-r "$recovery")
		open=("${with[@]}")
	fi
	cp clear volume
	"$make" -m "$method" "${with[@]}" volume
	cp clear want
	"$make" -m "$method" "${with[@]}" -z want
	bdemount "${open[@]}" volume mnt >log 2>&1 || fail "$(cat log)"
	size=$(stat -c %s mnt/bde1)
	((size >= (4 << 20) - 512)) || fail "$method: $size bytes"
	cmp -n "$size" mnt/bde1 want || fail "$method differs"
	fusermount3 -u mnt
	rm -f volume want key.BEK
done
