# Keeps so many bytes of standard input in a temporary file, says its name behind a mark, and
# removes it when the input ends.
umask 077
f=$(mktemp) || exit
trap 'rm -f "$f"; exit 1' HUP INT TERM
if head -c @size@ >"$f"; then
	printf '@mark@%s\n' "$f"
	cat >/dev/null
fi
rm -f "$f"
