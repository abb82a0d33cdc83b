// Report runs all cases in turn, several times, and writes the table of
// docs/performance.md: medians, and ratios to the peer of each group.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/revisit-go/revisit/bench"
)

const (
	begin = "<!-- made by make bench: begin -->\n"
	end   = "<!-- made by make bench: end -->\n"
)

// peer is the row of a group that the ratios are to.
var peer = map[string]string{
	bench.Returning: "alexedwards/scs, idle touch",
	bench.First:     "alexedwards/scs",
	bench.Parallel:  "alexedwards/scs, idle touch",
	bench.Crowd:     "alexedwards/scs",
	bench.NotMod:    "http.ServeContent",
}

func main() {
	testing.Init()
	rounds := flag.Int("rounds", 7, "how often each case is run")
	date := flag.String("date", "", "the date to write down")
	out := flag.String("o", "", "the file whose table is replaced; default: print it")
	flag.Parse()
	if err := flag.Set("test.benchtime", "300ms"); err != nil {
		fatal(err)
	}

	cases := bench.Cases()
	times := make([][]float64, len(cases))
	last := make([]testing.BenchmarkResult, len(cases))
	for range *rounds {
		for i, c := range cases { // in turn, so that a slow minute is everybody's
			last[i] = testing.Benchmark(c.Run)
			times[i] = append(times[i], float64(last[i].T.Nanoseconds())/float64(last[i].N))
		}
	}
	median := func(i int) float64 {
		slices.Sort(times[i])
		return times[i][len(times[i])/2]
	}

	var b strings.Builder
	fmt.Fprintf(&b, "Measured %s with %s on %s/%s, %d cores; medians of %d rounds.\n", *date, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), *rounds)
	group := ""
	for i, c := range cases {
		if c.Group != group {
			group = c.Group
			fmt.Fprintf(&b, "\n### %s\n\n| | ns | ratio | B | allocs |\n|---|--:|--:|--:|--:|\n", group)
		}
		to := peer[group]
		if to == "" { // the plain handler of the same size
			size, _, _ := strings.Cut(c.Name, ",")
			to = size + ", SHA-256 of the body alone"
		}
		ratio := "–" // a group of its own, without a peer
		if at := slices.IndexFunc(cases, func(o bench.Case) bool { return o.Group == group && o.Name == to }); at >= 0 {
			ratio = fmt.Sprintf("%.3f", median(i)/median(at))
		}
		fmt.Fprintf(&b, "| %s | %.0f | %s | %d | %d |\n", c.Name, median(i), ratio, last[i].AllocedBytesPerOp(), last[i].AllocsPerOp())
	}
	if *out == "" {
		fmt.Print(b.String())
		return
	}
	if err := bench.WriteBetween(*out, begin, end, b.String()); err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "report:", err)
	os.Exit(1)
}
