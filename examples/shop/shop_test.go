package main

import (
	"bufio"
	"context"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// open starts the shop and returns its address, and a function that closes it.
func open(t *testing.T, args ...string) (address string, closeShop func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), in, io.Discard)
		in.Close()
	}()
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("the shop does not open: %v, %v", err, <-done)
	}
	_, address, _ = strings.Cut(strings.TrimSpace(line), ": ")
	closed := false
	closeShop = func() {
		if closed {
			return
		}
		closed = true
		stop()
		if rest, _ := io.ReadAll(lines); string(rest) != "The shop is closed.\n" {
			t.Errorf("the shop said %q at the end", rest)
		}
		if err := <-done; err != nil {
			t.Errorf("the shop ended with %v", err)
		}
	}
	t.Cleanup(closeShop)
	return strings.TrimSuffix(address, "/"), closeShop
}

type answer struct {
	*http.Response
	body string
}

func get(t *testing.T, c *http.Client, url string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return do(t, c, r)
}

func post(t *testing.T, c *http.Client, address string, form url.Values) answer {
	t.Helper()
	r, err := http.NewRequest("POST", address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(t, c, r)
}

func do(t *testing.T, c *http.Client, r *http.Request) answer {
	t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(body)}
}

func client() *http.Client {
	jar, _ := cookiejar.New(nil)
	return &http.Client{Jar: jar}
}

// What the README says of curl.
func TestTheETagSessionByHand(t *testing.T) {
	address, _ := open(t, "-strategy", "etag", "-consent", "granted")
	first := get(t, http.DefaultClient, address+"/")
	tag, id := first.Header.Get("Etag"), first.Header.Get("X-Session-Id")
	if first.StatusCode != 200 || len(tag) < 46 || tag[44] != '~' || first.Header.Get("Cache-Control") != "private, no-cache" ||
		first.Header.Get("X-Session-Via") != "new" || first.Header.Get("X-Session-Hits") != "1" || len(first.Header["Set-Cookie"]) != 0 {
		t.Fatalf("first visit: %v %v", first.Status, first.Header)
	}
	for _, sent := range []string{tag, "W/" + tag, strings.TrimSuffix(tag, `"`) + `-gzip"`, `W/` + strings.TrimSuffix(tag, `"`) + `-gzip"`, `"x", ` + tag + `, W/"y"`} {
		again := get(t, http.DefaultClient, address+"/", "If-None-Match", sent)
		if again.StatusCode != 304 || again.Header.Get("X-Session-Id") != id || again.Header.Get("X-Session-Via") != "etag" {
			t.Errorf("%s: %v %v", sent, again.Status, again.Header)
		}
	}
	damaged := tag[:10] + "-_" + tag[12:]
	other := get(t, http.DefaultClient, address+"/", "If-None-Match", damaged)
	if other.StatusCode != 200 || other.Header.Get("X-Session-Id") == id || other.Header.Get("X-Session-Via") != "new" {
		t.Errorf("damaged: %v %v", other.Status, other.Header)
	}
}

func TestTheFrontPageIsTheSameFromVisitToVisit(t *testing.T) {
	address, _ := open(t, "-consent", "granted")
	c := client()
	get(t, c, address+"/") // whether the cookie is kept is not known yet, so this one has a frame
	first, second := get(t, c, address+"/"), get(t, c, address+"/")
	if first.body != second.body {
		t.Error("the page differs")
	}
	if first.Header.Get("X-Session-Id") != second.Header.Get("X-Session-Id") || second.Header.Get("X-Session-Via") != "cookie" {
		t.Errorf("not recognised: %v", second.Header)
	}
	if len(second.Header["Set-Cookie"]) != 0 {
		t.Errorf("cookies of the page's own: %q", second.Header["Set-Cookie"])
	}
}

func TestSessionHeadersNeverStandOnASharedAnswer(t *testing.T) {
	address, _ := open(t, "-consent", "granted")
	c := client()
	get(t, c, address+"/")
	for _, path := range []string{"/", "/product/mug", "/product/none", "/nowhere", "/known", "/cart", "/contact", "/static/style.css", "/static/mug/picture.svg", "/static/none/picture.svg"} {
		r := get(t, c, address+path)
		cc := r.Header.Get("Cache-Control")
		if r.Header.Get("X-Session-Id") != "" && cc != "private, no-cache" {
			t.Errorf("%s: %s with a session, Cache-Control %q", path, r.Status, cc)
		}
		if strings.Contains(cc, "public") && (len(r.Header["Set-Cookie"]) > 0 || strings.Contains(r.Header.Get("Etag"), "~")) {
			t.Errorf("%s: %v", path, r.Header)
		}
	}
}

func TestConsentIsAskedTakenAndTakenBack(t *testing.T) {
	address, _ := open(t, "-consent", "optin")
	c := client()
	r := get(t, c, address+"/")
	if r.Header.Get("X-Session-Id") != "" || !strings.Contains(r.body, "May we recognise you") || len(r.Header["Set-Cookie"]) != 0 {
		t.Fatalf("before consent: %v", r.Header)
	}
	r = post(t, c, address+"/consent", url.Values{"answer": {"yes"}, "back": {"/"}})
	id := r.Header.Get("X-Session-Id")
	if id == "" || strings.Contains(r.body, "May we recognise you") {
		t.Fatalf("after consent: %v", r.Header)
	}
	post(t, c, address+"/contact", url.Values{"mail": {"ann@example.com"}})
	if r = get(t, c, address+"/known"); !strings.Contains(r.body, id) || !strings.Contains(r.body, "L0001") {
		t.Errorf("known: %s", r.body)
	}
	if r = post(t, c, address+"/forget", nil); r.Header.Get("X-Session-Id") != "" || !strings.Contains(r.body, "Nothing.") {
		t.Errorf("after forget: %v %s", r.Header, r.body)
	}
	r = post(t, c, address+"/consent", url.Values{"answer": {"yes"}})
	second := r.Header.Get("X-Session-Id")
	post(t, c, address+"/consent", url.Values{"answer": {"no"}})
	post(t, c, address+"/consent", url.Values{"answer": {"yes"}})
	if r = get(t, c, address+"/"); r.Header.Get("X-Session-Id") == second {
		t.Error("who took the yes back was recognised later")
	}
	if r = get(t, c, address+"/"); r.Header.Get("X-Session-Id") == id {
		t.Error("the forgotten session has returned")
	}
	if r = post(t, c, address+"/consent", url.Values{"answer": {"maybe"}}); r.StatusCode != 400 {
		t.Errorf("maybe: %v", r.Status)
	}
}

// What was seen before consent is not kept, so the banner must lead back to the
// tagged address.
func TestTheCampaignIsNotLostToTheBanner(t *testing.T) {
	address, _ := open(t)
	c := client()
	page := get(t, c, address+"/?utm_source=newsletter&utm_campaign=spring").body
	_, rest, _ := strings.Cut(page, `name="back" value="`)
	back, _, _ := strings.Cut(rest, `"`)
	post(t, c, address+"/consent", url.Values{"answer": {"yes"}, "back": {html.UnescapeString(back)}})
	if known := get(t, c, address+"/known").body; !strings.Contains(known, "spring") {
		t.Errorf("back to %s: %s", back, known)
	}
}

func TestTheBannerLeadsBackToThisSiteOnly(t *testing.T) {
	address, _ := open(t)
	c := client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for back, want := range map[string]string{"/cart": "/cart", "": "/", "https://evil.example/": "/", "//evil.example/": "/", `/\evil.example`: "/", "x": "/"} {
		r := post(t, c, address+"/consent", url.Values{"answer": {"yes"}, "back": {back}})
		if r.Header.Get("Location") != want {
			t.Errorf("back to %q leads to %q", back, r.Header.Get("Location"))
		}
	}
}

func TestARestartWithTheSameDataRecognises(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	c := client()
	first, closeShop := open(t, "-consent", "granted", "-data", dir)
	id := get(t, c, first+"/").Header.Get("X-Session-Id")
	closeShop()
	second, closeShop := open(t, "-consent", "granted", "-data", dir)
	r := get(t, c, second+"/")
	if r.Header.Get("X-Session-Id") != id || r.Header.Get("X-Session-Via") != "cookie" || r.Header.Get("X-Session-Hits") != "2" {
		t.Errorf("not recognised after a restart, or its page views are gone: %v", r.Header)
	}
	closeShop()
	if info, err := os.Stat(filepath.Join(dir, "key")); err != nil || info.Mode().Perm() != 0o600 || info.Size() != 32 {
		t.Errorf("key: %v, %v", info, err)
	}
	third, _ := open(t, "-consent", "granted")
	if r := get(t, c, third+"/"); r.Header.Get("X-Session-Id") == id {
		t.Error("recognised without the key")
	}
}

// A shop that is killed in the middle of its work has lost nothing that it has
// answered.
func TestAKilledShopKeepsWhatItCounted(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "shop")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	data := t.TempDir()
	start := func() (address string, kill func()) {
		cmd := exec.Command(binary, "-addr", "127.0.0.1:0", "-consent", "granted", "-data", data)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		_, address, _ = strings.Cut(strings.TrimSpace(line), ": ")
		return strings.TrimSuffix(address, "/"), func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	c := client()
	answered := 0
	for range 4 {
		address, kill := start()
		u, _ := url.Parse(address)
		var under sync.WaitGroup
		stop := make(chan struct{})
		for range 2 { // others, so that it is busy when it dies
			under.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if resp, err := http.Get(address + "/"); err == nil {
							resp.Body.Close()
						}
					}
				}
			})
		}
		for range 25 {
			// The jar knows hosts, not ports.
			r := get(t, c, "http://"+u.Host+"/")
			answered++
			if hits := r.Header.Get("X-Session-Hits"); hits != strconv.Itoa(answered) {
				t.Errorf("the visitor has seen %d pages, the shop says %s", answered, hits)
			}
		}
		kill()
		close(stop)
		under.Wait()
	}
}

func TestTheCartAndTheLead(t *testing.T) {
	address, _ := open(t, "-consent", "granted")
	c := client()
	get(t, c, address+"/?utm_source=newsletter&utm_campaign=spring")
	post(t, c, address+"/cart", url.Values{"sku": {"mug"}})
	r := post(t, c, address+"/cart", url.Values{"sku": {"lamp"}})
	if !strings.Contains(r.body, "€ 93.00") {
		t.Errorf("cart: %s", r.body)
	}
	if r := post(t, c, address+"/cart", url.Values{"sku": {"none"}}); r.StatusCode != 404 {
		t.Errorf("no such product: %v", r.Status)
	}
	if r := post(t, c, address+"/contact", url.Values{"mail": {"nobody"}}); r.StatusCode != 422 {
		t.Errorf("no address: %v", r.Status)
	}
	if r := post(t, c, address+"/contact", url.Values{"mail": {"ann@example.com"}}); !strings.Contains(r.body, "spring") {
		t.Errorf("lead: %s", r.body)
	}
}

// Under tags alone a form says whose it is.
func TestTheLeadUnderTagsAlone(t *testing.T) {
	address, _ := open(t, "-strategy", "etag", "-consent", "granted")
	page := get(t, http.DefaultClient, address+"/contact")
	_, rest, _ := strings.Cut(page.body, `<form method="post" action="/contact" class="fields"><input type="hidden" name="revisit" value="`)
	ticket, _, ok := strings.Cut(rest, `"`)
	if !ok {
		t.Fatalf("no field: %s", page.body)
	}
	r, err := http.NewRequest("POST", address+"/contact", strings.NewReader(url.Values{"revisit": {ticket}, "mail": {"ann@example.com"}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", address)
	if sent := do(t, http.DefaultClient, r); sent.Header.Get("X-Session-Id") != page.Header.Get("X-Session-Id") || sent.Header.Get("X-Session-Via") != "form" {
		t.Errorf("got %v, want the session of %v", sent.Header, page.Header)
	}
}

func TestThePagesBesides(t *testing.T) {
	address, _ := open(t, "-consent", "granted")
	about := get(t, client(), address+"/about")
	if !strings.Contains(about.body, `<img src="/revisit/pixel.gif"`) || about.Header.Get("X-Session-Id") != "" || about.Header.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("about: %v %s", about.Header, about.body)
	}
	for path, status := range map[string]int{"/tour": 200, "/tour/anchor": 200, "/tour/none": 404, "/static/tour.js": 200, "/revisit/pixel.gif": 200, "/revisit/revisit.js": 200} {
		r := get(t, client(), address+path)
		if r.StatusCode != status {
			t.Errorf("%s: %v", path, r.Status)
		}
		if path == "/tour/anchor" && (!strings.Contains(r.body, `<section id="step-anchor"><h2>`) || !strings.Contains(r.body, `<section id="step-no" hidden>`)) {
			t.Errorf("%s: %s", path, r.body)
		}
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for _, args := range [][]string{{"-strategy", "x"}, {"-consent", "x"}, {"-addr", "x"}, {"x"}, {"-data", "/dev/null/x"}} {
		if err := run(context.Background(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
