package revisit_test

import (
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// floors are the packages of the root module, those that know least first. A package imports
// packages of floors below its own only, and of its own floor those that stand before it.
var floors = [][]string{
	{"internal/millis", "internal/uuid", "internal/throttle", "internal/header", "internal/hostname", "internal/sweep"},
	{"store"}, // the contract: who writes a Store imports this
	{ // leaves: they know nothing of Visit, Tracker or the ledger
		"internal/origin", "internal/token", "internal/entitytag", "internal/cachecontrol", "internal/media", "internal/fetchmeta",
		"internal/cookies", "internal/form", "internal/pattern", "internal/httpwriter", "internal/beacon", "internal/clientip",
		"internal/bot", "internal/touch", "ja4",
	},
	{"internal/rules"}, // what a change makes of a record: pure functions
	{"internal/memstore"},
	{"internal/ledger"}, // the session rules on a Store, without HTTP
	{""},                // revisit: HTTP, and nothing of how a record changes
	{"attribution", "storetest", "internal/encoding", "internal/servers", "internal/enginetest", "internal/mutants"},
}

// withoutHTTP are packages that must not know net/http, not even by others.
var withoutHTTP = []string{"store", "internal/touch", "internal/rules", "internal/memstore"}

func TestNoImportRunsUp(t *testing.T) {
	const module = "github.com/revisit-go/revisit"
	name := func(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, module), "/") }
	rank := make(map[string]int)
	for _, floor := range floors {
		for _, p := range floor {
			rank[p] = len(rank)
		}
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...").Output()
	require.NoError(t, err)
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath    string
			Imports, Deps []string
		}
		if err := d.Decode(&p); err == io.EOF {
			break
		} else {
			require.NoError(t, err)
		}
		own, ok := rank[name(p.ImportPath)]
		if !assert.True(t, ok, "%s stands on no floor", p.ImportPath) {
			continue
		}
		seen++
		for _, path := range p.Imports {
			if path == module || strings.HasPrefix(path, module+"/") {
				below, ok := rank[name(path)]
				assert.True(t, ok && below < own, "%s imports %s, which does not stand below it", p.ImportPath, path)
			}
		}
		for _, leaf := range withoutHTTP {
			if name(p.ImportPath) == leaf {
				assert.False(t, slices.Contains(p.Deps, "net/http"), "%s knows net/http", leaf)
			}
		}
	}
	assert.Equal(t, len(rank), seen, "a package of the drawing is gone")
}
