: compare-files
# Compares files with those of another machine. $1 is the destination of a copy, $2 "into" if it must be a
# directory, $3 what to print. Each line of standard input is a path whose first component names a source:
# the destination replaces it, unless that is a directory. Prints "into" or "as", and then for each path:
#   -           nothing is there        u           it cannot be looked at
#   d           a directory             o           something else
#   l TARGET    a symbolic link         f SHA-256   a regular file
# If $3 is "owners", d and f end with what ls says: permissions, user, group, their numbers. If $3 is a
# number, it prints the first bytes of the first path instead, as many as that.
dest=$1 into=$2 what=$3
# shellcheck disable=SC2086 # the words of $h are meant to be split
hash() { $h <"$1"; }
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
owners() {
	[ "$what" = owners ] || return 0
	# shellcheck disable=SC2046 # the words are meant to be split
	set -- $(ls -ld -- "$1") "$1"
	mode=$1 user=$3 group=$4
	shift $(($# - 1))
	# shellcheck disable=SC2046
	set -- $(ls -ldn -- "$1")
	printf ' %s' "$mode" "$user" "$group" "$3" "$4"
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
look() {
	if [ -h "$1" ]; then
		t=$(readlink -- "$1") || { echo u; return; }
		printf 'l %s\n' "$t" | head -n 1
	elif [ -d "$1" ]; then
		printf d
		owners "$1"
		echo
	elif [ -f "$1" ]; then
		s=
		[ ! -r "$1" ] || s=$(hash "$1")
		[ "$s" ] || { echo u; return; }
		s=${s#\\}
		printf 'f %s' "${s%% *}"
		owners "$1"
		echo
	elif [ -e "$1" ]; then echo o
	else missing "$1"; fi
}
case $what in
[0-9]*) ;;
*) if [ "$into" ]; then echo into; else echo as; fi ;;
esac
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
done
