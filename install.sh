# Puts files in place that were uploaded to the directory $1. $2 is the destination, $3 "into" if it must
# be a directory, $4 the owner and group for chown, $5 the mode of files, $6 "backup" or empty, $7
# "preserve" or empty. A file is complete, and has its owner and mode, before it gets its name. Prints a
# letter for each file: i (installed), s (the same file was there), f (failed).
umask 022
stage=$1 dest=$2 into=$3 owner=$4 mode=$5 backup=$6 preserve=$7 bad=0
stamp=$(date -u +%Y%m%dT%H%M%SZ)
fail() {
	echo f
	echo "$1" >&2
	bad=1
}
# Owner and permissions come from ls, since stat(1) is not the same everywhere.
own() {
	# shellcheck disable=SC2046 # the words are meant to be split
	set -- $(ls -ldn -- "$1")
	echo "$3:$4"
}
rights() {
	# shellcheck disable=SC2012,SC2020 # the name is not used; letters are replaced
	set -- "$(ls -ldn -- "$1" | cut -c2-10 | tr sStT x-x-)"
	echo "u=$(echo "$1" | cut -c1-3 | tr -d -),g=$(echo "$1" | cut -c4-6 | tr -d -),o=$(echo "$1" | cut -c7-9 | tr -d -)"
}
# write SOURCE TARGET TEMPORARY: makes the temporary file what the target is to be.
write() {
	if [ -h "$1" ]; then
		rm -f -- "$3" && cp -P -- "$1" "$3"
		return
	fi
	from=$1 keep=
	if [ -f "$2" ] && [ ! -h "$2" ]; then
		keep=$(own "$2")
		[ "$preserve" ] || from=$2
	fi
	cp ${preserve:+-p} -- "$1" "$3" || return
	if [ "$owner" ]; then chown -- "$owner" "$3" || return
	elif [ "$keep" ]; then chown -- "$keep" "$3" 2>/dev/null
	else chown -- "$(id -u):$(id -g)" "$3" || return; fi
	chmod -- "${mode:-$(rights "$from")}" "$3" || return
	sync "$3" 2>/dev/null
	return 0
}
# The same content needs no new file.
same() {
	if [ -h "$1" ]; then [ -h "$2" ] && [ "$(readlink "$1")" = "$(readlink "$2")" ]
	else [ -f "$2" ] && [ ! -h "$2" ] && cmp -s -- "$1" "$2"; fi
}
adjust() {
	[ ! -h "$1" ] || return 0
	[ -z "$owner" ] || chown -- "$owner" "$1" || return
	[ -z "$mode" ] || chmod -- "$mode" "$1"
}
keepold() {
	[ "$backup" ] && [ -f "$1" ] && [ ! -h "$1" ] || return 0
	old=$1.$stamp~
	[ ! -e "$old" ] || old=$1.$stamp.$$~
	ln -- "$1" "$old" 2>/dev/null || cp -p -- "$1" "$old"
}
file() {
	if [ -d "$2" ] || { [ -e "$2" ] && [ ! -f "$2" ]; }; then fail "$2: there is something else: not a regular file"
	elif same "$1" "$2"; then
		if adjust "$2"; then echo s
		else fail "$2: owner or mode cannot be set"; fi
	else
		tmp=$(mktemp -- "${2%/*}/.${2##*/}.fleetssh-XXXXXXXX")
		if [ "$tmp" ] && write "$1" "$2" "$tmp" && keepold "$2" && mv -f -- "$tmp" "$2"; then echo i
		else
			[ -z "$tmp" ] || rm -f -- "$tmp"
			fail "$2: not installed"
		fi
	fi
}
place() {
	if [ -h "$1" ] || [ ! -d "$1" ]; then
		file "$1" "$2"
		return
	fi
	if [ ! -d "$2" ]; then
		# shellcheck disable=SC2015 # a failure of any step is reported
		mkdir -- "$2" && { [ -z "$owner" ] || chown -- "$owner" "$2"; } && { [ -z "$preserve" ] || chmod -- "$(rights "$1")" "$2"; } || {
			fail "$2: no directory"
			return
		}
	fi
	for e in "$1"/* "$1"/.[!.]* "$1"/..?*; do
		if [ -e "$e" ] || [ -h "$e" ]; then place "$e" "$2/${e##*/}"; fi
	done
}
case $dest in
/*) ;;
*) dest=$PWD/$dest ;;
esac
[ -z "$into" ] || mkdir -p -- "$dest" || exit
parent=${dest%/*}
mkdir -p -- "${parent:-/}" || exit
cd -- "$stage" || exit
[ ! -d "$dest" ] || into=into
for top in ./* ./.[!.]* ./..?*; do
	if [ -e "$top" ] || [ -h "$top" ]; then place "$top" "${dest%/}${into:+/${top##*/}}"; fi
done
exit $bad
