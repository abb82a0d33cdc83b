package proxies

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The random test has visitors of every permission, crawlers and newcomers ask for pages of
// every kind, through a proxy, while the pages change. The same moves are made twice, in front of
// the wrapped site and of the bare one, each behind a proxy of its own with the same
// configuration. A fault is
//
//  1. a token that reaches anybody but the client that it was first given to,
//  2. a body or a validator that neither the handler alone gives at that time, nor what
//     stands before the bare site,
//  3. a 304 that the bare site's client gets, and the wrapped site's does not, where
//     docs/decisions/03 and 04 do not say that the page comes whole.
type run struct {
	t       *testing.T
	proxy   proxy
	rnd     *rand.Rand
	sites   [2]*site // wrapped, bare
	front   [2]string
	pages   []page
	made    int // pages so far
	clients []*visitor
	given   map[string][]sighting // by URL: what came from the bare site, while that may count
	history map[string][]move     // by URL: the latest

	faults map[string][]string // by kind
	stats  struct{ tokens, notModified, stale, whole int }
	// strangers counts the pages of the bare site that its handler calls private and that
	// reached somebody else. No header helps where a proxy hands these out.
	strangers int
}

const wrapped, bare = 0, 1

type sighting struct {
	version int
	at      time.Time
}

// A visitor is a browser, or a crawler, with its stored pages, once for each site.
type visitor struct {
	name       string
	permission string
	agent      string
	lang       string
	login      bool
	other      bool                     // it has a cookie of the site's own
	saidNo     bool                     // at some time, so that its sessions are forgotten
	cookies    map[string]string        // by strategy
	links      map[string]string        // by strategy: the latest link ticket
	stored     [2]map[string]storedPage // by URL, encoding and language
}

type storedPage struct {
	tag, date, body string
	version         int
}

// A move is one request, and what came of it.
type move struct {
	number    int
	page      page
	url       string
	client    *visitor
	as        string // the client's permission then, and whether it is a bot
	how       string // see hows
	fetch     fetch
	encoding  string
	offset    int // of a range
	current   int // the version that the page had then
	sent      [2]string
	answers   [2]answer
	asked     *asked // what the wrapped site saw, nil if it was not asked
	hasCookie bool
	condition string // by which it asked the wrapped site
}

// hows are the ways in which a browser asks, some more often than others.
var hows = []string{
	"first", "first", "again", "again", "again", "again", "again", "again", "again", "again", "again", "again", "tag", "date", "reload", "soft",
	"range", "if-range", "if-range date", "made-up", "two tags", "head", "head again", "post",
}

// A fetch is what a browser says of the place that a response is for.
type fetch struct {
	name                            string
	accept, site, mode, dest, extra string
}

const acceptPage, acceptImage = "text/html,application/xhtml+xml,*/*;q=0.8", "image/avif,image/webp,*/*;q=0.8"

var fetches = []fetch{
	{"page", acceptPage, "none", "navigate", "document", ""},
	{"page", acceptPage, "none", "navigate", "document", ""},
	{"page", acceptPage, "same-origin", "navigate", "document", ""},
	{"page from elsewhere", acceptPage, "cross-site", "navigate", "document", ""},
	{"frame", acceptPage, "same-origin", "navigate", "iframe", ""},
	{"prefetch", acceptPage, "same-origin", "navigate", "document", "prefetch"},
	{"image", acceptImage, "same-origin", "no-cors", "image", ""},
	{"image elsewhere", acceptImage, "cross-site", "no-cors", "image", ""},
	{"style", "text/css,*/*;q=0.1", "same-origin", "no-cors", "style", ""},
	{"script", "*/*", "same-origin", "no-cors", "script", ""},
	{"video", "*/*", "same-origin", "no-cors", "video", ""},
	{"data", "application/json, */*", "same-origin", "cors", "empty", ""},
	{"any data", "*/*", "same-origin", "cors", "empty", ""},
	{"old browser's page", acceptPage, "", "", "", ""},
	{"old browser's page", acceptPage, "", "", "", ""},
	{"old browser's image", acceptImage, "", "", "", ""},
	{"old browser's style", "text/css,*/*;q=0.1", "", "", "", ""},
	{"old browser's anything", "*/*", "", "", "", ""},
	{"no Accept", "", "", "", "", ""},
}

const agentBrowser, agentBot = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

// An answer is a response as a browser has it: gzip undone.
type answer struct {
	status  int
	header  http.Header
	body    string
	version int // of the body that the client ends up with; -1 for one that is none of any version, -2 for none
	err     error
}

func newRun(t *testing.T, p proxy, seed uint64) *run {
	r := &run{
		t: t, proxy: p, rnd: rand.New(rand.NewPCG(seed, 0)),
		given: make(map[string][]sighting), history: make(map[string][]move), faults: make(map[string][]string),
	}
	v := &versions{of: make(map[string]int)}
	r.sites = [2]*site{newSite(t, v, true), newSite(t, v, false)}
	for i, s := range r.sites {
		r.front[i] = p.start(t, s.address)
	}
	for range 3 {
		r.pages = append(r.pages, r.newPage())
	}
	for i, permission := range []string{"restore", "restore", "recognise", "unasked", "deny", "restore"} {
		c := r.newVisitor(fmt.Sprint("client ", i))
		c.permission = permission
		r.clients = append(r.clients, c)
	}
	r.clients[len(r.clients)-1].agent = agentBot
	return r
}

func pick[T any](rnd *rand.Rand, from []T) T { return from[rnd.IntN(len(from))] }

func (r *run) newPage() page {
	r.made++
	p := page{strategy: pick(r.rnd, strategies), kind: pick(r.rnd, kinds), media: pick(r.rnd, medias), vary: pick(r.rnd, varies), number: r.made}
	if p.kind == "explicit" && p.isOpen() {
		p.media = "text/html" // what stays open, see docs/decisions/04, is no page for this test
	}
	if r.rnd.IntN(2) == 0 {
		p.way = r.rnd.IntN(len(allWays)) // else without Cache-Control
	}
	p.login = r.rnd.IntN(8) == 0 && !r.proxy.mixes
	return p
}

// replacePage has nobody ask for a page again.
func (r *run) replacePage(i int) {
	url := r.pages[i].url()
	delete(r.history, url)
	delete(r.given, url)
	for _, c := range r.clients {
		for side := range c.stored {
			maps.DeleteFunc(c.stored[side], func(key string, _ storedPage) bool { return strings.HasPrefix(key, url+" ") })
		}
	}
	r.pages[i] = r.newPage()
}

func (r *run) newVisitor(name string) *visitor {
	c := &visitor{
		name: name, agent: agentBrowser, permission: pick(r.rnd, []string{"restore", "restore", "recognise", "unasked", "deny"}),
		lang: pick(r.rnd, []string{"de", "en"}), login: r.rnd.IntN(3) == 0, other: r.rnd.IntN(4) == 0,
		cookies: make(map[string]string), links: make(map[string]string),
	}
	if r.rnd.IntN(6) == 0 {
		c.agent = agentBot
	}
	c.stored = [2]map[string]storedPage{make(map[string]storedPage), make(map[string]storedPage)}
	return c
}

// moves makes so many moves.
func (r *run) moves(n int) {
	for i := 0; i < n; {
		if r.rnd.IntN(80) == 0 {
			r.replacePage(r.rnd.IntN(len(r.pages)))
		}
		page := pick(r.rnd, r.pages)
		if r.rnd.IntN(20) == 0 {
			r.sites[wrapped].versions.change(page.url())
		}
		at := 1
		if r.rnd.IntN(15) == 0 {
			at = 2 + r.rnd.IntN(3)
		}
		var together []*move
		for _, j := range r.rnd.Perm(len(r.clients) + 1)[:at] {
			together = append(together, r.draw(i, j, page))
			i++
		}
		r.make(together)
	}
}

var encodings = []string{"identity", "gzip"}

// draw makes up a move of the client with that number; one more is a newcomer.
func (r *run) draw(number, client int, p page) *move {
	m := &move{number: number, page: p, url: p.url(), how: pick(r.rnd, hows), fetch: pick(r.rnd, fetches), encoding: encodings[client%2], offset: 1 + r.rnd.IntN(200)}
	if r.rnd.IntN(8) == 0 {
		m.encoding = encodings[1-client%2]
	}
	change, flip := r.rnd.IntN(40), pick(r.rnd, []string{"restore", "recognise", "unasked", "deny"})
	if client == len(r.clients) {
		m.client = r.newVisitor(fmt.Sprint("newcomer ", number))
		return m
	}
	m.client = r.clients[client]
	switch change {
	case 0:
		m.client.permission = flip
	case 1:
		clear(m.client.cookies)
	case 2:
		clear(m.client.stored[wrapped])
		clear(m.client.stored[bare])
	case 3:
		m.client.login = !m.client.login
	case 4, 5:
		m.page = page{strategy: p.strategy, kind: "pixel"}
		m.url = m.page.url()
	}
	return m
}

// make makes moves, all at a time, and judges what comes of them.
func (r *run) make(together []*move) {
	var done sync.WaitGroup
	for side := range r.sites {
		for _, m := range together {
			m.as = m.client.permission
			m.client.saidNo = m.client.saidNo || m.as == "deny"
			if m.client.agent == agentBot {
				m.as += ", a bot"
			}
			if side == bare && m.page.kind == "pixel" {
				continue
			}
			request := r.request(m, side)
			done.Add(1)
			go func() {
				defer done.Done()
				m.answers[side] = r.send(m, side, request)
			}()
		}
		done.Wait()
	}
	var others []answer
	for _, m := range together {
		others = append(others, m.answers[bare])
	}
	for _, m := range together {
		r.judge(m, others)
	}
	for _, m := range together {
		for side := range r.sites {
			m.client.keep(m, side)
		}
	}
}

func (m *move) key() string { return m.url + " " + m.encoding + " " + m.client.lang }

func (m *move) ranged() bool { return strings.Contains(m.how, "range") }

// madeUp looks like a token.
var madeUp = strings.Repeat("A", 43)

func (m *move) conditional() bool { return m.condition != "" }

// request is that of a move at one of the sites.
func (r *run) request(m *move, side int) *http.Request {
	method := http.MethodGet
	switch m.how {
	case "head", "head again":
		method = http.MethodHead
	case "post":
		method = http.MethodPost
	}
	q, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.front[side]+m.url, nil)
	require.NoError(r.t, err)
	c, h := m.client, q.Header
	q.Host = "shop.example"
	set := func(name, value string) {
		if value != "" {
			h.Set(name, value)
		}
	}
	set("User-Agent", c.agent)
	set("Accept", m.fetch.accept)
	set("Accept-Encoding", m.encoding)
	set("Sec-Fetch-Site", m.fetch.site)
	set("Sec-Fetch-Mode", m.fetch.mode)
	set("Sec-Fetch-Dest", m.fetch.dest)
	set("Sec-Purpose", m.fetch.extra)
	set("X-Client", c.name)
	set("X-Move", strconv.Itoa(m.number))
	set("X-Consent", c.permission)
	set("X-Lang", c.lang)
	if c.login {
		set("X-Login", "yes")
	}
	if m.page.kind == "pixel" {
		set("Referer", "http://shop.example/elsewhere")
		set("Revisit-Link", c.links[m.page.strategy])
	}
	cookies := []string{}
	if c.other {
		cookies = append(cookies, "other=1")
	}
	if own := c.cookies[m.page.strategy]; own != "" {
		m.hasCookie = true
		if side == bare {
			own = "standin=1" // some proxies ask the site for everybody who has any cookie
		}
		cookies = append(cookies, own)
	}
	set("Cookie", strings.Join(cookies, "; "))

	have := c.stored[side][m.key()]
	switch m.how {
	case "again", "head again":
		set("If-None-Match", have.tag)
		set("If-Modified-Since", have.date)
	case "tag":
		set("If-None-Match", have.tag)
	case "date":
		set("If-Modified-Since", have.date)
	case "reload":
		set("Cache-Control", "no-cache")
		set("Pragma", "no-cache")
	case "soft":
		set("Cache-Control", "max-age=0")
		set("If-None-Match", have.tag)
		set("If-Modified-Since", have.date)
	case "range", "if-range", "if-range date":
		set("Range", fmt.Sprintf("bytes=%d-", m.offset))
		if m.how == "if-range" && !strings.HasPrefix(have.tag, "W/") { // clients must not send a weak one
			set("If-Range", have.tag)
		} else if m.how == "if-range date" {
			set("If-Range", have.date)
		}
	case "made-up":
		set("If-None-Match", fmt.Sprintf(`"%s~v%06d~"`, madeUp, r.sites[side].versions.get(m.url)))
	case "two tags":
		if have.tag != "" {
			set("If-None-Match", `"another", `+have.tag)
		}
	}
	m.sent[side] = h.Get("If-None-Match") + h.Get("If-Range")
	if side == wrapped {
		m.condition = condition(h)
	}
	return q
}

// condition is what a request asks for a 304 by.
func condition(h http.Header) string {
	if tag := h.Get("If-None-Match"); tag != "" {
		return tag
	}
	return h.Get("If-Modified-Since")
}

// send sends a request and reads the answer to its end.
func (r *run) send(m *move, side int, q *http.Request) (a answer) {
	resp, err := transport.RoundTrip(q)
	if err != nil {
		return answer{err: err}
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return answer{err: fmt.Errorf("%d %v: %w", resp.StatusCode, resp.Header, err)}
	}
	a = answer{status: resp.StatusCode, header: resp.Header}
	if resp.Header.Get("Content-Encoding") == "gzip" && len(b) > 0 && resp.StatusCode != http.StatusPartialContent {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err == nil {
			b, err = io.ReadAll(z)
		}
		if err != nil {
			return answer{err: fmt.Errorf("%d %v: %w", resp.StatusCode, resp.Header, err)}
		}
	}
	a.body = string(b)
	a.version = m.versionOf(a, m.client.stored[side][m.key()])
	return a
}

// versionOf returns the version that the client ends up with.
func (m *move) versionOf(a answer, have storedPage) int {
	lang := ""
	if m.page.vary == "X-Lang" {
		lang = m.client.lang
	}
	switch {
	case m.page.kind == "pixel" || strings.HasPrefix(m.how, "head") && a.status != http.StatusNotModified:
		return -2
	case a.status == http.StatusNotModified:
		if have.body == "" || m.how == "made-up" || !m.conditional() {
			return -2
		}
		return have.version
	case a.status == http.StatusPartialContent:
		if a.header.Get("Content-Encoding") != "" {
			return -2 // a part of what is compressed
		}
		part := versionOf(m.page.kind, lang, a.body, m.offset, false)
		if strings.HasPrefix(m.how, "if-range") && have.body != "" && m.sent[wrapped] != "" && part != have.version {
			return -1 // the client puts it behind what it has
		}
		return part
	case a.status == http.StatusRequestedRangeNotSatisfiable, a.status == http.StatusPreconditionFailed:
		return -2
	}
	return versionOf(m.page.kind, lang, a.body, 0, true)
}

// keep stores what a browser would.
func (c *visitor) keep(m *move, side int) {
	a := m.answers[side]
	if a.err != nil || a.header == nil {
		return
	}
	if side == wrapped {
		for _, line := range a.header["Set-Cookie"] {
			pair, attributes, _ := strings.Cut(line, ";")
			c.cookies[m.page.strategy] = pair
			if strings.Contains(attributes, "1970") {
				delete(c.cookies, m.page.strategy)
			}
		}
		for _, line := range a.header["Server-Timing"] {
			c.links[m.page.strategy] = ticketInTime.FindString(line)
		}
	}
	if a.status == http.StatusOK && m.how != "post" && !strings.HasPrefix(m.how, "head") && !strings.Contains(a.header.Get("Cache-Control"), "no-store") && a.version != -1 {
		c.stored[side][m.key()] = storedPage{a.header.Get("Etag"), a.header.Get("Last-Modified"), a.body, a.version}
	}
}

// handlerAlone is what the handler answers to the wrapped request, were it never wrapped, and
// without a proxy.
func (r *run) handlerAlone(m *move) answer {
	q := r.request(m, wrapped)
	for _, name := range []string{"If-None-Match", "If-Range"} {
		if own := ownTags.ReplaceAllString(q.Header.Get(name), "${1}\"$2\""); own != "" {
			q.Header.Set(name, own)
		}
		if strings.Contains(q.Header.Get(name), `"~`) {
			q.Header.Del(name) // without us the client had no tag
		}
	}
	q.RequestURI = m.url
	q.URL.Host = ""
	w := httptest.NewRecorder()
	r.sites[bare].handler.ServeHTTP(w, q)
	a := answer{status: w.Code, header: w.Result().Header, body: w.Body.String()}
	a.version = m.versionOf(a, m.client.stored[wrapped][m.key()])
	return a
}

var ownTags = regexp.MustCompile(`(W/)?"[A-Za-z0-9_-]{43}~([^"]*)~(?:-[a-z]+)?"`)

// judge looks for faults in what the wrapped site's client got. others are what the bare
// site's clients got at the same time.
func (r *run) judge(m *move, others []answer) {
	s := r.sites[wrapped]
	w, b := m.answers[wrapped], m.answers[bare]
	m.current = s.versions.get(m.url)
	s.mu.Lock()
	m.asked = s.asked[strconv.Itoa(m.number)]
	delete(s.asked, strconv.Itoa(m.number))
	taken := s.faults
	s.faults = nil
	s.mu.Unlock()
	r.history[m.url] = append(r.history[m.url], *m)
	if len(r.history[m.url]) > historyLen {
		r.history[m.url] = r.history[m.url][1:]
	}
	for _, fault := range taken {
		kind := "session"
		if strings.HasPrefix(fault, "a ") {
			kind = "origin"
		}
		r.fault(m, kind, "%s", fault)
	}
	if w.err != nil {
		if b.err == nil {
			r.fault(m, "no answer", "%v", w.err)
		}
		return
	}
	// 1. Tokens reach their owners.
	for _, token := range append(tokensIn(w.header), ticketsIn(w.body)...) {
		r.stats.tokens++
		if owner := s.owner(token); owner != m.client.name {
			r.fault(m, "token", "%s was given a token of %s: %s", m.client.name, owner, token)
		}
	}
	if m.page.kind == "pixel" || b.err != nil {
		return
	}
	if _, name, ok := strings.Cut(b.body, "\nfor "); ok && name != m.client.name && isPrivate(allWays[m.page.way]) {
		r.strangers++
	}
	if slices.Contains([]int{http.StatusOK, http.StatusNotModified}, b.status) && b.version < m.current {
		r.stats.stale++
	}
	if name := w.header.Get("X-For"); m.madePrivate() && name != m.client.name {
		r.fault(m, "response", "%s was given the response of %s, which we have made private", m.client.name, name)
	}
	// 2. Bodies and validators are what the handler alone gives, or what comes from the bare site.
	given := r.given[m.url]
	for len(given) > 0 && time.Since(given[0].at) > r.proxy.forced+2*time.Second {
		given = given[1:]
	}
	for _, other := range others {
		given = append(given, sighting{other.version, time.Now()})
	}
	r.given[m.url] = given

	alone := sync.OnceValue(func() answer { return r.handlerAlone(m) })
	switch w.status {
	case http.StatusOK, b.status:
	case http.StatusNotModified:
		if !m.conditional() && !r.proxy.mixes {
			r.fault(m, "status", "a 304 that nobody has asked for")
		}
	case http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		// A cache answers with a part if it has all of the page by now, and what it has
		// compressed is shorter.
		if !m.ranged() || w.status == http.StatusRequestedRangeNotSatisfiable && m.encoding == "identity" {
			r.fault(m, "status", "the status is %d", w.status)
		}
	default:
		if w.status != alone().status {
			r.fault(m, "status", "the status is %d, the handler alone says %d", w.status, alone().status)
		}
	}
	allowed := func(version int) bool {
		return version == m.current || slices.ContainsFunc(others, func(a answer) bool {
			return version == a.version || !isPrivate(w.header) && a.version <= version && version <= m.current
		}) || !isPrivate(w.header) && slices.ContainsFunc(given, func(g sighting) bool { return g.version == version })
	}
	if r.proxy.mixes && r.mixed(m) {
		return
	}
	if w.version != -2 && !allowed(w.version) {
		r.fault(m, "body", "the body is of version %d", w.version)
	}
	for name, version := range r.validators(m, w, wrapped) {
		if w.version >= 0 && version != w.version || !allowed(version) {
			if of, ok := r.validators(m, b, bare)[name]; ok && of != b.version && b.version >= 0 {
				continue // the proxy mixes what the bare site says, too
			}
			if name == "Last-Modified" && w.status == http.StatusNotModified && version < w.version && !m.madePrivate() {
				continue // by its date the client's copy is newer than the cache's, which it may keep
			}
			r.fault(m, "validator", "%s is of version %d, and the body of %d", name, version, w.version)
		}
	}
	if w.status == b.status && w.status != http.StatusNotModified && (m.page.kind != "negotiated" || m.madePrivate()) {
		for _, name := range []string{"Content-Type", "Location"} {
			if got := w.header.Get(name); got != b.header.Get(name) && (got != "" || m.madePrivate()) && alone().status == w.status && got != alone().header.Get(name) {
				r.fault(m, "header", "%s is %q", name, got)
			}
		}
	}
	// 3. The 304s are there.
	if w.status == http.StatusNotModified {
		r.stats.notModified++
	}
	if b.status == http.StatusNotModified && w.status != http.StatusNotModified && alone().status == http.StatusNotModified {
		if why := r.wantsWhole(m); why == "" {
			r.fault(m, "lost 304", "the bare site's client has a 304")
		} else {
			r.stats.whole++
		}
	}
}

// mixed reports whether what a client got through Squid proves nothing, because no handler gets
// its own answers through it there: it takes variants of a page for one another, makes a page
// that is private for some heuristically fresh for others, cuts a part out of a page that has
// changed, and gives a part under status 200.
func (r *run) mixed(m *move) bool {
	w := m.answers[wrapped]
	if isPrivate(w.header) {
		return m.page.login || w.status == http.StatusPartialContent && m.asked != nil && m.asked.status == http.StatusOK
	}
	return m.page.varies() || m.ranged() || tokenInTag.FindString(m.sent[wrapped]) == ""
}

// madePrivate reports whether it is we who made the answer private. What a 304 of a part may have
// put into the copy of a cache is nobody's own.
func (m *move) madePrivate() bool {
	return !m.page.isPart() && isPrivate(m.answers[wrapped].header) && !isPrivate(allWays[m.page.way]) && !m.page.login
}

// wantsWhole says why a page comes whole that the handler alone answers with 304, "" for
// no reason. See docs/decisions/03 and 04.
func (r *run) wantsWhole(m *move) string {
	a, sent := m.asked, tokenInTag.FindStringSubmatch(strings.TrimPrefix(m.sent[wrapped], `"another", `))
	shared := !isPrivate(m.answers[wrapped].header)
	switch {
	case a == nil:
		if shared && sent == nil {
			return "the proxy answered, and nothing of it is ours"
		}
		return ""
	case a.condition != m.condition:
		// Private for somebody who is logged in is the application's word, on both sides alike.
		if shared || m.page.login || r.proxy.strips && (sent == nil || r.proxy.negates) {
			return "the proxy took the condition away"
		}
	case a.status == http.StatusNotModified:
		// Only a cache says how old an answer is: Squid, with collapsed_forwarding, also gives
		// a client its own private page so.
		if shared || m.answers[wrapped].header.Get("Age") != "" {
			return "the proxy took the 304 for its own copy"
		}
		if m.page.isPart() {
			return "the proxy lets go of its copy for a 304 that does not say what it is of"
		}
	case m.client.permission == "deny" && (sent != nil || m.hasCookie):
		return "it clears what the client has"
	case m.client.permission == "unasked" || m.client.agent == agentBot: // nothing is cleared, nothing begins
	case a.via == "new":
		return "it begins a session"
	case a.via == "" && m.client.saidNo:
		return "it clears the carriers of a session that was forgotten"
	case sent != nil && !a.id.IsZero() && idOf(sent[1]) != a.id:
		return "the stored tag is another session's"
	}
	return ""
}

func isPrivate(h http.Header) bool { return private.MatchString(h.Get("Cache-Control")) }

var (
	private    = regexp.MustCompile(`(?:^|,)\s*private\s*(?:,|$)`)
	tagVersion = regexp.MustCompile(`v(\d{6})`)
)

// validators returns the versions that the validators of an answer stand for.
func (r *run) validators(m *move, a answer, side int) map[string]int {
	found := make(map[string]int)
	tag := a.header.Get("Etag")
	if v := tagVersion.FindStringSubmatch(tag); v != nil {
		found["Etag"], _ = strconv.Atoi(v[1])
	} else if d := derived.FindString(tag); d != "" && side == wrapped && !strings.HasPrefix(d, "~~m") {
		s := r.sites[side]
		s.mu.Lock()
		if version, ok := s.at[m.url+m.client.lang+d]; ok {
			found["Etag"] = version
		}
		s.mu.Unlock()
	}
	if date, err := http.ParseTime(a.header.Get("Last-Modified")); err == nil {
		found["Last-Modified"] = int(date.Sub(modified(0)) / time.Hour)
	}
	return found
}

// fault notes one, with the latest moves at that URL.
func (r *run) fault(m *move, kind, format string, args ...any) {
	var b strings.Builder
	fmt.Fprintf(&b, "move %d: "+format+"\n  %s\n", append(append([]any{m.number}, args...), m.page)...)
	h := r.history[m.url]
	for i := len(h) - 1; i >= 0; i-- { // the latest first
		b.WriteString("  " + r.describe(h[i]) + "\n")
	}
	r.faults[kind] = append(r.faults[kind], b.String())
}

const historyLen = 10

func (r *run) describe(m move) string {
	of := func(a answer) string {
		if a.err != nil {
			return a.err.Error()
		}
		s := fmt.Sprintf("%d v%d", a.status, a.version)
		for _, name := range []string{"Cache-Control", "Etag", "Last-Modified", "Age", "Set-Cookie", "Server-Timing", "X-For"} {
			if lines := a.header[name]; lines != nil {
				s += fmt.Sprintf(" %s: %s;", name, r.short(strings.Join(lines, " | ")))
			}
		}
		return s
	}
	seen := "not asked"
	if m.asked != nil {
		seen = fmt.Sprintf("%d to %s, via %q", m.asked.status, r.short(m.asked.condition), m.asked.via)
	}
	return fmt.Sprintf("%d (now v%d) %s (%s) %s, for %s, %s, sends %s, cookie %v\n      wrapped (%s): %s\n      bare: sent %s, got %s", m.number, m.current, m.client.name, m.as, m.how, m.fetch.name, m.encoding, r.short(m.sent[wrapped]), m.hasCookie, seen,
		of(m.answers[wrapped]), m.sent[bare], of(m.answers[bare]))
}

var anyToken = regexp.MustCompile(`[A-Za-z0-9_-]{51}|[A-Za-z0-9_-]{43}`)

// short names the owners in place of their tokens.
func (r *run) short(s string) string {
	return anyToken.ReplaceAllStringFunc(s, func(token string) string {
		return "<" + r.sites[wrapped].owner(token) + ">"
	})
}

func seed(t *testing.T) uint64 {
	// A change is tried with moves that are known, long runs with others. (Known to fail, in a
	// careless configuration: 1796097184222797143 behind squid,_collapsed, where a made-up tag
	// gets a 304 that Squid takes for an older copy of its own.)
	s := uint64(34)
	if os.Getenv("REVISIT_FULL") != "" {
		s = uint64(time.Now().UnixNano())
	}
	if text := os.Getenv("REVISIT_SEED"); text != "" {
		var err error
		s, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("REVISIT_SEED=%d", s)
	return s
}
