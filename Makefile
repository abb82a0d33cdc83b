# The two commands of the README are demo and test. All modules are listed once,
# in MODULES; the root comes first.
SHELL   := /bin/bash
MODULES := . sqlitestore pgstore redisstore otel routers bench e2e examples internal/book
STORES  := sqlitestore pgstore redisstore
PUBLISHED := . $(STORES) otel
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64 freebsd/amd64 freebsd/arm64
GO      ?= go
STATICCHECK = $(GO) tool -modfile=$(CURDIR)/tools/go.mod staticcheck
FUZZTIME ?= 8000x

.PHONY: demo test test-full deps check release unit stores fuzz browsers screenshots bench mutants cross releases vulnerabilities

demo: ## the shop, on its embedded default: SQLite, in .data, with a made-up history
	cd examples && $(GO) run ./shop -data ../.data -seed-days 30 $(ARGS)

test: deps check release unit stores fuzz browsers ## everything, with real databases, proxies and browsers

# Long repetitions, and each rule of the invariants taken out in turn. Their
# last result stands in docs/reliability.md.
test-full: deps check vulnerabilities cross releases
	REVISIT_FULL=1 $(GO) test -race -shuffle=on -timeout 60m ./...
	@set -e; for m in $(STORES); do (cd $$m && REVISIT_FULL=1 $(GO) test -shuffle=on -timeout 30m -v ./... | grep -v '^=== '; exit $${PIPESTATUS[0]}); done # a million sessions: without the race detector
	cd bench && REVISIT_FULL=1 $(GO) test -v -timeout 30m ./flood
	cd examples && REVISIT_FULL=1 $(GO) test -v -timeout 30m ./shop/report | grep -v '^=== '; exit $${PIPESTATUS[0]} # a million visitors
	$(MAKE) fuzz FUZZTIME=200000x
	$(MAKE) mutants
	REVISIT_FULL=1 $(MAKE) browsers

deps: ## what the tests need of Debian's packages
	scripts/deps

check:
	@out=$$(gofmt -l .); test -z "$$out" || { echo "gofmt: $$out"; exit 1; }
	@set -e; for m in $(MODULES); do echo "vet, staticcheck, tidy: $$m"; (cd $$m && $(GO) vet ./... && $(STATICCHECK) ./... && $(GO) mod tidy -diff); done
	cd tools && $(GO) mod tidy -diff
	@out=$$($(GO) list -deps . | grep -E '^[^/]+\.[^/]+/' | grep -vE '^github.com/revisit-go/revisit(/|$$)' || true); \
		test -z "$$out" || { echo "the root package imports more than the standard library: $$out"; exit 1; }

unit:
	$(GO) test -race -shuffle=on -timeout 10m ./...
	$(GO) test -run 'TestAllocations|TestParallelFirstRequestsEndAsOneVisitor|TestSimulation' . # without the race detector, which allocates, and is slow
	cd bench && $(GO) test -race -shuffle=on -benchtime 1x ./...
	cd otel && $(GO) test -race -shuffle=on ./...
	cd examples && $(GO) test -race -shuffle=on -timeout 10m ./...
	cd routers && $(GO) test -race -shuffle=on ./...
	cd internal/book && $(GO) test -shuffle=on -count 1 ./... # it reads files that go test does not know of

release: ## the API against the last release's; and a release as who imports it sees it
	scripts/apidiff
	scripts/release-check 2>&1 | grep -v '^Ignoring'; exit $${PIPESTATUS[0]}

cross: ## builds what is published for other systems
	@set -e; for p in $(PLATFORMS); do for m in $(PUBLISHED); do (cd $$m && GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build ./...); done; echo "built for $$p"; done

releases: ## tests on other releases of Go
	scripts/go-releases

# What is known of vulnerabilities cannot be had from everywhere.
vulnerabilities:
	@set -e; for m in $(PUBLISHED); do out=$$(cd $$m && $(GO) tool -modfile=$(CURDIR)/tools/go.mod govulncheck ./... 2>&1) && echo "govulncheck: $$m: none" || \
		{ echo "$$out"; case "$$out" in *"fetching vulnerabilities"*) echo "GOVULNCHECK DID NOT RUN: its data cannot be had here"; break;; *) exit 1;; esac; }; done

stores: ## on real databases, which wait most of the time: all at once
	$(MAKE) -j3 -O $(STORES:%=store-%)

store-%:
	cd $* && $(GO) test -race -shuffle=on -timeout 10m ./...

# A fuzz run stops at the first input that fails, and keeps it in testdata/. Its length is
# in executions: go test may report a length of time that has run out as a failure
# ("context deadline exceeded").
fuzz:
	@set -e; for d in $$($(GO) list -f '{{.Dir}}' ./...); do grep -q '^func Fuzz' $$d/*_test.go 2>/dev/null || continue; \
		for f in $$($(GO) test -list '^Fuzz' $$d | grep ^Fuzz); do \
		$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$d; done; done

browsers:
	cd e2e && $(GO) test -race -shuffle=on -timeout $(if $(REVISIT_FULL),90m,40m) -v ./... | grep -v '^=== '; exit $${PIPESTATUS[0]}

screenshots: ## renews the pictures of the dashboard in docs/images/
	cd e2e && REVISIT_SCREENSHOTS=1 $(GO) test -run IsLookedAt .

bench: ## renews the tables of docs/performance.md and docs/stores.md
	cd bench && $(GO) run ./report -o ../docs/performance.md -date "$$(date +%F)"
	cd bench && $(GO) run ./whole -o ../docs/performance.md -date "$$(date +%F)"
	cd bench && $(GO) run ./stores -o ../docs/stores.md -date "$$(date +%F)"

mutants: ## takes each rule of the invariants out, and sees a test fail
	$(GO) run ./internal/mutants
