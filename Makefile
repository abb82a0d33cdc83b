# The two commands of the README are demo and test. All modules are listed once,
# in MODULES; the root comes first.
SHELL   := /bin/bash
MODULES := . sqlitestore pgstore redisstore bench e2e examples
STORES  := sqlitestore pgstore redisstore
GO      ?= go
STATICCHECK = $(GO) tool -modfile=$(CURDIR)/tools/go.mod staticcheck
FUZZTIME ?= 5s

.PHONY: demo test test-full deps check unit stores fuzz browsers bench mutants

demo: ## the shop, on its embedded default: SQLite, in .data
	cd examples && $(GO) run ./shop -data ../.data $(ARGS)

test: deps check unit stores fuzz browsers ## everything, with real databases and browsers

# Long repetitions, and each rule of the invariants taken out in turn. Their
# last result stands in docs/reliability.md.
test-full: deps check
	REVISIT_FULL=1 $(GO) test -race -shuffle=on -timeout 60m ./...
	@set -e; for m in $(STORES); do (cd $$m && REVISIT_FULL=1 $(GO) test -shuffle=on -timeout 30m -v ./... | grep -v '^=== '; exit $${PIPESTATUS[0]}); done # a million sessions: without the race detector
	cd bench && REVISIT_FULL=1 $(GO) test -v -timeout 30m ./flood
	$(MAKE) fuzz FUZZTIME=60s
	$(MAKE) mutants
	REVISIT_FULL=1 $(MAKE) browsers

deps: ## what the tests need of Debian's packages
	scripts/deps

check:
	@out=$$(gofmt -l .); test -z "$$out" || { echo "gofmt: $$out"; exit 1; }
	@set -e; for m in $(MODULES); do echo "vet, staticcheck, tidy: $$m"; (cd $$m && $(GO) vet ./... && $(STATICCHECK) ./... && $(GO) mod tidy -diff); done
	@out=$$($(GO) list -deps . | grep -E '^[^/]+\.[^/]+/' | grep -v '^github.com/revisit-go/revisit$$' || true); \
		test -z "$$out" || { echo "the root package imports more than the standard library: $$out"; exit 1; }

unit:
	$(GO) test -race -shuffle=on -timeout 10m ./...
	$(GO) test -run 'TestAllocations' . # without the race detector, which allocates
	cd bench && $(GO) test -race -shuffle=on -benchtime 1x ./...
	cd examples && $(GO) test -race -shuffle=on ./...

stores: ## on real databases
	@set -e; for m in $(STORES); do (cd $$m && $(GO) test -race -shuffle=on -timeout 10m ./...); done

# A fuzz run stops at the first input that fails, and keeps it in testdata/.
fuzz:
	@set -e; for p in . ./ja4; do for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz); do \
		$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$p; done; done

browsers:
	cd e2e && $(GO) test -race -shuffle=on -timeout 20m -v ./... | grep -v '^=== '; exit $${PIPESTATUS[0]}

bench: ## renews the tables of docs/performance.md and docs/stores.md
	cd bench && $(GO) run ./report -o ../docs/performance.md -date "$$(date +%F)"
	cd bench && $(GO) run ./stores -o ../docs/stores.md -date "$$(date +%F)"

mutants: ## takes each rule of the invariants out, and sees a test fail
	$(GO) run ./internal/mutants
