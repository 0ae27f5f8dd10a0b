#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# --changed reads only what is listed, relative to --base.
. "$SRC/tests/lib.sh"

make_image a.img 8M 1
vaultctl init -q vault
vaultctl backup -q vault vm -d os=a.img -t 2026-01-01T00:00:00Z

make_image --at 1M a.img 100K 7
make_image --at 5M a.img 4K 8
printf '# offset length\n1M 100K\n5M 4096\n' >extents
run_ok vaultctl backup vault vm -d os=a.img -t 2026-01-02T00:00:00Z \
	--base 2026-01-01 --changed os=extents --json
read_bytes=$(sed -n 's/.*"readBytes": \([0-9]*\).*/\1/p' <<<"$OUT")
((read_bytes < 1 << 20)) || fail "$read_bytes bytes read"
vaultctl restore -q vault vm 2026-01-02 --to out.img
assert_same out.img a.img
run_ok vaultctl show vault vm 2026-01-02
assert_contains "$OUT" "extents as given by the caller"

# JSON on standard input, and a disk that has grown.
make_image --at 0 a.img 64K 9
make_image more 1M 10
cat more >>a.img
vaultctl backup -q vault vm -d os=a.img -t 2026-01-03T00:00:00Z -b latest -C os=- \
	<<<'[{"offset": 0, "length": 65536, "type": 1, "description": "dirty"},
	     {"offset": 65536, "length": 8323072, "type": 0, "description": "clean"}]'
vaultctl restore -q vault vm latest --to out2.img
assert_same out2.img a.img

# What was not listed is found by looking at it.
make_image --at 3M a.img 4K 11
echo '0 4096' >wrong
run_fails 1 vaultctl backup vault vm -d os=a.img -b latest -C os=wrong --check 100%
assert_contains "$ERR" "differs"
run_ok vaultctl list -1 vault vm
assert_eq "$(wc -l <<<"$OUT")" 3

# Lists that are none.
bad() {
	run_fails 1 vaultctl backup vault vm -d os=a.img -b latest -C os="$1"
	assert_contains "$ERR" "$2"
}
bad nowhere nowhere
bad /dev/null "write 'none'"
printf '0 4096\n12\n' >x
bad x "line 2"
printf '0 99M\n' >x
bad x "passes the end"
printf '[{"start": 0}]' >x
bad x "length"
printf '0 18446744073709551615 \n' >x
bad x ""
printf '0 -5\n' >x
bad x "line 1"
run_fails 1 vaultctl backup vault vm -d os=a.img -b 1999 -C os=wrong
assert_contains "$ERR" "1999"
run_fails 1 vaultctl backup vault new -d os=a.img -b latest -C os=wrong
run_fails 1 vaultctl backup vault vm -d os=a.img -d b=a.img -b latest -C b=wrong
assert_contains "$ERR" "has to be read as a whole"
run_ok vaultctl verify vault
