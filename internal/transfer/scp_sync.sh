# Writes the file system of a path to disk, or all of them where sync cannot do one.
# shellcheck disable=SC2015 # if sync -f fails, sync is right, too
[ "$(uname -s)" = Linux ] && sync -f "$1" || sync
