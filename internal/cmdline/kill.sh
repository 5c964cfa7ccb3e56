# Sends signals to processes. $0 is how long to wait for their end after each signal, in tenths of a
# second; 0 means not to wait. $1 is the signals in order, the rest is the process IDs. If the first
# process leads a process group, the group gets the signals. Exits with 0 if all processes have
# ended, or, without waiting, if a signal was sent.
# shellcheck disable=SC2086 # the line of /proc is meant to be split
signals=$1
shift
group=
if kill -0 -- "-$1" 2>/dev/null; then
	group=-$1
fi
alive() {
	if [ -d /proc/self ]; then
		l=
		{ read -r l <"/proc/$1/stat"; } 2>/dev/null
		l=${l##*) }
	else
		l=$(ps -o stat= -p "$1")
	fi
	case $l in
		""|Z*) return 1
	esac
}
left() {
	if [ -n "$group" ] && kill -0 -- "$group" 2>/dev/null; then
		return 0
	fi
	for p; do
		if alive "$p"; then
			return 0
		fi
	done
	return 1
}
for signal in $signals; do
	if [ -n "$group" ]; then
		kill -s "$signal" -- "$group"
	else
		kill -s "$signal" -- "$@"
	fi 2>/dev/null || [ "$0" -gt 0 ] || exit 1
	n=0
	while [ "$n" -lt "$0" ]; do
		left "$@" || exit 0
		sleep 0.1 2>/dev/null || {
			sleep 1
			n=$((n+9))
		}
		n=$((n+1))
	done
done
[ "$0" = 0 ]
