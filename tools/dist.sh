# Builds the programs of PLATFORMS, packages of those for Linux, and SHA256SUMS, in DIST. "make dist"
# runs it and sets the variables.
set -eu
: "$SELF" "$GO" "$NFPM" "$BUILD" "$DIST" "$PLATFORMS" "$VERSION" "$COMMIT" "$MAINTAINER" "$SOURCE_DATE_EPOCH"

mkdir -p "$DIST"
DIST=$(cd "$DIST" && pwd)
rm -f "$DIST"/fleetssh[-_]* "$DIST/SHA256SUMS"

for platform in $PLATFORMS; do
	GOOS=${platform%/*} GOARCH=${platform#*/}
	program=$DIST/fleetssh-$VERSION-$GOOS-$GOARCH
	[ "$GOOS" != windows ] || program=$program.exe
	echo "${program##*/}"
	export GOOS GOARCH
	eval "$BUILD -o '$program' ./cmd/fleetssh"
	unset GOOS GOARCH
done

# What packages have besides the program is what "make install" installs. Debian looks for completion
# of zsh in a directory of its own.
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
host=$DIST/fleetssh-$VERSION-$($GO env GOHOSTOS)-$($GO env GOHOSTARCH)
[ -e "$host" ] || host=$stage/fleetssh
packages=
for platform in $PLATFORMS; do
	[ "${platform%/*}" != linux ] || packages="$packages ${platform#*/}"
done
if [ -n "$packages" ]; then
	"$SELF" --no-print-directory install OUT="$host" VERSION="$VERSION" COMMIT="$COMMIT" DESTDIR="$stage/root" PREFIX=/usr >/dev/null
	gzip -9n "$stage"/root/usr/share/man/man?/*
	chmod -R u=rwX,go=rX "$stage/root"
	# nfpm sets the times of files, but not those of the directories of a tree.
	find "$stage/root" -type d -exec env TZ=UTC0 touch -t 200001010000 {} +
fi
for ARCH in $packages; do
	PROGRAM=$DIST/fleetssh-$VERSION-linux-$ARCH STAGE=$stage/root
	export ARCH PROGRAM STAGE VERSION MAINTAINER SOURCE_DATE_EPOCH
	for packager in deb rpm apk; do
		$NFPM package --config tools/package/nfpm.yaml --packager "$packager" --target "$DIST/" >"$stage/log" 2>&1 || { cat "$stage/log" >&2; exit 1; }
	done
done

cd "$DIST"
if command -v sha256sum >/dev/null; then
	sha256sum fleetssh[-_]* >SHA256SUMS
else
	shasum -a 256 fleetssh[-_]* >SHA256SUMS
fi
cat SHA256SUMS
