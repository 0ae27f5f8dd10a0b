#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lint.sh [WORD...]: the checks below, or those whose name contains a WORD.
# Called by `make lint`, which gives CC and LINT_FLAGS (-D and -I).
set -euo pipefail
cd "$(dirname "$0")/.."
: "${CC:=cc}" "${LINT_FLAGS:=-D_GNU_SOURCE -I.}"
read -ra flags <<<"${LINT_FLAGS//\'/}"

# Also files not yet committed, but not what .gitignore names.
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
	mapfile -t files < <(git ls-files -co --exclude-standard |
		while read -r f; do [[ -f $f ]] && echo "$f"; done)
else
	mapfile -t files < <(find . -type f -not -path './build/*' \
		-not -path './.git/*' -printf '%P\n' | sort)
fi

# of PATTERN: the files whose path matches it (a regular expression).
of() {
	printf '%s\n' "${files[@]}" | grep -E -- "$1" || :
}

# The files that a shell or an interpreter reads, whatever their names.
scripts() {
	local f
	for f in "${files[@]}"; do
		case $f in
		*.sh) echo "$f" ;;
		tests/data/* | tests/fuzz/corpus/*) ;;
		*) if LC_ALL=C head -c 60 -- "$f" | tr -d '\0' | grep -qE "^#!.*\\b$1\\b"; then
			echo "$f"
		fi ;;
		esac
	done
}

mapfile -t c_files < <(of '\.[ch]$')
# What is checked for layers and libraries: not the tests.
mapfile -t product < <(of '^(backend|crypt|fs|tools)/.*\.[ch]$')

# include FILE...: prints FILE:LINE:NAME of each #include, NAME with its < or ".
includes() {
	(($#)) || return 0
	grep -nHE '^[[:space:]]*#[[:space:]]*include' -- "$@" |
		sed -nE 's/^([^:]*:[0-9]+:)[^<"]*([<"][^>"]*)[>"].*/\1\2/p'
}

# code FILE...: FILE:LINE:TEXT with comments and string contents left out.
code() {
	(($#)) || return 0
	awk '
	FNR == 1 { incomment = 0 }
	{
		out = ""; n = length($0); instr = ""
		for (i = 1; i <= n; i++) {
			c = substr($0, i, 1); d = substr($0, i, 2)
			if (incomment) {
				if (d == "*/") { incomment = 0; i++ }
			} else if (instr != "") {
				if (c == "\\") i++
				else if (c == instr) { instr = ""; out = out c }
			} else if (d == "/*") { incomment = 1; i++ }
			else if (d == "//") break
			else {
				if (c == "\"" || c == "\047") instr = c
				out = out c
			}
		}
		print FILENAME ":" FNR ":" out
	}' "$@"
}

# Each check prints what is wrong, and nothing when all is well.

check_spdx() {
	local f line
	for f in "${c_files[@]}"; do
		read -r line <"$f" || :
		[[ $line == '// SPDX-License-Identifier: GPL-3.0-or-later' ]] ||
			echo "$f:1: no SPDX line"
	done
	{
		echo Makefile
		of '\.py$'
		scripts '(bash|sh|python3)'
	} | sort -u | while read -r f; do
		# The first line, or the one after #!.
		head -n 2 -- "$f" | grep -v '^#!' | head -n 1 |
			grep -qx '# SPDX-License-Identifier: GPL-3.0-or-later' ||
			echo "$f:1: no SPDX line"
	done
}

# backend <- crypt <- fs <- tools: a folder includes itself and those to its
# left. Nothing includes tests/, and backend/base/ nothing else of ours.
check_direction() {
	includes "${product[@]}" | awk -F: '
	BEGIN { rank["backend"] = 1; rank["crypt"] = 2
		rank["fs"] = 3; rank["tools"] = 4 }
	$3 ~ /^"/ {
		to = substr($3, 2); split(to, t, "/"); split($1, f, "/")
		where = $1 ":" $2 ": "
		if (!(t[1] in rank))
			print where "\"" to "\" is not a path from the top of ours"
		else if (rank[t[1]] > rank[f[1]])
			print where f[1] "/ includes " to
		else if ($1 ~ /^backend\/base\// && to !~ /^backend\/base\//)
			print where "backend/base/ includes " to
	}'
}

# Each library that is not libc is known to few files.
check_confined() {
	includes "${product[@]}" | awk -F: '
	function only(header, where) {
		if (substr($3, 2) ~ header && $1 !~ where)
			print $1 ":" $2 ": " substr($3, 2) " is not for this file"
	}
	$3 ~ /^</ {
		only("^curl/", "^backend/store/curl\\.h$")
		only("^json(-c/|\\.h|_)", "^backend/base/json\\.c$")
		only("^(zstd|zdict)", "^backend/vault/codec\\.c$")
		only("^fuse", "^fs/(fuse_impl\\.h|main\\.c)$")
		only("^libcryptsetup", "^crypt/")
		only("^libdevmapper", "^crypt/dm\\.c$")
		only("^openssl/", "^(backend/(base/(arena|hash|jwt|secret|sign)|store/curl)\\.c$|crypt/)")
		only("^blkid/", "^backend/guest/")
		only("^(ext2fs|et)/", "^backend/guest/")
	}'
}

check_banned() {
	# The bare strtol family is for the one module that checks it all (and
	# for what is loaded into other programs, which has no library).
	code "${c_files[@]}" | awk '
	{
		file = $0; sub(/:.*/, "", file)
		line = $0; sub(/^[^:]*:/, "", line)
		text = line; sub(/^[0-9]*:/, "", text); sub(/:.*/, "", line)
		# A member or another name that only ends so is not the call.
		while (match(text, /[A-Za-z_0-9]+[ \t]*\(/)) {
			name = substr(text, RSTART, RLENGTH)
			before = RSTART > 1 ? substr(text, RSTART - 1, 1) : ""
			text = substr(text, RSTART + RLENGTH)
			sub(/[ \t]*\($/, "", name)
			if (before == "." || before == ">")
				continue
			if (name ~ /^(sprintf|vsprintf|strcpy|stpcpy|strcat|strncpy|strncat|strtok|atoi|atol|atoll|atof|gets|gmtime|localtime|mktime|ctime|asctime|system|alloca)$/ ||
			    (name ~ /^strto(l|ul|ll|ull|imax|umax|f|d|ld)$/ && file !~ /^(backend\/base\/parse\.c$|tests\/preload\/)/))
				print file ":" line ": " name "() is not used here"
		}
	}'
}

# Each header stands alone.
check_headers() {
	local h
	for h in "${product[@]}"; do
		[[ $h == *.h ]] || continue
		"$CC" -std=gnu17 -fsyntax-only -Wall "${flags[@]}" -x c - \
			<<<"#include \"$h\"" 2>&1 || :
	done
}

check_shell() {
	# SC1090, SC1091: the library is found by a variable. SC2154, SC2034:
	# OUT, ERR and CODE are set there and read elsewhere. SC2317: what
	# is called by a name made up, or at exit. SC2012: the names that a
	# test lists are its own. SC2015: A && B || :.
	{
		scripts '(bash|sh)'
		of '^tools/completion/'
	} | xargs -r -P "$(nproc)" -n 10 shellcheck -f gcc -s bash \
		-e SC1090,SC1091,SC2154,SC2034,SC2317,SC2012,SC2015 -- || :
}

check_man() {
	local list
	mapfile -t list < <(of '^(backend|crypt|fs|tools)/.*\.[1-8]$')
	((${#list[@]})) || return 0
	# Their own cross-references are not installed where they are checked.
	mandoc -T lint -W warning "${list[@]}" | grep -v 'Xr vault' || :
}

check_format() {
	clang-format --dry-run -- "${c_files[@]}" 2>&1 | awk -F: '
	/: warning: / { if (!n[$1]++) line[$1] = $2 }
	!/: warning: / && !/^[ \t]/ && /: error: / { print }
	END { for (f in line)
		print f ":" line[f] ": not as clang-format has it (make format)"
	}'
}

# What it gets wrong is left to others: leaks (it does not know the cleanup
# attribute) to LeakSanitizer, use before initialisation (nor that a function
# fills what it is given the address of) to the compiler.
check_cppcheck() {
	local dir=build/cppcheck list
	mkdir -p "$dir"
	mapfile -t list < <(of '^(backend|crypt|fs|tools)/.*\.c$')
	cppcheck -q -j "$(nproc)" --cppcheck-build-dir="$dir" \
		--enable=warning,performance,portability --inline-suppr \
		--std=c11 --suppress=missingInclude --suppress=memleak --suppress=resourceLeak \
		--suppress=uninitvar --suppress=uninitStructMember \
		--suppress=unmatchedSuppression \
		--suppress=normalCheckLevelMaxBranches \
		--template='{file}:{line}: {message} [{id}]' \
		-I. -D_GNU_SOURCE -D'VAULTFS_VERSION=""' \
		"${list[@]}" 2>&1 || :
}

# Names of one machine's directories; a line that must have one says so by
# ending with "lint: path".
check_paths() {
	printf '%s\0' "${files[@]}" |
		xargs -0 grep -nIE '/(work|root|home)/' -- |
		grep -vE '^tests/fuzz/corpus/|^LICENSE:|lint: path$' || :
}

status=0
for check in spdx direction confined banned headers shell man format paths cppcheck; do
	if (($#)); then
		wanted=''
		for word; do
			[[ $check == *"$word"* ]] && wanted=1
		done
		[[ $wanted ]] || continue
	fi
	start=$SECONDS
	code=0
	said=$("check_$check" 2>&1) || code=$?
	if [[ $said ]] || ((code)); then
		status=1
		printf 'FAIL  %s (%d s)\n%s\n' "$check" $((SECONDS - start)) "$said"
	else
		printf 'ok    %s (%d s)\n' "$check" $((SECONDS - start))
	fi
done
exit $status
