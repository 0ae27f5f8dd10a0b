#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Each system call of a restore on its target failing in turn, and each but one that is killed
# before it: one sentence, nothing that looks complete and is not, and --resume gets there.
# Each read of the vault failing: right bytes or none.
# timeout: 400
# long: programs are started for each call struck; unit/store_dir and unit/writer_faults strike more
. "$SRC/tests/lib.sh"
preload=$BUILD/tests/preload/failsys.so
[[ -e $preload ]] || skip "needs tests/preload/failsys"
export ASAN_OPTIONS=${ASAN_OPTIONS-}:verify_asan_link_order=0
# Each run takes its time, a second under sanitizers: a sample, but for CHECK_FULL=1.
step=5
[[ ! ${CHECK_FULL-} || $SAN ]] || step=1

make_image a.img 2200K 1
make_image b.img 65536 2
vaultctl init -q vault
vaultctl backup -q vault vm -d a=a.img -d b=b.img

# struck N DIR NAME=VALUE... -- CMD...: the N-th call fails; CODE, ERR, STRUCK.
struck() {
	local n=$1 dir=$2
	local -a set=()
	shift 2
	while [[ $1 != -- ]]; do
		set+=("$1")
		shift
	done
	shift
	: >count
	CODE=0
	env LD_PRELOAD="$preload" FAILSYS_DIR="$dir" FAILSYS_AT="$n" \
		FAILSYS_COUNT_FILE="$TMPDIR/count" "${set[@]}" "$@" \
		>/dev/null 2>err || CODE=$?
	ERR=$(<err)
	STRUCK=1
	read -r _ STRUCK <count || STRUCK=1
}

one_sentence() {
	[[ $ERR && $ERR != *$'\n'* ]] || fail "$1: not one sentence: '$ERR'"
}

whole() {
	[[ ! -e out/$1.img ]] || assert_same "out/$1.img" "$1.img"
}

mkdir out
# walk WHAT NAME=VALUE...
walk() {
	local what=$1 n left
	shift
	for ((n = 1; ; n += step)); do
		rm -f out/* out/.*vaultfs-*
		struck $n "$TMPDIR/out" "$@" -- \
			vaultctl restore -q vault vm latest --to out
		whole a
		whole b
		if ((STRUCK == 0)); then
			assert_eq "$CODE" 0 "$what $n"
			break
		fi
		if [[ $what == kill ]]; then
			assert_eq "$CODE" 137 "$what $n"
		elif ((CODE)); then
			assert_eq "$CODE" 1 "$what $n: $ERR"
			one_sentence "$what $n"
		fi
		# What has its name already is not replaced by itself.
		vaultctl restore -q vault vm latest --to out --resume 2>err ||
			vaultctl restore -q vault vm latest --to out --resume --force ||
			fail "$what $n: not resumed: $(cat err)"
		assert_same out/a.img a.img
		assert_same out/b.img b.img
		left=(out/.*vaultfs-*)
		[[ ! -e ${left[0]} ]] || fail "$what $n: left over: ${left[*]}"
	done
	((n > 6)) || fail "$what: only $n calls were struck"
}
walk EIO FAILSYS_ERRNO=EIO
walk ENOSPC FAILSYS_ERRNO=ENOSPC FAILSYS_ONLY=write,fsync,rename
walk kill FAILSYS_KILL=1
# Old file systems.
struck 100000 "$TMPDIR" FAILSYS_WITHOUT=renameat2 -- \
	vaultctl restore vault vm latest --to old/ -d a
assert_eq "$CODE" 0 "$ERR"
assert_same old/a.img a.img
echo mine >old/b.img
struck 100000 "$TMPDIR" FAILSYS_WITHOUT=renameat2 -- \
	vaultctl restore vault vm latest --to old/ -d b
assert_eq "$CODE" 1
assert_eq "$(cat old/b.img)" mine

# The vault cannot be read.
for ((n = 1; ; n += step)); do
	rm -rf out
	struck $n "$TMPDIR/vault" FAILSYS_ERRNO=EIO -- \
		vaultctl restore -q vault vm latest --to out/
	whole a
	whole b
	((STRUCK)) || break
	((CODE == 0)) || one_sentence "read $n"
	((CODE == 0)) || [[ ! -e out/a.img || ! -e out/b.img ]] ||
		fail "read $n: failed, and all is there: $ERR"
	struck $n "$TMPDIR/vault" FAILSYS_ERRNO=EIO FAILSYS_TIMES=0 -- \
		vaultctl verify -q vault
	((CODE == 1)) || ((STRUCK == 0)) || fail "verify $n: exit code $CODE"
done
((n > 10)) || fail "only $n reads were struck"
