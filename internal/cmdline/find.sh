# Sets the arguments to the processes of a command: the one that the server has started, and
# those below it. $1 is the first. If it is empty, the first is the only other child of the
# server's process for this connection. Servers with one process for all connections are left
# alone: their child could be anybody's.
# shellcheck disable=SC2154 # server and name are set by server.sh, which stands for @server@
# shellcheck disable=SC2086 # the lists are meant to be split
top=$1
me=$$
@server@

# Not every ps has these options, but then there mostly is a /proc.
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

# Pairs of a process and its parent.
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

# What is below it, until nothing more is found.
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
