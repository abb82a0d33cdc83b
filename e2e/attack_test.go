package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// ask sends a request by hand, as an attacker does who sits behind the victim's
// address and has the same browser.
func (s *site) ask(t *testing.T, host, path string, like http.Header, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest("GET", s.scheme+"://127.0.0.1:"+s.port+path, nil)
	require.NoError(t, err)
	r.Host = host + ":" + s.port
	for _, name := range []string{"User-Agent", "Accept-Language"} {
		r.Header.Set(name, like.Get(name))
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

var (
	frameTicket = regexp.MustCompile(`/revisit/link/([A-Za-z0-9_-]{51})`)
	linkTicket  = regexp.MustCompile(`rv;desc="([A-Za-z0-9_-]{51})`)
	fieldTicket = regexp.MustCompile(`name="revisit" value="([A-Za-z0-9_-]{51})`)
)

// Another site sends a visitor to the anchor, the frame and the forms in every
// way that a page can, with tickets of a session of its own; and plants its
// cookie. The visitor stays who he is, and what he says of himself afterwards is
// not reported to the attacker.
func TestAnotherSiteCannotFixASession(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			for _, strategy := range []string{"etag", "hybrid"} {
				t.Run(strategy, func(t *testing.T) {
					s := newSite(t, revisit.Config{Strategy: strategyOf(strategy, false)}, false)
					host := strategy + "-victim.localhost"
					open := func(path string) {
						t.Helper()
						mark := s.mark()
						b.visit(t, s.at(host, path))
						s.until(t, mark, path, func(log []asked) bool { return count(log, path) > 0 })
					}
					for range 2 {
						mark := s.mark()
						b.visit(t, s.at(host, "/page/0"))
						s.settled(t, mark, "/page/0", true)
					}
					confirmed, _ := s.store.sessions(t)
					require.Len(t, confirmed, 1)
					victim := confirmed[0].ID
					like := s.since(0)[0].request

					resp, body := s.ask(t, host, "/page/mine", like)
					link, frame := linkTicket.FindStringSubmatch(resp.Header.Get("Server-Timing")), frameTicket.FindStringSubmatch(body)
					require.NotNil(t, link)
					require.NotNil(t, frame)
					form, formBody := s.ask(t, host, "/form", like)
					field := fieldTicket.FindStringSubmatch(formBody)
					require.NotNil(t, field)
					planted := ""
					for _, c := range resp.Cookies() {
						planted = c.Value
					}
					attackers := map[string]bool{form.Header.Get("X-Session-Id"): true}
					_, all := s.store.sessions(t)
					for _, r := range all {
						if r.ID != victim {
							attackers[r.ID.String()] = true
						}
					}
					require.Len(t, attackers, 2)

					evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Content-Type", "text/html")
						w.Header().Set("Referrer-Policy", "unsafe-url")
						shop := s.at(host, "")
						switch r.URL.Query().Get("how") {
						case "embed":
							fmt.Fprintf(w, `<!DOCTYPE html><img src="%[1]s/revisit/pixel.gif"><iframe src="%[1]s/revisit/link/%[2]s"></iframe>
								<iframe src="%[1]s/revisit/pixel.gif"></iframe><script>
								const all = [fetch("%[1]s/revisit/pixel.gif", {credentials: "include", mode: "no-cors"}),
									fetch("%[1]s/revisit/pixel.gif", {credentials: "include", headers: {"Revisit-Link": "%[3]s"}}),
									fetch("%[1]s/revisit/link/%[2]s", {credentials: "include", mode: "no-cors"}),
									fetch("%[1]s/revisit/forget", {method: "POST", credentials: "include", mode: "no-cors"})];
								Promise.allSettled(all).then(() => fetch("/done")); </script>`, shop, frame[1], link[1])
						case "anchor":
							fmt.Fprintf(w, `<!DOCTYPE html><a href="%s/revisit/pixel.gif">go</a>`, shop)
						case "frame":
							fmt.Fprintf(w, `<!DOCTYPE html><a href="%s/revisit/link/%s">go</a>`, shop, frame[1])
						case "forget":
							fmt.Fprintf(w, `<!DOCTYPE html><form method="post" action="%s/revisit/forget"><button value="">go</button></form>`, shop)
						case "form":
							fmt.Fprintf(w, `<!DOCTYPE html><form method="post" action="%s/form"><input name="revisit" value="%s"><input name="mail" value="eve"><button value="">go</button></form>`, shop, field[1])
						}
					}))
					defer evil.Close()
					port := evil.URL[strings.LastIndexByte(evil.URL, ':'):]
					// The path is that of a frame of ours.
					at := func(how string) string {
						return "http://evil.localhost" + port + "/revisit/link/" + frame[1] + "?how=" + how
					}
					mark := s.mark()
					b.visit(t, at("embed"))
					s.until(t, mark, "the attacks of a page", func(log []asked) bool {
						return count(log, anchor) >= 3 && count(log, "/revisit/link/"+frame[1]) >= 2 && count(log, "/revisit/forget") >= 1
					})
					for how, path := range map[string]string{"anchor": anchor, "frame": "/revisit/link/" + frame[1]} {
						mark := s.mark()
						b.visit(t, at(how))
						whenThere(t, b, "a", "click")
						s.until(t, mark, how, func(log []asked) bool { return count(log, path) > 0 })
					}
					for how, path := range map[string]string{"forget": "/revisit/forget", "form": "/form"} {
						mark := s.mark()
						b.visit(t, at(how))
						whenThere(t, b, "form", "requestSubmit")
						s.until(t, mark, how, func(log []asked) bool { return count(log, path) > 0 })
					}
					for _, a := range s.since(mark) {
						if strings.HasPrefix(a.path, "/revisit/link/") {
							assert.Equal(t, "", a.response.Get("Etag"))
						}
						if a.path == "/revisit/forget" {
							assert.Equal(t, http.StatusForbidden, a.status)
						}
					}

					// A cookie of the attacker's beside the visitor's own.
					if strategy == "hybrid" {
						require.NotEmpty(t, planted)
						open("/page/0")
						b.run(t, fmt.Sprintf(`document.cookie = "revisit=%s; path=/form"; return 0`, planted))
					}

					// Now he says who he is.
					open("/form")
					b.run(t, `document.querySelector("form input[name=mail]").value = "ann@example.com"; return 0`)
					mark = s.mark()
					b.submit(t, "/form", "")
					s.until(t, mark, "the form", func(log []asked) bool { return count(log, "/form") > 0 })
					confirmed, all = s.store.sessions(t)
					for _, r := range all {
						if attackers[r.ID.String()] {
							assert.Empty(t, r.Values["lead"].Text, "the attacker's session")
							assert.Empty(t, r.MergedSessions)
						}
					}
					r, err := s.store.Load(t.Context(), victim)
					require.NoError(t, err)
					assert.False(t, r.Forgotten)
					assert.False(t, attackers[r.MergedInto.String()])
					notified := 0
					for _, r := range confirmed {
						if r.Values["lead"].Text == "ann@example.com" {
							notified++
						}
					}
					assert.Equal(t, 1, notified, "it is reported to the visitor's own session")
				})
			}
		})
	}
}

// A cookie with the prefix __Host- cannot be planted beside another, nor
// replaced by a script.
func TestAHostCookieCannotBePlanted(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			s := newSite(t, revisit.Config{Strategy: revisit.Hybrid(revisit.Cookie{}, revisit.ETag{})}, true)
			b.visit(t, s.at("shop.localhost", "/page/0"))
			s.settled(t, 0, "/page/0", true)
			b.run(t, `for (const more of ["path=/page", "path=/", "path=/; domain=shop.localhost", "path=/page; domain=localhost"])
				document.cookie = "__Host-revisit=AZq1pnUAcBGiM0RVZneImZdAnv1B7GxC3BWLV1xamw8; secure; " + more; return 0`)
			mark := s.mark()
			b.visit(t, s.at("shop.localhost", "/page/0"))
			s.settled(t, mark, "/page/0", true)
			cookie := s.since(mark)[0].request.Get("Cookie")
			assert.Equal(t, 1, strings.Count(cookie, "__Host-revisit="), cookie)
			assert.NotContains(t, cookie, "AZq1pnUA")
		})
	}
}

// A picture of another site may tell the page's script what it likes: it is not
// listened to. Nor is one that an address of ours leads to.
func TestAPictureCannotJoinItsReader(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			for _, strategy := range []string{"etag", "hybrid"} {
				s := newSite(t, revisit.Config{Strategy: strategyOf(strategy, false)}, false)
				host := strategy + "-reader.localhost"
				planted := make(chan string, 10)
				evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					// A ticket of this very moment, for this very browser.
					resp, _ := s.ask(t, host, "/page/mine", r.Header)
					link := linkTicket.FindStringSubmatch(resp.Header.Get("Server-Timing"))[1]
					planted <- link
					w.Header().Set("Timing-Allow-Origin", "*")
					w.Header().Set("Access-Control-Allow-Origin", "*")
					w.Header().Set("Server-Timing", `rv;desc="`+link+`"`)
					w.Header().Set("Content-Type", "image/svg+xml")
					fmt.Fprint(w, `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`)
				}))
				defer evil.Close()
				s.review = fmt.Sprintf(`<img alt="" src="%[1]s/a.svg"><img alt="" src="/out?to=%[1]s/b.svg"><script src="/static/fetch.js?to=%[1]s/c.svg"></script>`, evil.URL)
				b.visit(t, s.at(host, "/review"))
				for range 4 { // two pictures, and two that script fetches
					<-planted
				}
				s.until(t, 0, "the anchor", func(log []asked) bool { return count(log, anchor) > 0 })
				mark := s.mark()
				b.visit(t, s.at(host, "/review")) // whatever it still wanted to say
				s.until(t, mark, "the pictures", func(log []asked) bool { return count(log, "/out") > 0 })
				_, all := s.store.sessions(t)
				for _, r := range all {
					assert.Empty(t, r.MergedSessions, strategy)
				}
			}
		})
	}
}

// whenThere calls a method of the first element of its kind, once the page has it: what
// the browser did last may still be under way.
func whenThere(t *testing.T, b browser, element, method string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if b.run(t, fmt.Sprintf(`const e = document.querySelector(%q); if (e) setTimeout(() => e.%s()); return !!e`, element, method)) == "true" {
			return
		}
		require.True(t, time.Now().Before(end), "the page has no %s", element)
	}
}
