#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Names that no vault may hold: told in a sentence, and nothing is made.
# long: each name in each command
. "$SRC/tests/lib.sh"

long=$(printf 'n%.0s' {1..300})
fits=$(printf 'n%.0s' {1..200})
make_image x.img 100K
vaultctl init -q vault
vaultctl backup -q vault good -d os=x.img

bad=('a/b' '..' '.' $'a\nb' $'a\x01b' $'a\x7fb' "$long" "${fits}n" $'a\xff')
for name in "${bad[@]}"; do
	run_fails 1 vaultctl backup vault "$name" -d os=x.img
	assert_contains "$ERR" "VM name"
	run_fails 1 vaultctl backup vault vm -d "$name=x.img"
	assert_contains "$ERR" "disk name"
	run_fails 1 vaultctl init other --name "$name"
	assert_contains "$ERR" "vault name"
	for c in list show verify; do
		run_fails 1 vaultctl $c vault "$name"
		assert_contains "$ERR" "VM name"
	done
	run_fails 1 vaultctl restore vault "$name" latest --to out.img
	run_fails 1 vaultctl prune vault "$name" latest
	# What a name has in it does not reach the terminal.
	run_fails 1 vaultctl show vault good "$name"
	assert_lacks "$ERR" $'\x01'
done
# Those that a mount has itself.
for name in latest vault.json; do
	run_fails 1 vaultctl backup vault "$name" -d os=x.img
	assert_contains "$ERR" "VM name '$name': a mount uses it"
done
[[ ! -e out.img ]] || fail "a file was made"
run_ok vaultctl list -1 vault
assert_eq "$OUT" good

# Those that are only strange.
strange=('größe 1' 'a b' '%41' '-x' '.hidden' 'a~b' "$fits" $'tab\u00e9')
for name in "${strange[@]}"; do
	run_ok vaultctl backup vault -d "$name=x.img" -- "$name"
	run_ok vaultctl restore vault -o out/ -- "$name" latest
	assert_same "out/$name.img" x.img
done
run_ok vaultctl list -1 vault
assert_eq "$(wc -l <<<"$OUT")" 9
run_ok vaultctl verify vault

# One that is longer when it is written as a key is refused too.
run_fails 1 vaultctl backup vault "$(printf 'ö%.0s' {1..90})" -d os=x.img

# Points of one second are told apart, by show as by list.
for n in 1 2; do
	vaultctl backup -q vault good -d os=x.img -t "2026-01-01T00:00:00.${n}Z"
done
run_ok vaultctl list -1 vault good
mapfile -t twins < <(grep '~' <<<"$OUT")
assert_eq "${#twins[@]}" 2
for name in "${twins[@]}"; do
	run_ok vaultctl show vault good "$name"
	grep -qE "^Point +$name\$" <<<"$OUT" || fail "no $name in: $OUT"
	run_ok vaultctl show --json vault good "$name"
	assert_contains "$OUT" "\"name\": \"$name\""
done
