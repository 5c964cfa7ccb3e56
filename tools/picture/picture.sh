#!/bin/bash
# Makes the pictures in docs, for dark and light pages, from real runs against simulated fleets:
# picture-*.svg of some commands, fullscreen-*.svg of --ui, and report-*.png of a report, in a browser.
# Run it by "make picture", from the top of the repository.
set -eu
top=$PWD
work=$(mktemp -d)
trap 'exec 3>&- 4>&-; wait; rm -rf "$work"' EXIT
go build -o "$work/bin/fleetssh" ./cmd/fleetssh
(cd tools/picture && go build -o "$work/bin/freeze" github.com/charmbracelet/freeze)
export PATH=$work/bin:$PATH XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config SSH_AUTH_SOCK=
mkfifo "$work/open"
fleetssh sim --names 'web[01-20],db[1-2]' --dir "$work/fleet" --until-eof <"$work/open" >"$work/ready" &
exec 3>"$work/open" # the fleet serves until this is closed
until grep -q Serving "$work/ready"; do sleep 0.1; done
cd "$work"
printf '12.11\n' >new
printf '11.9\n' >old
fleetssh put -q -F fleet/ssh_config -w 'web[01-20]' new /etc/debian_version
fleetssh put -q -F fleet/ssh_config -w web17 old /etc/debian_version
cat >show.sh <<'END'
show() {
	printf '\033[1m$ fleetssh %s\033[0m\n' "$1"
	eval "fleetssh ${1/ / -F fleet/ssh_config --color always --progress never }" 2>&1
	echo
}
show "run -w 'web[01-20]' --diff -- cat /etc/debian_version"
show "run -w 'web[01-20]' --batch 1,10%,100% -q '[ \$HOSTNAME != web03 ]'"
show "run -w '@last:failed!@last:skipped' -- uptime"
END
for theme in dark light; do
	colours=(--background '#ffffff' --theme github)
	[ $theme = light ] || colours=(--background '#171717' --theme charm)
	freeze --execute 'bash show.sh' --output "$top/docs/picture-$theme.svg" "${colours[@]}" \
		--font.family monospace --font.size 14 --line-height 1.3 --padding 20,24 --border.radius 8
	# freeze has no colour for plain text in these themes, and its cyan is pale on white.
	if [ $theme = light ]; then
		sed -i 's/#-00001/#1f2328/; s/#04D7D7/#0a7683/g; s/#31BB71/#1a7f37/g; s/#D74E6F/#cf222e/g' "$top/docs/picture-light.svg"
	else
		sed -i 's/#-00001/#e6e6e6/' "$top/docs/picture-dark.svg"
	fi
done

# The full-screen view in the middle of a run.
go build -C "$top" -o "$work/bin/screen" ./tools/screen
mkfifo "$work/open400"
fleetssh sim --names 'web[001-400]' --dir "$work/fleet400" --until-eof <"$work/open400" >"$work/ready400" &
exec 4>"$work/open400"
until grep -q Serving "$work/ready400"; do sleep 0.1; done
fleetssh put -q -F fleet400/ssh_config -w 'web[001-400]' new /etc/debian_version
fleetssh put -q -F fleet400/ssh_config -w 'web[117-118]' old /etc/debian_version
cat >upgrade.sh <<'END'
#!/bin/sh
echo "Reading package lists..."
cat /etc/debian_version
[ $HOSTNAME = web042 ] && stderr "E: could not get lock /var/lib/dpkg/lock" && exit 100
[ $HOSTNAME = web113 ] && stderr "E: no space left on device" && exit 1
sleep 1
END
screen -size 100x22 -to "$top/docs/fullscreen" 'batch 3 of 3' '\tjj' '260 of 400' '' -- \
	fleetssh run --ui -F fleet400/ssh_config -f 20 -w 'web[001-400]' --batch '5%,25%,100%' --max-fail 10 --script upgrade.sh
exec 4>&-

# The report page, as Chromium shows it. 0 is dark and 1 is light.
# shellcheck disable=SC2016 # the hosts expand the command
fleetssh run -F fleet/ssh_config -w 'web[01-20]' -q --batch 2,50% --max-fail 1 --gate 'echo ok' --report report.html -- \
	'cat /etc/debian_version; [ $HOSTNAME = web07 ] && echo "nginx: /etc/nginx/site.conf is missing" >&2 && exit 2; sleep 0.2' || [ $? = 5 ]
sandbox=()
[ "$(id -u)" != 0 ] || sandbox=(--no-sandbox) # Chromium's sandbox refuses root
for theme in dark light; do
	scheme=1
	[ $theme = light ] || scheme=0
	chromium-headless-shell "${sandbox[@]}" --disable-gpu --hide-scrollbars --user-data-dir="$work/browser" \
		--window-size=1000,1240 --blink-settings=preferredColorScheme=$scheme \
		--screenshot="$top/docs/report-$theme.png" "file://$work/report.html" 2>"$work/chromium.log" ||
		{ cat "$work/chromium.log" >&2; exit 1; }
done
