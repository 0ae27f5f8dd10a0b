#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A wrong command line: exit code 2, and one sentence that names the option or
# operand and says where the help is.
. "$SRC/tests/lib.sh"

# wrong TEXT ARG...
wrong() {
	local text=$1
	shift
	run_fails 2 vaultctl "$@"
	assert_contains "$ERR" "$text"
	assert_contains "$ERR" "(try 'vaultctl help"
	assert_eq "$OUT" ""
}

wrong "COMMAND is missing"
wrong "'frobnicate' is no command" frobnicate
wrong "'frobnicate' is no command" help frobnicate
wrong "VAULT is missing (try 'vaultctl help list')" list
wrong "VM is missing" backup vault
wrong "POINT is missing" prune vault vm
wrong "VAULT is empty" list ''
wrong "'extra' is one operand too many" list vault vm extra
wrong "--bogus" list --bogus vault
wrong "-X" list -X vault
wrong "--name wants NAME" init vault --name
wrong "-" init vault -n
wrong "--json takes no value" list vault --json=yes
wrong "--disk is missing" backup vault vm
wrong "--disk wants NAME=IMAGE, not 'os'" backup vault vm --disk os
wrong "--disk wants NAME=IMAGE, not '=x'" backup vault vm --disk =x
wrong "--disk wants NAME=IMAGE, not 'os='" backup vault vm --disk os=
wrong "--time" backup vault vm -d os=x --time yesterday
wrong "--consistency is crash, filesystem or application, not 'good'" \
	backup vault vm -d os=x --consistency good
wrong "--image-format" backup vault vm -d os=x --image-format qcow2
wrong "--changed wants --base" backup vault vm -d os=x --changed os=-
wrong "--check goes with --changed" backup vault vm -d os=x --check 10%
wrong "--check" backup vault vm -d os=x --check 101% -b latest -C os=x
wrong "--check" backup vault vm -d os=x --check -5 -b latest -C os=x
wrong "--label wants KEY=VALUE" backup vault vm -d os=x --label x
wrong "--label names 'a' twice" backup vault vm -d os=x -l a=1 -l a=2
wrong "--to is missing" restore vault vm latest
wrong "--format is raw or vhd, not 'qcow2'" restore vault vm latest --to x -f qcow2
wrong "--level is objects, checksums or data, not 'all'" verify vault -l all
wrong "is missing" key
wrong "'frob' is not list" key frob
wrong "KEY is missing" key add vault
wrong "KEY is 64 hex digits" key add vault abc
wrong "OWNER_KEY is 64 hex digits" key pin vault abc
wrong "--json and --to -" restore vault vm latest --to - --json

head -c 65536 /dev/zero >x
wrong "--disk names 'os' twice" backup vault vm -d os=x -d os=x
wrong "--changed names 'b', and no --disk does" \
	backup vault vm -d os=x -b latest --changed b=x
wrong "--changed wants NAME=EXTENTS, not 'os='" \
	backup vault vm -d os=x -b latest --changed os=

# Help goes to standard output, wherever it is asked for.
for c in init backup list show restore verify prune; do
	run_ok vaultctl help $c
	assert_contains "$OUT" "usage: vaultctl $c "
	help=$OUT
	# The way to it is the same for all of them.
	if [[ $c == backup || ${CHECK_ALL-} ]]; then
		run_ok vaultctl $c -h
		assert_eq "$OUT" "$help"
		run_ok vaultctl $c some operands --help
		assert_eq "$OUT" "$help"
	fi
	((${#OUT} > 300)) || fail "short help: $OUT"
	while IFS= read -r line; do
		((${#line} < 80)) || fail "wide help: $line"
	done <<<"$OUT"
done
for c in list show add retire pin; do
	run_ok vaultctl help key $c
	assert_contains "$OUT" "usage: vaultctl key $c "
done
run_ok vaultctl help
run_ok vaultctl --help
run_ok vaultctl key --help
run_ok vaultctl --version
[[ $OUT == "vaultctl "[0-9]* ]] || fail "version: $OUT"

# What cannot be written is not taken for written.
run_fails 1 sh -c 'vaultctl help >/dev/full'
assert_contains "$ERR" "standard output"
