# Needs GNU make and Go. What the tests need besides is installed by .ci/prepare if it is missing (Debian).
GO ?= go

.PHONY: build demo install uninstall dist reproduce rename test lint bench fuzz picture

# What the program says of itself. Git knows both; without Git, or to publish, give them: make dist VERSION=1.2.3
VERSION ?= $(shell v=$$(git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null) && echo "$${v\#v}" || echo 0.0.0-dev)
COMMIT ?= $(shell git describe --always --abbrev=12 --exclude '*' --dirty 2>/dev/null)

# The build for users: static, stripped, without paths of this machine. vet has the same flags, so that both share one cache.
OUT = fleetssh
BUILD_ENV = CGO_ENABLED=0 GOAMD64=v1 GOARM64=v8.0
BUILD = $(BUILD_ENV) $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)'
VET = $(BUILD_ENV) $(GO) vet -trimpath

# The name of make itself. With $(MAKE) in a recipe, "make -n" would run it.
SELF := $(MAKE)

# The program, in this directory. This is what "make" alone makes.
build:
	$(BUILD) -o $(OUT) ./cmd/fleetssh

# The main features on a small fleet inside the process.
demo:
	$(GO) run ./cmd/fleetssh demo

# The program, its manual pages and the completion of three shells: make install PREFIX=/usr DESTDIR=/tmp/root
# Under sudo, the program that "make" has built is installed as it is: root often has no Go, and Git tells root nothing about the tree of another user.
PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man
BASHDIR = $(PREFIX)/share/bash-completion/completions
ZSHDIR = $(PREFIX)/share/zsh/site-functions
FISHDIR = $(PREFIX)/share/fish/vendor_completions.d
install:
	@[ -n "$$SUDO_USER" ] && [ -x '$(OUT)' ] || $(BUILD) -o '$(OUT)' ./cmd/fleetssh
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	program=$(abspath $(OUT)); \
	"$$program" man --config none "$$tmp/man" >/dev/null; \
	for shell in bash zsh fish; do "$$program" completion --config none $$shell >"$$tmp/$$shell"; done; \
	put() { install -d "$(DESTDIR)$$3" && install -m "$$1" "$$2" "$(DESTDIR)$$3/$$4" && echo "$(DESTDIR)$$3/$$4"; }; \
	put 755 "$$program" "$(BINDIR)" fleetssh; \
	put 644 "$$tmp/bash" "$(BASHDIR)" fleetssh; \
	put 644 "$$tmp/zsh" "$(ZSHDIR)" _fleetssh; \
	put 644 "$$tmp/fish" "$(FISHDIR)" fleetssh.fish; \
	for page in "$$tmp"/man/*; do put 644 "$$page" "$(MANDIR)/man$${page##*.}" "$${page##*/}"; done

# Takes away what install has put there, with the same variables.
uninstall:
	rm -f "$(DESTDIR)$(BINDIR)/fleetssh" "$(DESTDIR)$(BASHDIR)/fleetssh" "$(DESTDIR)$(ZSHDIR)/_fleetssh" "$(DESTDIR)$(FISHDIR)/fleetssh.fish" \
		"$(DESTDIR)$(MANDIR)"/man[1-9]/fleetssh.[1-9] "$(DESTDIR)$(MANDIR)"/man[1-9]/fleetssh-*.[1-9]

# Programs for all systems, packages for Linux, and SHA256SUMS, in dist/. The same source and Go give the same bytes.
DIST = dist
PLATFORMS = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 freebsd/amd64 freebsd/arm64 windows/amd64
MAINTAINER ?= The fleetssh authors
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
NFPM ?= $(GO) tool -modfile=tools/package/go.mod nfpm
dist:
	@SELF='$(SELF)' GO='$(GO)' NFPM='$(NFPM)' BUILD="$(BUILD)" DIST='$(DIST)' PLATFORMS='$(PLATFORMS)' VERSION='$(VERSION)' COMMIT='$(COMMIT)' \
		MAINTAINER='$(MAINTAINER)' SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' sh tools/dist.sh

# Builds dist twice, with an empty cache each, the second time from a copy of the tree in another place, and compares. Takes minutes.
reproduce:
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; mkdir "$$tmp/copy"; \
	tar -cf - --exclude=./.git --exclude='./$(DIST)' . | tar -xf - -C "$$tmp/copy"; \
	args="VERSION=$(VERSION) COMMIT=$(COMMIT) SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH)"; \
	GOCACHE="$$tmp/cache1" $(SELF) dist DIST="$$tmp/one" $$args; rm -rf "$$tmp/cache1"; \
	GOCACHE="$$tmp/cache2" $(SELF) -C "$$tmp/copy" dist DIST="$$tmp/two" OUT="$$tmp/fleetssh" $$args >/dev/null; \
	cmp "$$tmp/one/SHA256SUMS" "$$tmp/two/SHA256SUMS"; echo "the same bytes twice"

# Changes the module path everywhere, for whoever publishes it: make rename MODULE=example.com/you/fleetssh
rename:
	@test -n "$(MODULE)" || { echo "rename: say which: make rename MODULE=host/path" >&2; exit 2; }
	$(GO) run ./tools/rename "$(MODULE)"

# Everything, with the race detector. What takes longest begins first, and four packages run at a time, since tests wait a lot: two minutes less on two cores.
test:
	bash .ci/prepare
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(VET) ./...
	$(GO) test -race -p 4 -parallel 8 -timeout 20m ./test/login ./cmd/fleetssh ./test/... ./...

# Style and import rules, and whether everything, tests included, compiles on the systems of dist and on OpenBSD. The linter has a module of its own and takes minutes to build the first time.
lint:
	$(GO) mod tidy -diff
	@command -v shellcheck >/dev/null || { echo "lint: shellcheck is missing, and checks the programs that hosts are sent: install it, as .ci/prepare does" >&2; exit 1; }
	shellcheck -s sh *.sh internal/*/*.sh tools/*.sh .ci/prepare .ci/run
	shellcheck tools/picture/picture.sh
	@for p in $(PLATFORMS) openbsd/amd64; do echo "vet for $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} $(VET) ./... || exit 1; done
	$(GO) tool -modfile=tools/lint/go.mod golangci-lint run ./...

# The pictures of the README and of the report page, from real runs.
picture:
	bash tools/picture/picture.sh

# Side by side with a bare SSH loop and the tools that are installed. LONG=1 takes minutes and uses 5,000 hosts.
bench:
	$(GO) run ./bench

# Every fuzz test for a while: make fuzz FUZZTIME=1m
FUZZTIME ?= 15s
fuzz:
	@set -e; for dir in $$($(GO) list -f '{{.Dir}}' ./...); do \
		for f in $$(grep -hos '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -c6-); do \
			echo "$$dir $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$dir; \
		done; \
	done
