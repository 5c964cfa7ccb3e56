# Runs a line: says that it begins, and runs it in the shell itself. Tracing that an earlier line
# has turned on begins inside of it.
# shellcheck disable=SC2154 # they are set by setup.sh and end.sh
# shellcheck disable=SC2034 # for the prompt
fleetssh_n=@number@
printf '%s%s(@number@>' "$fleetssh_a" "$fleetssh_b" >&9
@before@eval "$fleetssh_t"@text@ <@from@ >&8 2>&9 8>&- 9>&-
