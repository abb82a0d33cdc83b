package token

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit/internal/uuid"
)

func browserRequest(edit ...func(*http.Request)) *http.Request {
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

func bindingOf(r *http.Request) *Binding {
	to := &Binding{Agent: r.Header.Get("User-Agent"), Language: r.Header.Get("Accept-Language")}
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		to.From = addr.Addr().Unmap().WithZone("")
	}
	return to
}

const viaLink, viaForm = "link", "form"

func sealFor(k *Keyring, purpose string, t Bound, r *http.Request) string {
	return k.SealBound(purpose, t, bindingOf(r))
}

func openFor(k *Keyring, purpose, text string, r *http.Request) (Bound, bool) {
	return k.OpenBound(purpose, text, bindingOf(r))
}

// The wire format is kept: pages that are in browsers' caches have it.
func TestGoldenBoundToken(t *testing.T) {
	k := New([][]byte{[]byte("0123456789abcdef0123456789abcdef")})
	id, ok := uuid.Parse("01890a5d-ac96-774b-bcce-b302099a8057")
	require.True(t, ok)
	link := Bound{ID: id, LinksUsed: 3, Issued: 1_700_000_000}
	assert.Equal(t, "AYkKXayWd0u8zrMCCZqAVwADZVPxABs8DdIp4v_a3qQBR6ON2-4", sealFor(k, viaLink, link, browserRequest()))
	assert.Equal(t, "AYkKXayWd0u8zrMCCZqAVwAAAAAAABTeU_0FQ3fcS378zaV47K8", sealFor(k, viaForm, Bound{ID: id}, browserRequest()))
	assert.Equal(t, sealFor(k, viaLink, link, browserRequest())[:24], sealFor(k, viaLink, Bound{ID: id, LinksUsed: 3, Issued: 1}, browserRequest())[:24],
		"the script knows what it has sent by the first 24 characters")
}

// A bound token is worthless for another purpose, in another browser, on another
// network, under another key, or changed.
func TestABoundTokenIsBound(t *testing.T) {
	k := New([][]byte{[]byte("0123456789abcdef0123456789abcdef")})
	want := Bound{ID: uuid.New(time.Now()), LinksUsed: 7, Issued: 42}
	text := sealFor(k, viaLink, want, browserRequest())
	for _, c := range []struct {
		name    string
		purpose string
		text    string
		r       *http.Request
		ok      bool
	}{
		{"as it was", viaLink, text, browserRequest(), true},
		{"another port of the same address", viaLink, text, browserRequest(from("198.51.100.7:1")), true},
		{"another purpose", viaForm, text, browserRequest(), false},
		{"a carrier's purpose", "etag", text, browserRequest(), false},
		{"another address", viaLink, text, browserRequest(from("198.51.100.8:40000")), false},
		{"no address", viaLink, text, browserRequest(from("@")), false},
		{"another browser", viaLink, text, browserRequest(with("User-Agent", "curl/8")), false},
		{"another language", viaLink, text, browserRequest(with("Accept-Language", "fr")), false},
		{"what is bound, shifted", viaLink, text, browserRequest(with("User-Agent", ""),
			with("Accept-Language", browserRequest().UserAgent()+"de,en;q=0.5")), false},
		{"truncated", viaLink, text[:BoundLen-1], browserRequest(), false},
		{"longer", viaLink, text + "A", browserRequest(), false},
		{"with a line break", viaLink, text[:20] + "\n" + text[21:], browserRequest(), false},
		{"none", viaLink, "", browserRequest(), false},
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
		_, ok := openFor(k, viaLink, string(changed), browserRequest())
		assert.False(t, ok, "character %d", i)
	}
	other := New([][]byte{[]byte("another key of thirty-two bytes!")})
	_, ok := openFor(other, viaLink, text, browserRequest())
	assert.False(t, ok)
	both := New([][]byte{[]byte("another key of thirty-two bytes!"), []byte("0123456789abcdef0123456789abcdef")})
	_, ok = openFor(both, viaLink, text, browserRequest())
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
		assert.Equal(t, c.same, string(addressKey(bindingOf(&http.Request{RemoteAddr: c.a}).From)) == string(addressKey(bindingOf(&http.Request{RemoteAddr: c.b}).From)), "%s and %s", c.a, c.b)
	}
}

func FuzzBound(f *testing.F) {
	k := New([][]byte{[]byte("0123456789abcdef0123456789abcdef")})
	good := sealFor(k, viaLink, Bound{ID: uuid.New(time.Now()), LinksUsed: 1, Issued: 2}, browserRequest())
	f.Add(good, "de")
	f.Add(good[:50], "")
	f.Add("", strings.Repeat("x", 3000))
	f.Fuzz(func(t *testing.T, text, language string) {
		r := browserRequest()
		r.Header["Accept-Language"] = []string{language}
		opened, ok := openFor(k, viaLink, text, r)
		if !ok {
			if opened != (Bound{}) {
				t.Fatalf("%q: not ok, and yet %v", text, opened)
			}
			return
		}
		if again := sealFor(k, viaLink, opened, r); again != text {
			t.Fatalf("%q has a second spelling, %q", text, again)
		}
	})
}
