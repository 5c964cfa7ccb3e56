# Reports that a line begins, and runs it in the shell itself. If an earlier line has turned tracing
# on, it is turned on again inside eval.
# shellcheck disable=SC2154 # they are set by setup.sh and end.sh
# shellcheck disable=SC2034 # for the prompt
fleetssh_n=@number@
printf '%s%s(@number@>' "$fleetssh_a" "$fleetssh_b" >&9
@before@eval "$fleetssh_t"@text@ <@from@ >&8 2>&9 8>&- 9>&-
