# Reads a script of @size@ bytes from standard input and runs it. It reads exactly that many bytes,
# since the rest of the input belongs to the script. dd with a count of one reads once and may get
# less than it asks for; head -c is no alternative, since that of busybox reads ahead.
#
# The temporary file is deleted while it is still empty. Signals are ignored until then.
# shellcheck disable=SC2086 # $p contains no blanks
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

# Three descriptors: 3 to read the script from, 4 to write it, 5 to count its bytes. They are
# separate because opening /dev/fd/3 opens the file anew on Linux only; on other systems it
# duplicates the descriptor, including its offset.
# shellcheck disable=SC2094 # the file is written through one descriptor and read through the others
exec 3<"$f" 4>"$f" 5<"$f"
rm -f "$f"
trap - HUP INT TERM PIPE
for p in /dev/fd /proc/self/fd ""; do
	(wc -c <$p/5) >/dev/null 2>&1 && break
done
[ -n "$p" ] || e "there is neither /dev/fd nor /proc"

# The size of the file is the number of bytes read so far, which dd does not report.
while h=$(($(wc -c <$p/5)))
	l=$((n-h))
	[ $l -gt 0 ]; do
	[ "$h" = "$s" ] && e "only $h of $n bytes have arrived, or there is no space left"
	s=$h
	[ $l -le 65536 ] || l=65536
	dd bs=$l count=1 2>/dev/null >&4
done
exec 4>&- 5<&-

# "3<&3" is needed in shells that close their own descriptors on exec.
@before@
exec @interpreter@ $p/3 "$@" 3<&3
