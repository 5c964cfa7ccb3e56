# Sets server to the ID of the SSH server's process for this connection, and name to its name.
# shellcheck disable=SC2034 # the program that includes this one uses name
server=$PPID
name=$(ps -o comm= -p "$server" 2>/dev/null || cat "/proc/$server/comm")
