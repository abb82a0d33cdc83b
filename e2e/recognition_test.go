package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shopBinary is built once for all tests.
var shopBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "shop")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "shop")
	cmd := exec.Command("go", "build", "-o", path, "./shop")
	cmd.Dir = "../examples"
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %v: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := shopBinary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// startShop starts the shop as a user does, and returns its address.
func startShop(t *testing.T, args ...string) string {
	path, err := shopBinary()
	require.NoError(t, err)
	cmd := exec.Command(path, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		rest, _ := io.ReadAll(stdout)
		assert.NoError(t, cmd.Wait(), "the shop ends cleanly")
		assert.Contains(t, string(rest), "The shop is closed.")
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	_, address, ok := strings.Cut(strings.TrimSpace(line), ": ")
	require.True(t, ok, line)
	return strings.TrimSuffix(address, "/")
}

// watcher is a proxy in front of the shop that takes down what goes through. It
// changes nothing: Go's ReverseProxy leaves tags as they are.
type watcher struct {
	url string
	mu  sync.Mutex
	log []seen
}

type seen struct {
	path, id, via string
	hits          string
	status        int
	setCookie     []string
	cookies       string // of the request
}

func watch(t *testing.T, shop, host string) *watcher {
	target, err := url.Parse(shop)
	require.NoError(t, err)
	w := &watcher{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ModifyResponse: func(r *http.Response) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.log = append(w.log, seen{r.Request.URL.Path, r.Header.Get("X-Session-Id"), r.Header.Get("X-Session-Via"), r.Header.Get("X-Session-Hits"), r.StatusCode,
				r.Header["Set-Cookie"], r.Request.Header.Get("Cookie")})
			return nil
		},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	w.url = "http://" + net.JoinHostPort(host, port)
	return w
}

// count returns how many responses there were for a path.
func (w *watcher) count(path string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, s := range w.log {
		if s.path == path {
			n++
		}
	}
	return n
}

// last returns the last response for a path.
func (w *watcher) last(path string) seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.log) - 1; i >= 0; i-- {
		if w.log[i].path == path {
			return w.log[i]
		}
	}
	return seen{}
}

// What became of a visitor.
const (
	same    = "recognised"
	other   = "new visitor"
	nobody  = "not recognised"
	noVisit = "no request"
)

// An event is something that happens to a browser between two visits. The test
// says what must come of it for each strategy, and the table says what did.
type event struct {
	name    string
	consent string
	// happen makes it happen, after two visits to the front page. It ends with a
	// visit to it. Nil is the first visit itself.
	happen func(t *testing.T, b browser, w *watcher)
	want   map[string]string // by strategy
}

func visitHome(t *testing.T, b browser, w *watcher) { t.Helper(); b.visit(t, w.url+"/") }

var events = []event{
	{"first visit", "granted", nil,
		map[string]string{"cookie": other, "etag": other, "hybrid": other}},
	{"second visit", "granted", visitHome,
		map[string]string{"cookie": same, "etag": same, "hybrid": same}},
	{"reload", "granted", func(t *testing.T, b browser, w *watcher) { b.reload(t) },
		map[string]string{"cookie": same, "etag": same, "hybrid": same}},
	{"hard reload", "granted", func(t *testing.T, b browser, w *watcher) { b.hardReload(t) },
		map[string]string{"cookie": same, "etag": other, "hybrid": same}},
	{"first visit after a hard reload", "granted", func(t *testing.T, b browser, w *watcher) {
		b.hardReload(t)
		w.mark()
		visitHome(t, b, w)
	}, map[string]string{"cookie": same, "etag": same, "hybrid": same}},
	{"cookies deleted", "granted", func(t *testing.T, b browser, w *watcher) {
		b.deleteCookies(t)
		visitHome(t, b, w)
	}, map[string]string{"cookie": other, "etag": same, "hybrid": same}},
	{"cookies deleted, without the permission to restore", "optout", func(t *testing.T, b browser, w *watcher) {
		b.deleteCookies(t)
		visitHome(t, b, w)
	}, map[string]string{"cookie": other, "etag": same, "hybrid": same}},
	{"cache cleared", "granted", func(t *testing.T, b browser, w *watcher) {
		b.clearCache(t)
		visitHome(t, b, w)
	}, map[string]string{"cookie": same, "etag": other, "hybrid": same}},
	{"cookies deleted and cache cleared", "granted", func(t *testing.T, b browser, w *watcher) {
		b.deleteCookies(t)
		b.clearCache(t)
		visitHome(t, b, w)
	}, map[string]string{"cookie": other, "etag": other, "hybrid": other}},
	{"restart with the same profile", "granted", func(t *testing.T, b browser, w *watcher) {
		b.restart(t)
		visitHome(t, b, w)
	}, map[string]string{"cookie": same, "etag": same, "hybrid": same}},
	{"private window", "granted", func(t *testing.T, b browser, w *watcher) {
		closeWindow := b.private(t)
		visitHome(t, b, w)
		closeWindow()
	}, map[string]string{"cookie": other, "etag": other, "hybrid": other}},
	{"back in the history", "granted", func(t *testing.T, b browser, w *watcher) {
		b.follow(t, "/product/mug")
		w.clear()
		b.back(t, "/")
	}, map[string]string{"cookie": same + "|" + noVisit, "etag": same + "|" + noVisit, "hybrid": same + "|" + noVisit}},
	{"a page not seen before", "granted", func(t *testing.T, b browser, w *watcher) {
		b.visit(t, w.url+"/product/lamp")
	}, map[string]string{"cookie": same, "etag": other, "hybrid": same}},
	{"the same page, once its link was reported to the anchor", "granted", func(t *testing.T, b browser, w *watcher) {
		before := w.count(anchor)
		b.visit(t, w.url+"/product/lamp")
		if w.last("/product/lamp").via == "new" {
			w.until(t, anchor, before+1)
		}
		b.visit(t, w.url+"/product/lamp")
	}, map[string]string{"cookie": same, "etag": same, "hybrid": same}},
	{"opted out", "optout", func(t *testing.T, b browser, w *watcher) {
		visitHome(t, b, w)
		b.submit(t, "/consent", "no")
		visitHome(t, b, w)
	}, map[string]string{"cookie": nobody, "etag": nobody, "hybrid": nobody}},
	{"consent withdrawn", "optin", func(t *testing.T, b browser, w *watcher) {
		visitHome(t, b, w)
		b.visit(t, w.url+"/known")
		b.visit(t, w.url+"/known")
		b.submit(t, "/forget", "") // forgets, and takes the consent back
		visitHome(t, b, w)
	}, map[string]string{"cookie": nobody, "etag": nobody, "hybrid": nobody}},
	{"forgotten", "granted", func(t *testing.T, b browser, w *watcher) {
		b.visit(t, w.url+"/known")
		b.visit(t, w.url+"/known")
		b.submit(t, "/forget", "")
		visitHome(t, b, w)
	}, map[string]string{"cookie": other, "etag": other, "hybrid": other}},
}

// mark says that the session of now is the one to be compared with.
func (w *watcher) mark() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, seen{path: "mark", id: w.log[len(w.log)-1].id})
	for i := len(w.log) - 1; i >= 0; i-- {
		if w.log[i].path == "/" {
			w.log[len(w.log)-1].id = w.log[i].id
			return
		}
	}
}

// until waits for so many responses for a path.
func (w *watcher) until(t *testing.T, path string, n int) {
	t.Helper()
	for end := time.Now().Add(patience); w.count(path) < n; time.Sleep(10 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "%s is not asked for", path)
	}
}

func (w *watcher) clear() {
	id := w.last("/").id
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = []seen{{path: "mark", id: id}}
}

func TestRecognition(t *testing.T) {
	strategies := []string{"cookie", "etag", "hybrid"}
	results := make(map[string]string) // "event/strategy/engine"
	var names []string
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			names = append(names, b.name())
			for _, strategy := range strategies {
				t.Run(strategy, func(t *testing.T) {
					shops := make(map[string]string)
					for _, e := range events {
						if shops[e.consent] == "" {
							shops[e.consent] = startShop(t, "-strategy", strategy, "-consent", e.consent)
						}
					}
					for i, e := range events {
						t.Run(e.name, func(t *testing.T) {
							// A host of its own: cookies and stored pages of its own.
							w := watch(t, shops[e.consent], fmt.Sprintf("%s%d.localhost", strategy, i))
							got := observe(t, b, w, e, strategy)
							assert.Contains(t, strings.Split(e.want[strategy], "|"), got)
							results[e.name+"/"+strategy+"/"+engine.name] = got
						})
					}
				})
			}
		})
	}
	if len(results) != len(events)*len(strategies)*len(engines) {
		return // a part was asked for, or one has failed
	}
	require.NoError(t, writeTable("../docs/recognition.md", strategies, names, results))
}

// observe says what an event makes of a visitor.
func observe(t *testing.T, b browser, w *watcher, e event, strategy string) string {
	visitHome(t, b, w)
	if e.consent == "optin" {
		require.Empty(t, w.last("/").id, "nobody is recognised unasked")
		require.Empty(t, w.last("/").setCookie)
		b.submit(t, "/consent", "yes")
	}
	first := w.last("/")
	if e.happen == nil {
		if first.via == "new" {
			return other
		}
		return same
	}
	require.Equal(t, "new", first.via)
	visitHome(t, b, w)
	second := w.last("/")
	require.Equal(t, first.id, second.id, "the second visit")
	require.NotEqual(t, "new", second.via)

	before := w.count("/")
	e.happen(t, b, w)
	expected := second.id
	if marked := w.last("mark"); marked.id != "" {
		expected = marked.id
		before = 0
	}
	path := "/"
	if strings.Contains(e.name, " page") {
		path, before = "/product/lamp", 0
	}
	if w.count(path) == before {
		return noVisit
	}
	after := w.last(path)
	if e.name == "cookies deleted" && strategy == "hybrid" {
		assert.Contains(t, strings.Join(after.setCookie, ""), "revisit=", "the cookie is back")
	}
	if e.consent == "optout" && strategy == "hybrid" && after.id == expected {
		assert.NotContains(t, strings.Join(after.setCookie, ""), "revisit=", "the cookie is not rebuilt")
		assert.NotContains(t, after.cookies, "revisit=")
	}
	switch after.id {
	case expected, second.id: // the marked one may have been joined to the first
		return same
	case "":
		return nobody
	}
	if e.name != "forgotten" { // the page after the form has begun another session
		assert.Equal(t, "new", after.via)
	}
	return other
}

const (
	tableBegin = "<!-- made by make test (e2e): begin -->\n"
	tableEnd   = "<!-- made by make test (e2e): end -->\n"
)

func writeTable(path string, strategies, names []string, results map[string]string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, http on loopback, headless.\n\n| event |", strings.Join(names, " and "))
	for _, s := range strategies {
		for _, e := range engines {
			fmt.Fprintf(&b, " %s, %s |", s, e.name)
		}
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(strategies)*len(engines)) + "\n")
	for _, e := range events {
		fmt.Fprintf(&b, "| %s |", e.name)
		for _, s := range strategies {
			for _, engine := range engines {
				fmt.Fprintf(&b, " %s |", results[e.name+"/"+s+"/"+engine.name])
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(text), tableBegin)
	_, tail, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s: the marks of the table are missing", path)
	}
	return os.WriteFile(path, []byte(head+tableBegin+b.String()+tableEnd+tail), 0o644)
}
