# Starts the shell of a console: the login shell of the user if that is bash or zsh, and otherwise
# sh. No file of the user's is read: it may set a prompt, and the prompt is what says that a line
# has ended.
# shellcheck disable=SC2015 # exec does not come back
[ "$SHELL" = /bin/bash ] || [ "$SHELL" = /usr/bin/bash ] || [ "$SHELL" = /usr/local/bin/bash ] &&
exec "$SHELL" --norc --noprofile --noediting -i
[ "$SHELL" = /bin/zsh ] || [ "$SHELL" = /usr/bin/zsh ] || [ "$SHELL" = /usr/local/bin/zsh ] &&
exec "$SHELL" -f -i
ENV=
export ENV
exec sh -i
