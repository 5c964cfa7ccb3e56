# Sets server to the process of the SSH server for this connection, and name to its name.
# shellcheck disable=SC2034 # whoever holds this program uses name
server=$PPID
name=$(ps -o comm= -p "$server" 2>/dev/null || cat "/proc/$server/comm")
