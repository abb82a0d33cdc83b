// Whole loads a whole server with wrk, over loopback, and writes the second table of
// docs/performance.md: requests a second, and ratios to the plain handler. wrk takes a
// part of the same machine, so only the ratios say something.
package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/bench"
)

const (
	begin = "<!-- made by make bench, whole server: begin -->\n"
	end   = "<!-- made by make bench, whole server: end -->\n"
)

var body = []byte("<!doctype html><title>Shoes</title>" + strings.Repeat("<p>a shoe</p>", 320)) // 4 KiB

var page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header()["Content-Type"] = []string{"text/html; charset=utf-8"}
	w.Write(body)
})

// tagged is the page with a validator of its own, so that nothing has to be hashed.
var tagged = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header()["Etag"] = []string{`"shoes-7"`}
	page.ServeHTTP(w, r)
})

func tracked(s revisit.Strategy, page http.Handler) http.Handler {
	t, err := revisit.New(revisit.Config{
		Strategy: s, Consent: revisit.OptIn("consent", "yes"), Store: revisit.NewMemoryStore(revisit.MemoryOptions{}),
		Keys: [][]byte{make([]byte, 32)}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fatal(err)
	}
	return t.Handler(page)
}

type load struct {
	name    string
	handler http.Handler
	tags    bool // the client sends back the tag, too
	rates   []float64
	ratios  []float64
}

func main() {
	rounds := flag.Int("rounds", 7, "how often each is loaded")
	seconds := flag.Int("seconds", 3, "how long")
	date := flag.String("date", "", "the date to write down")
	out := flag.String("o", "", "the file whose table is replaced; default: print it")
	flag.Parse()
	if _, err := exec.LookPath("wrk"); err != nil {
		fatal(fmt.Errorf("wrk is missing: run make deps"))
	}
	hybrid := revisit.Hybrid(revisit.Cookie{}, revisit.ETag{})
	loads := []*load{
		{name: "plain handler", handler: page},
		{name: "revisit, cookie", handler: tracked(revisit.Cookie{}, page)},
		{name: "revisit, hybrid: 200, the page has a tag", handler: tracked(hybrid, tagged)},
		{name: "revisit, hybrid: 200, the page is hashed", handler: tracked(hybrid, page)},
		{name: "revisit, hybrid: 304 by the hash", handler: tracked(hybrid, page), tags: true},
		{name: "alexedwards/scs, idle touch", handler: bench.WithSCS(page)},
		{name: "gorilla CookieStore, save", handler: bench.WithGorilla(page)},
	}
	for range *rounds {
		for _, l := range loads { // in turn, so that a slow minute is everybody's
			l.rates = append(l.rates, l.run(*seconds))
			l.ratios = append(l.ratios, l.rates[len(l.rates)-1]/loads[0].rates[len(l.rates)-1])
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Measured %s with %s on %s/%s, %d cores, wrk with 16 connections on the same cores; medians of %d rounds of %d s.\n\n",
		*date, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), *rounds, *seconds)
	fmt.Fprint(&b, "| | requests/s | ratio |\n|---|--:|--:|\n")
	for _, l := range loads {
		slices.Sort(l.rates)
		slices.Sort(l.ratios)
		fmt.Fprintf(&b, "| %s | %.0f | %.2f |\n", l.name, l.rates[len(l.rates)/2], l.ratios[len(l.ratios)/2])
	}
	if *out == "" {
		fmt.Print(b.String())
		return
	}
	if err := bench.WriteBetween(*out, begin, end, b.String()); err != nil {
		fatal(err)
	}
}

var rate = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)

// visitors take turns: a server has many, and one who sends sixteen requests at once is
// another measurement.
const visitors = 64

// run loads a server with the requests of visitors who have been here, and returns how
// many it has answered in a second.
func (l *load) run(seconds int) float64 {
	server := httptest.NewServer(l.handler)
	defer server.Close()
	var script strings.Builder
	script.WriteString("local visitors = {\n")
	for range visitors {
		header := map[string]string{
			"User-Agent":      "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0",
			"Accept":          "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
			"Accept-Language": "de,en-US;q=0.7,en;q=0.3",
			"Referer":         server.URL + "/",
			"Sec-Fetch-Dest":  "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin",
			"Cookie": "theme=dark; consent=yes",
		}
		r, err := http.NewRequest("GET", server.URL+"/shoes", nil)
		if err != nil {
			fatal(err)
		}
		for name, value := range header {
			r.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		for _, c := range resp.Cookies() {
			header["Cookie"] += "; " + c.Name + "=" + c.Value
		}
		if tag := resp.Header.Get("Etag"); l.tags {
			if tag == "" {
				fatal(fmt.Errorf("%s: no tag", l.name))
			}
			header["If-None-Match"] = tag
		}
		script.WriteString("{")
		for name, value := range header {
			fmt.Fprintf(&script, "[%q] = %q, ", name, value)
		}
		script.WriteString("},\n")
	}
	// The requests are made beforehand: wrk is to take as little of the machine as it can.
	script.WriteString("}\nlocal requests, n = {}, 0\n" +
		"function init(args) for i, h in ipairs(visitors) do requests[i] = wrk.format('GET', '/shoes', h) end end\n" +
		"function request() n = n % #requests + 1; return requests[n] end\n")
	file, err := os.CreateTemp("", "wrk*.lua")
	if err != nil {
		fatal(err)
	}
	defer os.Remove(file.Name())
	if _, err := file.WriteString(script.String()); err != nil {
		fatal(err)
	}
	file.Close()
	out, err := exec.Command("wrk", "-t", "1", "-c", "16", "-d", strconv.Itoa(seconds)+"s", "-s", file.Name(), server.URL).CombinedOutput()
	m := rate.FindSubmatch(out)
	if err != nil || m == nil || strings.Contains(string(out), "Socket errors") || strings.Contains(string(out), "Non-2xx") {
		fatal(fmt.Errorf("%s: wrk: %v: %s", l.name, err, out))
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		fatal(err)
	}
	return n
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "whole:", err)
	os.Exit(1)
}
