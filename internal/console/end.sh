# Ends a line, and reports on both streams that it has ended. @status@ is an expression for the exit
# code of the line.
#
# Tracing (set -x, set -v) is off between two lines, so that no trace shows our own programs.
# fleetssh_t turns it on again when the next line begins, without changing $?. fleetssh_t also empties
# fleetssh_u; if fleetssh_u is still 1 here, the line had a syntax error and fleetssh_t did not run.
# Options are compared before and after "set", since not every shell can test for one.
# shellcheck disable=SC2154 # they are set by setup.sh
# shellcheck disable=SC2034 # for the prompt, and for line.sh
# shellcheck disable=SC1007 # two empty variables on one line
{
	fleetssh_s=@status@
	fleetssh_o=$-
	set +x
	fleetssh_p=$-
	set +v
} 2>/dev/null
[ "$fleetssh_u" = 1 ] || fleetssh_x=
[ "$fleetssh_p" = "$-" ] || fleetssh_x="set -v; "
[ "$fleetssh_o" = "$fleetssh_p" ] || fleetssh_x="${fleetssh_x}set -x; "
fleetssh_t= fleetssh_u=
[ "$fleetssh_x" = "" ] || fleetssh_u=1 fleetssh_t="{ fleetssh_u=; ${fleetssh_x}(exit $fleetssh_s); } 2>/dev/null; "
printf '%s%s=@number@:%s>' "$fleetssh_a" "$fleetssh_b" "$fleetssh_s" >&8
printf '%s%s=@number@:%s>' "$fleetssh_a" "$fleetssh_b" "$fleetssh_s" >&9
fleetssh_m=@number@
