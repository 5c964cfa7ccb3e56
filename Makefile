# What each target needs is installed by .ci/prepare when it is missing (Debian); Go and make are all that must be there.
GO ?= go

.PHONY: demo test lint bench fuzz picture

# The main features on a small fleet inside the process.
demo:
	$(GO) run ./cmd/fleetssh demo

# Everything, with the race detector.
test:
	bash .ci/prepare
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) test -race -parallel 8 -timeout 20m ./...

# Style and import rules, and whether all of it, the tests too, is built for other systems. The linter has a module of its own and takes minutes to build the first time.
OTHERS = windows darwin freebsd openbsd
lint:
	$(GO) mod tidy -diff
	@command -v shellcheck >/dev/null || { echo "lint: shellcheck is missing, and checks the programs that hosts are sent: install it, as .ci/prepare does" >&2; exit 1; }
	shellcheck -s sh internal/*/*.sh .ci/prepare .ci/run
	shellcheck tools/picture/picture.sh
	@for os in $(OTHERS); do echo "vet for $$os"; GOOS=$$os CGO_ENABLED=0 $(GO) vet ./... || exit 1; done
	$(GO) tool -modfile=tools/go.mod golangci-lint run ./...

# The pictures of the README, from a real run.
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
