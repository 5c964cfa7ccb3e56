# Takes a script of so many bytes from standard input and runs it. Not a byte more is taken,
# since the rest of the input belongs to the script. dd with a count of one reads once, and may
# get less than it asks for; head -c of busybox reads more than it writes.
#
# The file has a name for a moment, and is empty then. Signals are ignored meanwhile.
# shellcheck disable=SC2086 # $p holds no blanks
n=@size@
f=
s=
e() {
	echo "fleetssh: the script cannot be run here: $1" >&2
	exit 126
}
for t in mktemp rm dd wc; do
	command -v $t >/dev/null 2>&1 || e "there is no $t"
done
trap "" HUP INT TERM PIPE
for d in "${TMPDIR:-/tmp}" /tmp /var/tmp /dev/shm; do
	f=$(umask 077; mktemp "$d/fleetssh.XXXXXXXXXX" 2>/dev/null) && break
done
[ -n "$f" ] || e "no temporary file can be made in ${TMPDIR:-/tmp}, /tmp, /var/tmp or /dev/shm"

# One descriptor for the script to be read from, one to write, one to count. There are three
# because opening /dev/fd/3 makes a new one on Linux, and elsewhere the same one with its place
# in the file.
# shellcheck disable=SC2094 # it is filled by way of one and read by way of the others
exec 3<"$f" 4>"$f" 5<"$f"
rm -f "$f"
trap - HUP INT TERM PIPE
for p in /dev/fd /proc/self/fd ""; do
	(wc -c <$p/5) >/dev/null 2>&1 && break
done
[ -n "$p" ] || e "there is neither /dev/fd nor /proc"

# The number of bytes is that of the file: dd does not say it.
while h=$(($(wc -c <$p/5)))
	l=$((n-h))
	[ $l -gt 0 ]; do
	[ "$h" = "$s" ] && e "only $h of $n bytes have come, or there is no room for more"
	s=$h
	[ $l -le 65536 ] || l=65536
	dd bs=$l count=1 2>/dev/null >&4
done
exec 4>&- 5<&-

# "3<&3" is for shells that keep descriptors to themselves.
@before@
exec @interpreter@ $p/3 "$@" 3<&3
