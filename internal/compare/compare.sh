: compare-files
# Compares files with those of another machine. $1 is the destination of a copy, $2 "into" if it must be a
# directory, $3 what to print. Each line of standard input is a path whose first component names a source:
# the destination replaces it, unless that is a directory. Prints "into" or "as", and then for each path:
#   -           nothing is there        u           it cannot be looked at
#   d           a directory             o           something else
#   l TARGET    a symbolic link         f           a regular file
# After each hundred of these lines, and at the end, come the SHA-256 of the files among them, a line each.
# If $3 is "owners", lines about the files and directories follow: permissions, user, group, their numbers.
# If $3 is a number, it prints the first bytes of the first path instead, as many as that.
dest=$1 into=$2 what=$3
if command -v sha256sum; then h=sha256sum
elif command -v shasum; then h="shasum -a 256"
elif command -v sha256; then h="sha256 -q"
elif command -v openssl; then h="openssl dgst -sha256 -r"
else h=; fi >/dev/null 2>&1
[ "$h" ] || { echo "there is no sha256sum, shasum, sha256 or openssl" >&2; exit 127; }
case $dest in
/*) ;;
*) dest=./$dest ;;
esac
[ ! -d "$dest" ] || into=into
# sums FILE...: one command for all of them, or one for each if that fails.
# shellcheck disable=SC2086 # the words of $h are meant to be split
sums() {
	out=$($h "$@" 2>/dev/null) && printf '%s\n' "$out" && return
	for f in "$@"; do
		$h <"$f" || echo u
	done
}
# owners FILE...: stat(1) is not the same everywhere, and may be missing.
owners() {
	out=$(stat -c '%A %U %G %u %g' "$@" 2>/dev/null) && printf '%s\n' "$out" && return
	out=$(stat -f '%Sp %Su %Sg %u %g' "$@" 2>/dev/null) && printf '%s\n' "$out" && return
	# shellcheck disable=SC2012 # the names are not read
	for f in "$@"; do
		ls -ld "$f" | {
			read -r mode _ user group _ || exit
			ls -ldn "$f" | { read -r _ _ u g _ && echo "$mode $user $group $u $g"; }
		} || echo u
	done
}
missing() {
	d=$1
	while [ "$d" ] && [ ! -e "$d" ]; do
		case $d in
		*/*) d=${d%/*} ;;
		*) d=. ;;
		esac
	done
	if [ -x "${d:-/}" ]; then echo -; else echo u; fi
}
# look PATH: prints its line, and sets k to its letter.
look() {
	k=
	if [ -h "$1" ]; then
		if t=$(readlink "$1"); then printf 'l %s\n' "$t" | head -n 1; else echo u; fi
	elif [ -d "$1" ]; then
		k=d
		echo d
	elif [ -f "$1" ] && [ -r "$1" ]; then
		k=f
		echo f
	elif [ -f "$1" ]; then echo u
	elif [ -e "$1" ]; then echo o
	else missing "$1"; fi
}
# finish: ends a hundred. The names are the arguments, each after its letter.
finish() {
	n=$#
	while [ "$n" -gt 0 ]; do
		k=$1 f=$2
		shift 2
		n=$((n - 2))
		if [ "$k" = f ]; then set -- "$@" "$f"; fi
	done
	[ $# = 0 ] || sums "$@"
}
every() {
	n=$#
	while [ "$n" -gt 0 ]; do
		f=$2
		shift 2
		n=$((n - 2))
		set -- "$@" "$f"
	done
	[ $# = 0 ] || owners "$@"
}
end() {
	finish "$@"
	[ "$what" != owners ] || every "$@"
}
case $what in
[0-9]*) ;;
*) if [ "$into" ]; then echo into; else echo as; fi ;;
esac
set --
count=0
while IFS= read -r p; do
	if [ "$into" ]; then f=${dest%/}/$p
	else
		case $p in
		*/*) f=${dest%/}/${p#*/} ;;
		*) f=$dest ;;
		esac
	fi
	case $what in
	[0-9]*)
		head -c "$what" <"$f"
		exit
		;;
	esac
	look "$f"
	[ -z "$k" ] || set -- "$@" "$k" "$f"
	count=$((count + 1))
	if [ "$count" = 100 ]; then
		end "$@"
		set --
		count=0
	fi
done
case $what in
[0-9]*) ;;
*) end "$@" ;;
esac
