# Prepares the destination of an upload: $1 is "into" if it must be a directory, $2 the
# destination, $3 its parent directory. Prints "dir" if the destination is a directory, or else
# "file" and, if it is a symbolic link to a file, the path of that file: scp follows such a link.
[ "$1" = into ] && { mkdir -p -- "$2" && echo dir; exit; }
[ -d "$2" ] && { echo dir; exit; }
mkdir -p -- "$3" || exit
echo file
[ -h "$2" ] && [ -f "$2" ] && readlink -f -- "$2"
exit 0
