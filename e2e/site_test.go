package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// authority is a certificate authority that the browsers of the tests trust, and
// a certificate of it for the hosts of a site.
type authority struct {
	base64 string // the authority's certificate
	pin    string // of the site's key, as Chromium wants it
	site   tls.Certificate
}

var testCA = sync.OnceValue(func() authority {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "revisit test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", "shop.localhost", "evil.localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	must(err)
	parsed, err := x509.ParseCertificate(der)
	must(err)
	pin := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	return authority{
		base64: base64.StdEncoding.EncodeToString(caDER),
		pin:    base64.StdEncoding.EncodeToString(pin[:]),
		site:   tls.Certificate{Certificate: [][]byte{der, caDER}, PrivateKey: key},
	}
})

// memory is a store whose sessions can all be looked at.
type memory struct {
	*revisit.MemoryStore
	mu  sync.Mutex
	ids []revisit.ID
}

func (m *memory) Save(ctx context.Context, r revisit.Record, old int64) error {
	m.mu.Lock()
	if !slices.Contains(m.ids, r.ID) {
		m.ids = append(m.ids, r.ID)
	}
	m.mu.Unlock()
	return m.MemoryStore.Save(ctx, r, old)
}

// sessions returns the confirmed ones, and all that are neither aliases nor
// tombstones.
func (m *memory) sessions(t *testing.T) (confirmed, all []revisit.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range m.ids {
		r, err := m.Load(t.Context(), id)
		if err != nil || r.Forgotten || !r.MergedInto.IsZero() {
			continue
		}
		all = append(all, r)
		if r.Confirmed {
			confirmed = append(confirmed, r)
		}
	}
	return confirmed, all
}

// A site has wrapped pages of ten parts each, the beacon, pages that are not
// wrapped, and a record of what was asked.
type site struct {
	tracker *revisit.Tracker
	store   *memory
	port    string
	scheme  string

	mu     sync.Mutex
	log    []asked
	active int
	frames map[string]bool // pages that have a frame in what the browser has stored
	review string          // what somebody has written into a page
}

type asked struct {
	host, path string
	request    http.Header
	status     int
	response   http.Header
	proto      string
}

const policy = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'; style-src 'self'; frame-src 'self'; form-action 'self'"

func newSite(t *testing.T, c revisit.Config, secure bool) *site {
	s := newBareSite(t, c)
	pages := http.NewServeMux()
	pages.HandleFunc("GET /page/{n}", s.page)
	pages.HandleFunc("/part/", part)
	pages.HandleFunc("/form", s.form)
	pages.HandleFunc("GET /review", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!DOCTYPE html><html><title>review</title>"+s.review+string(revisit.Tag(r.Context())))
	})
	mux := http.NewServeMux()
	mux.Handle("/", s.tracker.Handler(pages))
	mux.Handle("/revisit/", s.tracker.Beacon())
	// What follows is not wrapped.
	mux.HandleFunc("GET /out", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.FormValue("to"), http.StatusFound)
	})
	mux.HandleFunc("GET /static/fetch.js", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprintf(w, `fetch(%[1]q); fetch("/out?to=" + %[1]q)`, r.FormValue("to"))
	})
	mux.HandleFunc("GET /static/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		html(w, `<title>static</title>`+map[string]string{
			"/static/pixel":  `<img src="/revisit/pixel.gif" alt="" width="1" height="1">`,
			"/static/script": `<script src="/revisit/revisit.js" async></script>`,
		}[r.URL.Path])
	})
	s.serve(t, mux, secure)
	return s
}

// newPages is a site of pages by their paths, with TAG for what revisit.Tag returns. Those
// of a name that ends in .js are scripts, and those below /static/ are not wrapped. Without
// a page of its own a path is not found.
func newPages(t *testing.T, c revisit.Config, pages map[string]string) *site {
	s := newBareSite(t, c)
	beacon := s.tracker.Beacon()
	serve := func(w http.ResponseWriter, r *http.Request) {
		body, ok := pages[r.URL.Path]
		switch {
		case !ok:
			http.NotFound(w, r)
			return
		case strings.HasSuffix(r.URL.Path, ".js"):
			w.Header().Set("Content-Type", "text/javascript")
		default:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
		}
		if strings.HasPrefix(r.URL.Path, "/no-store") {
			w.Header().Set("Cache-Control", "no-store")
		}
		fmt.Fprint(w, strings.ReplaceAll(body, "TAG", string(revisit.Tag(r.Context()))))
	}
	mux := http.NewServeMux()
	mux.Handle("/", s.tracker.Handler(http.HandlerFunc(serve)))
	mux.HandleFunc("/static/", serve)
	mux.HandleFunc("/sw.js", serve)
	mux.Handle("/revisit/", beacon)
	s.serve(t, mux, false)
	return s
}

// newBareSite has a tracker, and nothing that is served yet.
func newBareSite(t *testing.T, c revisit.Config) *site {
	m := revisit.NewMemoryStore(revisit.MemoryOptions{})
	t.Cleanup(func() { m.Close() })
	s := &site{store: &memory{MemoryStore: m}, frames: make(map[string]bool)}
	c.Keys, c.Store, c.Logger = [][]byte{make([]byte, 32)}, s.store, slog.New(slog.DiscardHandler)
	if c.Consent == nil {
		c.Consent = func(*http.Request) revisit.Permission { return revisit.Restore }
	}
	var err error
	s.tracker, err = revisit.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { s.tracker.Close() })

	return s
}

// serve serves what has been put together, and takes down what is asked.
func (s *site) serve(t *testing.T, mux *http.ServeMux, secure bool) {
	server := httptest.NewUnstartedServer(s.record(mux))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // favicons and the like of handshakes that end early
	if secure {
		server.EnableHTTP2 = true
		server.TLS = &tls.Config{Certificates: []tls.Certificate{testCA().site}}
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	s.scheme, _, _ = strings.Cut(server.URL, ":")
	var err error
	_, s.port, err = net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
}

// at is the address of a path at a host of the site: shop.localhost,
// evil.localhost, or anything.localhost over http.
func (s *site) at(host, path string) string { return s.scheme + "://" + host + ":" + s.port + path }

func html(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	fmt.Fprint(w, "<!DOCTYPE html><html><head><link rel=icon href=/part/icon.png>"+body)
}

// page has ten parts: images, styles, scripts, and what a script fetches.
func (s *site) page(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	n := r.PathValue("n")
	fmt.Fprintf(&b, "<title>page %s</title>", n)
	for i := range 2 {
		fmt.Fprintf(&b, `<link rel=stylesheet href="/part/%s/%d.css"><script src="/part/%s/%d.js" defer></script>`, n, i, n, i)
	}
	b.WriteString("</head><body>")
	for i := range 5 {
		fmt.Fprintf(&b, `<img alt="" src="/part/%s/%d.svg">`, n, i)
	}
	fmt.Fprintf(&b, `<a href="/page/next">next</a><a href="#there">there</a>%s`, revisit.Tag(r.Context(), revisit.NoScript()))
	s.mu.Lock()
	s.frames[r.Host+r.URL.Path] = strings.Contains(b.String(), "<iframe")
	s.mu.Unlock()
	html(w, b.String())
}

func part(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "0.js"):
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprintf(w, `fetch(%q)`, strings.TrimSuffix(path, "0.js")+"data.json")
	case strings.HasSuffix(path, ".js"):
		w.Header().Set("Content-Type", "text/javascript")
	case strings.HasSuffix(path, ".css"):
		w.Header().Set("Content-Type", "text/css")
		fmt.Fprint(w, "body{}")
	case strings.HasSuffix(path, ".json"):
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, "%q", path)
	default:
		w.Header().Set("Content-Type", "image/svg+xml")
		fmt.Fprint(w, `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`)
	}
}

func (s *site) form(w http.ResponseWriter, r *http.Request) {
	if session, ok := revisit.FromContext(r.Context()); ok {
		w.Header().Set("X-Session-Id", session.ID.String())
		w.Header().Set("X-Session-Via", session.Via)
		if r.Method == http.MethodPost {
			_ = session.Set(r.Context(), "lead", r.FormValue("mail"))
		}
	}
	html(w, fmt.Sprintf(`<title>form</title><form method="post" action="/form">%s<input name="mail" value="ann@example.com"><button value="">Send</button></form>%s`,
		revisit.Field(r.Context()), revisit.Tag(r.Context(), revisit.NoScript())))
}

// record takes down what was asked and answered.
func (s *site) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.active++
		s.mu.Unlock()
		watched := &watchedWriter{ResponseWriter: w, status: 200}
		next.ServeHTTP(watched, r)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.active--
		s.log = append(s.log, asked{r.Host, r.URL.RequestURI(), r.Header, watched.status, w.Header().Clone(), r.Proto})
	})
}

type watchedWriter struct {
	http.ResponseWriter
	status int
}

func (w *watchedWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// mark returns where the record is now.
func (s *site) mark() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.log)
}

// since returns the record from a mark on.
func (s *site) since(mark int) []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log[mark:])
}

// until waits until what was asked since the mark is enough.
func (s *site) until(t *testing.T, mark int, what string, enough func([]asked) bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		log := s.since(mark)
		if enough(log) {
			return
		}
		if time.Now().After(end) {
			for _, a := range log {
				t.Log(a.path, a.status, a.response["Server-Timing"], a.request["Revisit-Link"], a.request["Revisit-Page"])
			}
			require.FailNow(t, "it does not come: "+what)
		}
	}
}

func count(log []asked, path string) (n int) {
	for _, a := range log {
		if p, _, _ := strings.Cut(a.path, "?"); p == path {
			n++
		}
	}
	return n
}

const anchor = "/revisit/pixel.gif"

var linkPattern = regexp.MustCompile(`rv;desc="([A-Za-z0-9_-]{24})`)

// settled waits until a page and its parts are there, and the anchor has been
// notified of each link.
func (s *site) settled(t *testing.T, mark int, path string, script bool) {
	t.Helper()
	s.until(t, mark, path+" and its anchor", func(log []asked) bool {
		links, notified := map[string]bool{}, map[string]bool{}
		for _, a := range log {
			if script {
				for _, m := range linkPattern.FindAllStringSubmatch(strings.Join(a.response["Server-Timing"], ","), -1) {
					links[m[1]] = true
				}
			}
			if a.path == anchor {
				for _, link := range strings.Split(a.request.Get("Revisit-Link"), ", ") {
					notified[link[:min(24, len(link))]] = true
				}
			}
		}
		for link := range links {
			if !notified[link] {
				return false
			}
		}
		n, _ := strings.CutPrefix(path, "/page/")
		if script && count(log, "/part/"+n+"/data.json") == 0 {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if !script {
			for _, a := range log {
				if a.path == path && s.frames[a.host+path] && count(log, anchor) == 0 {
					return false
				}
			}
		}
		return count(log, path) > 0 && s.active == 0
	})
}
