# Finds the processes of a command: the process that the server has started, and its descendants.
# Then runs @kill@ with their IDs. $1 is the ID of the first process. If it is empty, the first is
# the only other child of the server's process for this connection. A server that has one process
# for all connections is left alone, since its children may belong to other users.
# shellcheck disable=SC2154 # server.sh, which replaces @server@, sets server and name
# shellcheck disable=SC2086 # the lists are meant to be split
top=$1
me=$$
@server@

# Where ps does not have these options, there usually is a /proc.
list() {
	ps -A -o pid= -o ppid= 2>/dev/null ||
	for f in /proc/[0-9]*/stat; do
		l=
		{ read -r l <"$f"; } 2>/dev/null
		set -- ${l##*) }
		p=${f#/proc/}
		echo "${p%/stat} $2"
	done
}

# Pairs of process ID and parent's process ID.
all=$(list)
if [ -z "$top" ]; then
	case $name in
		*sshd*|*dropbear*) ;;
		*) exit 2
	esac
	pid=
	for n in $all; do
		if [ -z "$pid" ]; then
			pid=$n
			continue
		fi
		if [ "$n" = "$server" ]; then
			case $pid in
				"$me") ;;
				*) top="$top $pid"
			esac
		fi
		pid=
	done
fi
set -- $top
case $# in
	1) ;;
	*) exit 2
esac

# Add children until no more are found.
tree=" $1 "
more=1
while [ -n "$more" ]; do
	more=
	pid=
	for n in $all; do
		if [ -z "$pid" ]; then
			pid=$n
			continue
		fi
		case $tree in
			*" $n "*)
				case $tree in
					*" $pid "*) ;;
					*) tree="$tree$pid "
						more=1
				esac
		esac
		pid=
	done
done
set -- $tree
@kill@ "$@"
