# Starts the shell of a console: the user's login shell if that is bash or zsh, otherwise sh. The shell
# reads no start-up files of the user: they could set a prompt, and the prompt reports that a line has
# ended.
# shellcheck disable=SC2015 # exec does not return
[ "$SHELL" = /bin/bash ] || [ "$SHELL" = /usr/bin/bash ] || [ "$SHELL" = /usr/local/bin/bash ] &&
exec "$SHELL" --norc --noprofile --noediting -i
[ "$SHELL" = /bin/zsh ] || [ "$SHELL" = /usr/bin/zsh ] || [ "$SHELL" = /usr/local/bin/zsh ] &&
exec "$SHELL" -f -i
ENV=
export ENV
exec sh -i
