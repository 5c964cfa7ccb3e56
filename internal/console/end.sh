# Ends a line, and says on both streams that it has ended. The shell finds the exit code of the
# line in @status@.
#
# Between two lines the shell traces nothing (set -x, set -v): what it would show is ours.
# fleetssh_t is what turns the tracing on again, for the next line to begin with; it leaves $? as it
# is. It empties fleetssh_u, which a line with a syntax error does not. The options are compared,
# since not every shell can test for one.
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
