# Prepares the shell of a console. Each line works on its own: a shell that finds an error skips the
# rest of the line it has read.
# shellcheck disable=SC2034,SC2016 # variables of the shell, and of a prompt that it expands itself
# shellcheck disable=SC3040,SC3041,SC3044 # of bash, for bash
# shellcheck disable=SC1007 # several empty variables on one line
unset TMOUT MAIL MAILPATH MAILCHECK HISTFILE 2>/dev/null
[ -n "$BASH_VERSION" ] && set +o emacs +o vi +o history +H

# zsh must not take the percent sign of the sentinel for an escape in a prompt.
[ -n "$ZSH_VERSION" ] && setopt promptsubst interactivecomments && unsetopt promptpercent promptsp promptcr banghist monitor

# Each line gets 8 and 9 as its output streams, so that it may redirect 1 and 2 with exec.
exec 8>&1 9>&2

# The halves of the sentinel stand in two variables, so that a command that lists variables does not
# print the sentinel.
fleetssh_a=@left@ fleetssh_b=@right@ fleetssh_n=0 fleetssh_m=0 fleetssh_s=0 fleetssh_t= fleetssh_u= fleetssh_x=
PS2= PROMPT_COMMAND= PS1='$fleetssh_a$fleetssh_b<$fleetssh_n:$fleetssh_m:$?>'
readonly PS1 PS2 PROMPT_COMMAND
printf '%s%s=0:%s>' "$fleetssh_a" "$fleetssh_b" "$$" >&8; printf '%s%s=0:%s>' "$fleetssh_a" "$fleetssh_b" "$$" >&9
