# Keeps the first @size@ bytes of standard input in a temporary file, prints a sentinel and the name
# of the file, and removes the file when the input ends.
umask 077
f=$(mktemp) || exit
trap 'rm -f "$f"; exit 1' HUP INT TERM
if head -c @size@ >"$f"; then
	printf '@sentinel@%s\n' "$f"
	cat >/dev/null
fi
rm -f "$f"
