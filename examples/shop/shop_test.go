package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
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
	said := make(chan string, 1)
	go func() {
		rest, _ := io.ReadAll(lines)
		said <- string(rest)
	}()
	closeShop = sync.OnceFunc(func() {
		stop()
		if rest := <-said; !strings.HasSuffix(rest, "The shop is closed.\n") {
			t.Errorf("the shop said %q at the end", rest)
		}
		if err := <-done; err != nil {
			t.Errorf("the shop ended with %v", err)
		}
	})
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
	if r = get(t, c, address+"/known"); !strings.Contains(r.body, id) || !regexp.MustCompile(`<td>L[A-Z0-9]{8}</td>`).MatchString(r.body) {
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

// Requests that carry nothing are one visitor's as long as they look alike.
func TestTheFingerprintByHand(t *testing.T) {
	address, _ := open(t, "-strategy", "fingerprint", "-consent", "granted")
	one := []string{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) One/1", "Accept-Language", "de"}
	first := get(t, http.DefaultClient, address+"/", one...)
	again := get(t, http.DefaultClient, address+"/cart", one...)
	other := get(t, http.DefaultClient, address+"/", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Two/1", "Accept-Language", "de")
	id := first.Header.Get("X-Session-Id")
	if id == "" || first.Header.Get("X-Session-Via") != "new" || len(first.Header["Set-Cookie"]) != 0 || strings.Contains(first.Header.Get("Etag"), "~") {
		t.Errorf("first: %v", first.Header)
	}
	if again.Header.Get("X-Session-Id") != id || again.Header.Get("X-Session-Via") != "fingerprint" || again.Header.Get("X-Session-Hits") != "2" {
		t.Errorf("again: %v", again.Header)
	}
	if other.Header.Get("X-Session-Id") == id || other.Header.Get("X-Session-Via") != "new" {
		t.Errorf("other: %v", other.Header)
	}
	if silent := get(t, http.DefaultClient, address+"/", append(one, "Sec-GPC", "1")...); silent.Header.Get("X-Session-Id") != "" {
		t.Errorf("Global Privacy Control: %v", silent.Header)
	}
	if bot := get(t, http.DefaultClient, address+"/", "User-Agent", "Googlebot/2.1 (+http://www.google.com/bot.html)"); bot.Header.Get("X-Session-Id") != "" {
		t.Errorf("a crawler: %v", bot.Header)
	}
}

// Beside tokens it is a guess, which the page about you calls by its name; and with
// -tls that page shows what the handshake has said.
func TestTheGuessAndTheHandshake(t *testing.T) {
	address, _ := open(t, "-strategy", "hybrid+fingerprint", "-consent", "granted", "-tls")
	jar, _ := cookiejar.New(nil)
	c := &http.Client{Jar: jar, Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	first := get(t, c, address+"/")
	if again := get(t, c, address+"/known"); again.Header.Get("X-Session-Via") != "cookie" || again.ProtoMajor != 2 ||
		!regexp.MustCompile(`<code id="ja4">t13i[0-9]{4}h2_[0-9a-f]{12}_[0-9a-f]{12}</code>`).MatchString(again.body) {
		t.Errorf("%v %s", again.Header, again.body)
	}
	c.Jar = nil // a private window
	other := get(t, c, address+"/known")
	if other.Header.Get("X-Session-Via") != "new" || other.Header.Get("X-Session-Id") == first.Header.Get("X-Session-Id") ||
		!strings.Contains(other.body, "somebody who was here before (no more than a guess)") || strings.Contains(other.body, first.Header.Get("X-Session-Id")) {
		t.Errorf("%v %s", other.Header, other.body)
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

// A campaign, days, a purchase at the payment provider: the dashboard has the order
// under the campaign, once, and the visitor's timeline.
func TestAnOrderIsTheCampaigns(t *testing.T) {
	address, _ := open(t, "-consent", "granted")
	c := client()
	id := get(t, c, address+"/?utm_source=newsletter&utm_medium=mail&utm_campaign=spring").Header.Get("X-Session-Id")
	get(t, c, address+"/product/teapot")
	post(t, c, address+"/cart", url.Values{"sku": {"teapot"}})
	if page := get(t, c, address+"/checkout"); !strings.Contains(page.body, "€ 49.00") || !strings.Contains(page.Header.Get("Content-Security-Policy"), "form-action 'self' http://127.0.0.1:") {
		t.Fatalf("%v %s", page.Header, page.body)
	}
	pay := post(t, c, address+"/checkout", nil)
	back := regexp.MustCompile(`name="back" value="([^"]+)"`).FindStringSubmatch(pay.body)
	if back == nil || !strings.Contains(pay.body, "4900 cents") || pay.Request.URL.Host == strings.TrimPrefix(address, "http://") {
		t.Fatalf("%v %s", pay.Request.URL, pay.body)
	}
	if before := get(t, c, address+"/dashboard"); strings.Contains(before.body, "€ 49.00") {
		t.Error("it is not paid yet")
	}
	// Nobody can say that it is paid but the provider; and it is one order, however often the
	// form is sent.
	if unpaid := get(t, c, html.UnescapeString(back[1])); unpaid.StatusCode != 403 {
		t.Error(unpaid.Status)
	}
	for _, proof := range []string{"", pay.Request.URL.Query().Get("mac")} {
		if unpaid := get(t, c, html.UnescapeString(back[1])+"&proof="+proof); unpaid.StatusCode != 403 {
			t.Error(unpaid.Status)
		}
	}
	if twice := post(t, c, address+"/checkout", nil); twice.Request.URL.Query().Get("order") != pay.Request.URL.Query().Get("order") {
		t.Errorf("%v and %v", pay.Request.URL, twice.Request.URL)
	}
	paid := post(t, c, "http://"+pay.Request.URL.Host+"/pay", pay.Request.URL.Query())
	order := regexp.MustCompile(`<strong id="order">(O[A-Z0-9]{10})</strong>`).FindStringSubmatch(paid.body)
	if order == nil || paid.Header.Get("X-Session-Id") != id {
		t.Fatalf("%v %s", paid.Header, paid.body)
	}
	get(t, c, paid.Request.URL.String()) // loaded again
	for _, model := range []string{"", "first", "linear", "position based"} {
		board := get(t, http.DefaultClient, address+"/dashboard?"+url.Values{"model": {model}}.Encode())
		if !strings.Contains(board.body, `<th scope="row">newsletter / spring</th><td class="number">1</td><td class="number wide-only">0</td><td class="number">1.0</td><td class="number">€ 49.00</td>`) ||
			strings.Count(board.body, order[1]) != 1 || !strings.Contains(board.body, "/dashboard/visitor/"+id) {
			t.Errorf("%s: %s", model, board.body)
		}
		if strings.Contains(board.body, `src="http`) || strings.Contains(board.body, `href="http`) {
			t.Error("something is loaded from elsewhere")
		}
	}
	line := get(t, http.DefaultClient, address+"/dashboard/visitor/"+id)
	if !strings.Contains(line.body, "<strong>visit</strong> newsletter / spring") || !strings.Contains(line.body, "<strong>order</strong> "+order[1]+": Teapot") {
		t.Error(line.body)
	}
	if strange := get(t, http.DefaultClient, address+"/dashboard/visitor/01890a5d-ac96-774b-bcce-b302099a8057"); strange.StatusCode != 404 {
		t.Error(strange.Status)
	}
	forged := strings.Replace(paid.Request.URL.String(), "proof=", "proof=0", 1)
	if r := get(t, c, forged); r.StatusCode != 403 {
		t.Error(r.Status)
	}
	// Whoever is forgotten is on the dashboard no more; the order is nobody's.
	post(t, c, address+"/forget", nil)
	if board := get(t, http.DefaultClient, address+"/dashboard"); strings.Contains(board.body, id) || !strings.Contains(board.body, order[1]) {
		t.Error(board.body)
	}
	if line := get(t, http.DefaultClient, address+"/dashboard/visitor/"+id); line.StatusCode != 404 {
		t.Error(line.Status)
	}
}

// The payment provider sends nobody anywhere but to the shop.
func TestThePaymentProviderIsNoOpenRedirect(t *testing.T) {
	address, _ := open(t, "-consent", "granted")
	c := client()
	post(t, c, address+"/cart", url.Values{"sku": {"mug"}})
	pay := post(t, c, address+"/checkout", nil)
	for _, back := range []string{"http://evil.example/", "javascript:alert(1)", "//evil.example", "", "http://127.0.0.1:1/"} {
		request := pay.Request.URL.Query()
		request.Set("back", back)
		if r := post(t, c, "http://"+pay.Request.URL.Host+"/pay", request); r.StatusCode != 400 {
			t.Errorf("%q: %v", back, r.Status)
		}
	}
}

// With -seed-days the dashboard has something to show: the same at each start, once.
func TestTheMadeUpHistory(t *testing.T) {
	dir := t.TempDir()
	figures := regexp.MustCompile(`<li><strong>([0-9]+)</strong> new visitors</li>`)
	var before []string
	for range 2 {
		address, closeShop := open(t, "-seed-days", "5", "-data", dir)
		var found []string
		for range 600 {
			board := get(t, http.DefaultClient, address+"/dashboard")
			if !strings.Contains(board.body, "is being written") {
				found = figures.FindStringSubmatch(board.body)
				for _, want := range []string{"google / teapots", "direct", "<td class=\"number\">€ ", "timeline"} {
					if !strings.Contains(board.body, want) {
						t.Errorf("no %q: %s", want, board.body)
					}
				}
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if found == nil || len(found[1]) < 2 {
			t.Fatalf("%v new visitors", found)
		}
		if before != nil && before[1] != found[1] {
			t.Errorf("%v, and after a restart %v", before, found)
		}
		before = found
		closeShop()
	}
}

// The dashboard has no login, so it is for who sits at the machine.
func TestTheDashboardIsNotForEverybody(t *testing.T) {
	for _, from := range []string{"192.0.2.1:1", "[2001:db8::1]:1", "nonsense"} {
		r := httptest.NewRequest("GET", "/dashboard", nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		forThisMachine(func(http.ResponseWriter, *http.Request) { t.Error(from) })(w, r)
		if w.Code != 403 {
			t.Error(w.Code)
		}
	}
}
