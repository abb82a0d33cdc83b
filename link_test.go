package revisit

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func ticketRequest(edit ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest("GET", "https://shop.example/", nil)
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0")
	r.Header.Set("Accept-Language", "de,en;q=0.5")
	r.RemoteAddr = "198.51.100.7:40000"
	for _, e := range edit {
		e(r)
	}
	return r
}

func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = address }
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func bindingOf(r *http.Request) *binding {
	v := &Visit{tracker: &Tracker{}, request: r}
	v.bind()
	return v.bound
}

func sealFor(k *keyring, purpose string, t ticket, r *http.Request) string {
	return k.sealTicket(purpose, t, bindingOf(r))
}

func openFor(k *keyring, purpose, text string, r *http.Request) (ticket, bool) {
	return k.openTicket(purpose, text, bindingOf(r))
}

// The wire format is kept: pages that are in browsers' caches have it.
func TestGoldenTicket(t *testing.T) {
	k := newKeyring([][]byte{[]byte("0123456789abcdef0123456789abcdef")})
	id, err := ParseID("01890a5d-ac96-774b-bcce-b302099a8057")
	require.NoError(t, err)
	link := ticket{id: id, joins: 3, issued: 1_700_000_000}
	assert.Equal(t, "AYkKXayWd0u8zrMCCZqAVwADZVPxABs8DdIp4v_a3qQBR6ON2-4", sealFor(k, viaLink, link, ticketRequest()))
	assert.Equal(t, "AYkKXayWd0u8zrMCCZqAVwAAAAAAABTeU_0FQ3fcS378zaV47K8", sealFor(k, viaForm, ticket{id: id}, ticketRequest()))
	assert.Equal(t, sealFor(k, viaLink, link, ticketRequest())[:24], sealFor(k, viaLink, ticket{id: id, joins: 3, issued: 1}, ticketRequest())[:24],
		"the script knows what it has sent by the first 24 characters")
}

// A ticket is worth nothing for another purpose, in another browser, on another
// network, under another key, or changed.
func TestATicketIsBound(t *testing.T) {
	k := newKeyring([][]byte{[]byte("0123456789abcdef0123456789abcdef")})
	want := ticket{id: newID(time.Now()), joins: 7, issued: 42}
	text := sealFor(k, viaLink, want, ticketRequest())
	for _, c := range []struct {
		name    string
		purpose string
		text    string
		r       *http.Request
		ok      bool
	}{
		{"as it was", viaLink, text, ticketRequest(), true},
		{"another port of the same address", viaLink, text, ticketRequest(from("198.51.100.7:1")), true},
		{"another purpose", viaForm, text, ticketRequest(), false},
		{"a carrier's purpose", "etag", text, ticketRequest(), false},
		{"another address", viaLink, text, ticketRequest(from("198.51.100.8:40000")), false},
		{"no address", viaLink, text, ticketRequest(from("@")), false},
		{"another browser", viaLink, text, ticketRequest(with("User-Agent", "curl/8")), false},
		{"another language", viaLink, text, ticketRequest(with("Accept-Language", "fr")), false},
		{"what is bound, shifted", viaLink, text, ticketRequest(with("User-Agent", ""),
			with("Accept-Language", ticketRequest().UserAgent()+"de,en;q=0.5")), false},
		{"truncated", viaLink, text[:ticketLen-1], ticketRequest(), false},
		{"longer", viaLink, text + "A", ticketRequest(), false},
		{"with a line break", viaLink, text[:20] + "\n" + text[21:], ticketRequest(), false},
		{"none", viaLink, "", ticketRequest(), false},
	} {
		got, ok := openFor(k, c.purpose, c.text, c.r)
		assert.Equal(t, c.ok, ok, c.name)
		if c.ok {
			assert.Equal(t, want, got, c.name)
		} else {
			assert.Zero(t, got, c.name)
		}
	}
	for i := range text {
		changed := []byte(text)
		changed[i] ^= 1
		_, ok := openFor(k, viaLink, string(changed), ticketRequest())
		assert.False(t, ok, "character %d", i)
	}
	other := newKeyring([][]byte{[]byte("another key of thirty-two bytes!")})
	_, ok := openFor(other, viaLink, text, ticketRequest())
	assert.False(t, ok)
	both := newKeyring([][]byte{[]byte("another key of thirty-two bytes!"), []byte("0123456789abcdef0123456789abcdef")})
	_, ok = openFor(both, viaLink, text, ticketRequest())
	assert.True(t, ok, "an older key still verifies")
}

func TestTheAddressKey(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"198.51.100.7:1", "198.51.100.7:2", true},
		{"198.51.100.7:1", "198.51.100.8:1", false},
		{"198.51.100.7:1", "[::ffff:198.51.100.7]:1", true},
		{"[2001:db8:1:2:3::4]:1", "[2001:db8:1:2:ffff::9]:1", true}, // one network
		{"[2001:db8:1:2:3::4]:1", "[2001:db8:1:3:3::4]:1", false},
		{"127.0.0.1:1", "127.0.0.2:1", false},
		{"10.0.0.1:1", "10.0.3.9:1", true}, // two proxies of one site
		{"10.0.0.1:1", "[fd00::1]:1", true},
		{"10.0.0.1:1", "198.51.100.7:1", false},
		{"", "@", true}, // a Unix socket
	} {
		assert.Equal(t, c.same, string(addressKey(remoteAddr(&http.Request{RemoteAddr: c.a}))) == string(addressKey(remoteAddr(&http.Request{RemoteAddr: c.b}))), "%s and %s", c.a, c.b)
	}
}

func FuzzTicket(f *testing.F) {
	k := newKeyring([][]byte{[]byte("0123456789abcdef0123456789abcdef")})
	good := sealFor(k, viaLink, ticket{id: newID(time.Now()), joins: 1, issued: 2}, ticketRequest())
	f.Add(good, "de")
	f.Add(good[:50], "")
	f.Add("", strings.Repeat("x", 3000))
	f.Fuzz(func(t *testing.T, text, language string) {
		r := ticketRequest()
		r.Header["Accept-Language"] = []string{language}
		opened, ok := openFor(k, viaLink, text, r)
		if !ok {
			if opened != (ticket{}) {
				t.Fatalf("%q: not ok, and yet %v", text, opened)
			}
			return
		}
		if again := sealFor(k, viaLink, opened, r); again != text {
			t.Fatalf("%q has a second spelling, %q", text, again)
		}
	})
}

// Whatever a form is, the handler gets every byte of it.
func FuzzForm(f *testing.F) {
	f.Add("revisit="+strings.Repeat("A", ticketLen)+"&mail=a", "application/x-www-form-urlencoded", 7)
	f.Add("--b\r\nContent-Disposition: form-data; name=\"revisit\"\r\n\r\n"+strings.Repeat("A", ticketLen)+"\r\n--b--", "multipart/form-data; boundary=b", 1)
	f.Add("revisit=", "text/plain", 0)
	tracker, err := New(Config{Keys: [][]byte{make([]byte, 32)}, Consent: func(*http.Request) Permission { return Restore }})
	require.NoError(f, err)
	f.Cleanup(func() { tracker.Close() })
	f.Fuzz(func(t *testing.T, body, kind string, chunk int) {
		r := httptest.NewRequest("POST", "https://shop.example/", &chunks{body, max(1, chunk%100)})
		r.Header["Content-Type"] = []string{kind}
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, ok := FromContext(r.Context()); ok && s.Via == viaForm {
				t.Fatal("a forged ticket has a session")
			}
			if got, err := io.ReadAll(r.Body); err != nil || string(got) != body {
				t.Fatalf("got %q (%v), want %q", got, err, body)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	})
}

// chunks is a body that comes in small pieces.
type chunks struct {
	rest string
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.rest == "" {
		return 0, io.EOF
	}
	n := copy(p, c.rest[:min(len(c.rest), c.size)])
	c.rest = c.rest[n:]
	return n, nil
}
