#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Objects that are missing, truncated, swapped, or have a bit flipped: one sentence, exit
# code 1, and never wrong bytes; verify finds each, and the other VM stays whole.
# timeout: 200
# long: every object is damaged in every way; unit/corrupt does it to each byte
. "$SRC/tests/lib.sh"

make_image a.img 2M 1
make_image b.img 3M 2
cp a.img first.img
vaultctl init -q vault
vaultctl backup -q vault vm -d os=a.img -t 2026-01-01T00:00:00Z
printf x | dd of=a.img bs=1 seek=100000 conv=notrunc status=none
vaultctl backup -q vault vm -d os=a.img -t 2026-01-02T00:00:00Z
vaultctl backup -q vault other -d os=b.img
vault_out vault
chmod -R u+w vault
cp -a vault whole

mapfile -t objects < <(cd whole && find V/vm h -type f)
mapfile -t segments < <(cd whole && find V/vm -path '*/s/*' -type f)
mapfile -t indexes < <(cd whole && find V/vm -path '*/m/*' -type f)
mapfile -t points < <(cd whole && find V/vm/p -type f)
mapfile -t commits < <(cd whole && find V/vm/c -type f | sort)
((${#segments[@]} == 2 && ${#indexes[@]} && ${#points[@]} == 2 && ${#commits[@]} == 2)) ||
	fail "unexpected objects: ${objects[*]}"

# What was remembered of the vault is left out: it would tell a rollback only.
fresh() {
	rm -rf vault home/state/vaultfs
	cp -a whole vault
}

# look WHAT: restores are right or refused, and verify tells.
look() {
	local what=$1 point code=0
	vault_in vault
	for point in 2026-01-01 2026-01-02; do
		rm -f out.img .out.img.*
		if vaultctl restore -q vault vm $point --to out.img 2>err; then
			if [[ $point == 2026-01-01 ]]; then
				assert_same out.img first.img
			else
				assert_same out.img a.img
			fi
		else
			assert_eq "$(grep -c . err)" 1 "$what: sentences"
			# Tampering says who it is instead.
			grep -q "; run 'vaultctl verify'\|; put it back\|: it is commit " err ||
				fail "$what: what to do? $(cat err)"
			[[ ! -e out.img ]] || fail "$what: a file that looks complete"
		fi
	done
	vaultctl verify vault >out 2>err || code=$?
	assert_eq $code 1 "$what: verify"
	assert_lacks "$(cat out)" "run 'vaultctl verify'" "$what"
	grep -q . out err || fail "$what: nothing told"
	# The other VM is not touched by it.
	[[ $what == h/* ]] ||
		vaultctl verify -q vault other || fail "$what: the other VM"
}

for f in "${objects[@]}"; do
	size=$(stat -c %s "whole/$f")
	# A session is not needed by a reader.
	[[ $f == */w/* ]] && continue
	# Without its newest commit, or config, a vault is what it was before: only who
	# has seen them can tell (keys.sh).
	if [[ $f != "${commits[0]}" && $f != h/* ]]; then
		fresh
		rm "vault/$f"
		look "$f is gone"
	fi
	fresh
	truncate -s $((size / 2)) "vault/$f"
	look "$f is cut in two"
	fresh
	at=$((size * 2 / 3))
	byte=$(od -An -tu1 -j "$at" -N 1 "vault/$f")
	printf '%b' "\\x$(printf %02x $((byte ^ 4)))" |
		dd of="vault/$f" bs=1 seek="$at" conv=notrunc status=none
	look "$f has a bit flipped"
done

# Swapped with another of its kind.
swap() {
	fresh
	cp -a "whole/$1" "vault/$2"
	cp -a "whole/$2" "vault/$1"
	[[ $2 == V/vm/* ]] || cp -a "whole/$2" "vault/$2"
	look "$1 and $2 are swapped"
}
swap "${points[0]}" "${points[1]}"
swap "${commits[0]}" "${commits[1]}"
swap "${segments[0]}" "${segments[1]}"
swap "${indexes[0]}" "${segments[0]}"
swap "${segments[0]}" "$(cd whole && find V/other -path '*/s/*' -type f | head -n 1)"

# Each level finds what it says, in one line each.
big=$(cd whole && find "${segments[@]}" -printf '%s %p\n' | sort -n | sed -n '$s/[^ ]* //p')
fresh
rm "vault/$big"
vault_in vault
for level in objects checksums data; do
	run_fails 1 vaultctl verify vault --level $level
	assert_contains "$OUT" "$big is missing" $level
	assert_lacks "$OUT" "run 'vaultctl verify'" $level
	assert_eq "$(wc -l <<<"$OUT")" 1 "$OUT"
	assert_contains "$ERR" "1 thing is bad, in 2 of 3 points"
done
run_fails 1 vaultctl verify vault --json
python3 -m json.tool <<<"$OUT" >/dev/null
assert_contains "$OUT" '"ok": false'
fresh
printf XX | dd of="vault/$big" bs=1 seek=70000 conv=notrunc status=none
vault_in vault
run_ok vaultctl verify vault --level objects
run_ok vaultctl verify vault --level checksums
run_fails 1 vaultctl verify vault --level data
assert_contains "$OUT" "digest"
