# Gives uploaded files their names and makes symbolic links; prints "ok" or a reason for each. $1 is
# "preserve" or empty. The other arguments come in threes: temporary path, path, content of the link.
# A new file gets the owner of the file that it replaces, if the account may do that, and its
# permissions too, unless they are preserved from the source.
umask 022
preserve=$1
shift
while [ $# -gt 2 ]; do
	if [ -f "$2" ] && [ ! -h "$2" ] && [ -z "$3" ]; then
		old=$(stat -c "%a %u:%g" -- "$2" || stat -f "%Lp %u:%g" -- "$2")
		new=$(stat -c "%a %u:%g" -- "$1" || stat -f "%Lp %u:%g" -- "$1")
		mode=${new% *}
		[ "$preserve" ] || mode=${old% *}
		if [ "$old" ] && [ "$new" ] && [ "$old" != "$new" ]; then
			[ "${old#* }" = "${new#* }" ] || chown -- "${old#* }" "$1"
			chmod -- "$mode" "$1"
		fi
	fi 2>/dev/null
	if [ -e "$2" ] && [ ! -f "$2" ] && [ ! -h "$2" ]; then echo "there is something else: not a regular file"
	elif { [ -z "$3" ] || ln -s -- "$3" "$1"; } && mv -f -- "$1" "$2"; then echo ok
	else echo "the host cannot give it its name"; fi 2>/dev/null
	shift 3
done
