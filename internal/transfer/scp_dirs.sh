# Sets the permissions and times of directories, and prints "ok" or "failed" for each. The arguments
# come in threes: path, mode, time.
while [ $# -gt 2 ]; do
	if TZ=UTC0 touch -t "$3" -- "$1" && chmod -- "$2" "$1"; then echo ok; else echo failed; fi 2>/dev/null
	shift 3
done
