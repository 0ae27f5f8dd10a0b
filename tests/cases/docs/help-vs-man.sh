#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The options that --help lists are those of the man page, with the same letters and values.
. "$SRC/tests/lib.sh"

# Lines "-n --name NAME" of a help.
of_help() {
	sed -E 's/\[=([A-Z]+)\]/ \1/' |
		sed -nE 's/^ +(-[A-Za-z0-9])?,? *(--[a-z][a-z0-9-]*)([= ]([^ ]+))?( .*)?$/\1 \2 \4/p' |
		tidy
}
# The same of the .It lines of mdoc text.
of_man() {
	sed -nE 's/^\.It Fl (.*)$/\1/p' |
		sed -E 's/^-/ --/; s/^([A-Za-z0-9]) , (Fl )?-/-\1 --/
			s/ (Ns Op = Ns )?Ar / /' |
		tidy
}
tidy() {
	sed -E 's/  +/ /g; s/^ //; s/ $//' | LC_ALL=C sort -u
}
# section FILE NAME: that subsection of the page.
section() {
	awk -v name="$2" '/^\.S[sh] / { on = substr($0, 5) == name } on' "$1"
}

# check_page PROGRAM COMMAND...: each command's help against its section.
check_page() {
	local program=$1 page=$SRC/tools/$1.1 shared c help man said
	shift
	shared=$(section "$page" "Options of every command" | of_man)
	assert_contains "$shared" "-J --json"
	for c; do
		grep -qx "\.Ss $c" "$page" || fail "no section $c"
		# shellcheck disable=SC2086
		help=$("$program" help $c | of_help)
		man=$({
			section "$page" "$c" | of_man
			echo "$shared"
		} | LC_ALL=C sort -u)
		[[ $help == "$man" ]] || fail "$program $c: help and page differ:" \
			"$(diff <(echo "$help") <(echo "$man"))"
	done
	# Every command of the help is in the page.
	for c in $("$program" help | sed -nE 's/^  ([a-z]+) .*/\1/p'); do
		grep -qE "^\.Ss $c( |\$)" "$page" || fail "no section for $c"
	done
	if command -v mandoc >/dev/null; then
		said=$(mandoc -T lint -W warning "$page") || fail "$said"
	fi
}

check_page vaultctl init backup list show restore verify prune \
	"key list" "key show" "key add" "key retire" "key pin"
# shellcheck disable=SC2046
check_page vaultkey $(vaultkey help | sed -nE 's/^  ([a-z]+) .*/\1/p')

# vaultfs: the long options of its help and its page.
page=$SRC/fs/vaultfs.8
if [[ -e $page ]] && command -v vaultfs >/dev/null; then
	help=$(vaultfs --help | grep -oE -- '(^|[ ,])--[a-z][a-z0-9-]*' |
		tr -d ' ,' | LC_ALL=C sort -u)
	man=$(sed -nE '/^\.It Fl/p' "$page" | grep -oE -- '(Fl|,) -[a-z][a-z0-9-]*' |
		sed -E 's/^[^-]*/-/' | LC_ALL=C sort -u)
	[[ $help == "$man" ]] || fail "vaultfs: help and page differ:" \
		"$(diff <(echo "$help") <(echo "$man"))"
fi
