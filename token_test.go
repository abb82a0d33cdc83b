package revisit

import (
	"bytes"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// RFC 4493, section 4.
func TestCMACIsThatOfRFC4493(t *testing.T) {
	c := newCMAC(unhex(t, "2b7e1516 28aed2a6 abf71588 09cf4f3c"))
	assert.Equal(t, unhex(t, "fbeed618 35713366 7c85e08f 7236a8de"), c.k1[:], "K1")
	assert.Equal(t, unhex(t, "f7ddac30 6ae266cc f90bc11e e46d513b"), c.k2[:], "K2")
	message := unhex(t, "6bc1bee2 2e409f96 e93d7e11 7393172a ae2d8a57 1e03ac9c 9eb76fac 45af8e51"+
		"30c81c46 a35ce411 e5fbc119 1a0a52ef f69f2445 df4f9b17 ad2b417b e66c3710")
	for _, v := range []struct {
		length int
		mac    string
	}{
		{0, "bb1d6929 e9593728 7fa37d12 9b756746"},
		{16, "070a16b4 6b4d4144 f79bdd9d d04a287c"},
		{40, "dfa66747 de9ae630 30ca3261 1497c827"},
		{64, "51f0bebf 7e3b9d92 fc497417 79363cfe"},
	} {
		var mac [macLen]byte
		c.sum(&mac, message[:v.length])
		assert.Equal(t, unhex(t, v.mac), mac[:], "message of %d bytes", v.length)
	}
}

var (
	goldenKey = bytes.Repeat([]byte{0x42}, minKeyLen)
	goldenID  = ID{0x01, 0x9a, 0xb5, 0xa6, 0x75, 0x00, 0x70, 0x11, 0xa2, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99}
)

// The wire format. Tokens that are out there must go on being read: a change
// here makes every visitor a new one.
func TestTheTokenIsGolden(t *testing.T) {
	k := newKeyring([][]byte{goldenKey})
	var s scratch
	assert.Equal(t, "AZq1pnUAcBGiM0RVZneImZdAnv1B7GxC3BWLV1xamw8", k.seal(&s, "cookie", goldenID))
	assert.Equal(t, "AZq1pnUAcBGiM0RVZneImWJa2No8uXsvnnmL9XGZFng", k.seal(&s, "etag", goldenID))
	assert.Equal(t, "019ab5a6-7500-7011-a233-445566778899", goldenID.String())
	assert.Equal(t, time.UnixMilli(0x019ab5a67500).UTC(), goldenID.Time())
}

func TestATokenIsWorthNothingForAnotherPurposeOrKey(t *testing.T) {
	k := newKeyring([][]byte{goldenKey})
	var s scratch
	token := k.seal(&s, "cookie", goldenID)
	id, old, ok := k.open(&s, "cookie", token)
	assert.True(t, ok)
	assert.False(t, old)
	assert.Equal(t, goldenID, id)
	_, _, ok = k.open(&s, "etag", token)
	assert.False(t, ok, "another purpose")
	_, _, ok = newKeyring([][]byte{bytes.Repeat([]byte{0x43}, 32)}).open(&s, "cookie", token)
	assert.False(t, ok, "another key")
}

func TestKeysRotate(t *testing.T) {
	second := bytes.Repeat([]byte{0x43}, 40)
	var s scratch
	token := newKeyring([][]byte{goldenKey}).seal(&s, "cookie", goldenID)
	for _, step := range []struct {
		name    string
		keys    [][]byte
		ok, old bool
	}{
		{"the new key appended", [][]byte{goldenKey, second}, true, false},
		{"the new key in front", [][]byte{second, goldenKey}, true, true},
		{"the old key removed", [][]byte{second}, false, false},
	} {
		id, old, ok := newKeyring(step.keys).open(&s, "cookie", token)
		assert.Equal(t, step.ok, ok, step.name)
		assert.Equal(t, step.old, old, step.name)
		if ok {
			assert.Equal(t, goldenID, id, step.name)
		}
	}
}

func TestDamagedTokensAreNone(t *testing.T) {
	k := newKeyring([][]byte{goldenKey})
	var s scratch
	token := k.seal(&s, "cookie", goldenID)
	for i := range token {
		for _, c := range []byte("A_~=\n\x00\xff") {
			if token[i] == c {
				continue
			}
			damaged := token[:i] + string(c) + token[i+1:]
			_, _, ok := k.open(&s, "cookie", damaged)
			assert.False(t, ok, "%q", damaged)
		}
		_, _, ok := k.open(&s, "cookie", token[:i])
		assert.False(t, ok, "cut to %d", i)
		_, _, ok = k.open(&s, "cookie", token[:i]+token[i+1:])
		assert.False(t, ok, "without character %d", i)
		_, _, ok = k.open(&s, "cookie", token[:i]+"\n"+token[i:])
		assert.False(t, ok, "with a line break at %d", i)
	}
	// 43 characters hold 258 bits, a token has 256: the spare ones must be 0.
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", token[42])
	for spare := 1; spare < 4; spare++ {
		c := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last|spare]
		_, _, ok := k.open(&s, "cookie", token[:42]+string(c))
		assert.False(t, ok, "spare bits %d", spare)
	}
}

func FuzzToken(f *testing.F) {
	k := newKeyring([][]byte{goldenKey, bytes.Repeat([]byte{0x43}, 32)})
	var s scratch
	f.Add("cookie", k.seal(&s, "cookie", goldenID))
	f.Add("etag", k.seal(&s, "cookie", goldenID))
	f.Add("", strings.Repeat("A", tokenLen))
	f.Fuzz(func(t *testing.T, purpose, token string) {
		if len(purpose) > 20 {
			return
		}
		var s scratch
		id, _, ok := k.open(&s, purpose, token)
		if !ok {
			return
		}
		// What opens is what the first or the second key has sealed, to the letter.
		first := k.seal(&s, purpose, id)
		second := newKeyring(k.secrets[1:]).seal(&s, purpose, id)
		if token != first && token != second {
			t.Fatalf("opened %q, which no key has sealed", token)
		}
	})
}

func TestIDsSortByAgeAndAreParsed(t *testing.T) {
	at := time.Now()
	young, old := newID(at), newID(at.Add(-time.Millisecond))
	assert.True(t, old.older(young))
	assert.False(t, young.older(old))
	assert.False(t, young.older(young))
	assert.Equal(t, at.UnixMilli(), young.Time().UnixMilli())
	assert.EqualValues(t, 7, young[6]>>4, "version of RFC 9562")
	assert.EqualValues(t, 2, young[8]>>6, "variant of RFC 9562")

	parsed, err := ParseID(young.String())
	require.NoError(t, err)
	assert.Equal(t, young, parsed)
	for _, s := range []string{"", young.String()[1:], strings.ReplaceAll(young.String(), "-", "_"), strings.Repeat("g", 36),
		"019ab5a6-7500-7011-a233-44556677889g"} {
		_, err := ParseID(s)
		assert.Error(t, err, "%q", s)
	}
	text, err := young.MarshalText()
	require.NoError(t, err)
	var back ID
	require.NoError(t, back.UnmarshalText(text))
	assert.Equal(t, young, back)
	assert.Error(t, back.UnmarshalText([]byte("x")))
	assert.Equal(t, young, back, "an error leaves the ID alone")
}

// The wire format of the tag, as it stands in browsers' caches.
func TestTheTagIsGolden(t *testing.T) {
	token := newKeyring([][]byte{goldenKey}).seal(new(scratch), "etag", goldenID)
	for _, c := range []struct {
		header http.Header
		want   string
	}{
		{http.Header{"Etag": {`"v1"`}}, `"AZq1pnUAcBGiM0RVZneImWJa2No8uXsvnnmL9XGZFng~v1~"`},
		{http.Header{"Etag": {`W/"v1"`}}, `W/"AZq1pnUAcBGiM0RVZneImWJa2No8uXsvnnmL9XGZFng~v1~"`},
		{http.Header{"Etag": {`"~x"`}}, `"AZq1pnUAcBGiM0RVZneImWJa2No8uXsvnnmL9XGZFng~~e~x~"`},
		{http.Header{"Etag": {`""`}}, `"AZq1pnUAcBGiM0RVZneImWJa2No8uXsvnnmL9XGZFng~~e~"`},
		{http.Header{"Last-Modified": {"Sun, 06 Nov 1994 08:49:37 GMT"}}, `W/"AZq1pnUAcBGiM0RVZneImWJa2No8uXsvnnmL9XGZFng~~mfD31aYzMKZp-BV6lt-Ev4g~"`},
	} {
		content, weak, ok := contentPart(c.header)
		require.True(t, ok)
		assert.Equal(t, c.want, formatTag(token, content, weak))
		parsed, ok := parseTag(c.want)
		require.True(t, ok, c.want)
		assert.Equal(t, tag{weak: weak, token: token, content: content}, parsed)
	}
}

// Whoever sets a value has seen the one that is there: that of a node whose clock
// is ahead, too.
func TestAValueIsNewerThanTheOneItReplaces(t *testing.T) {
	now := milli(time.Now())
	r := Record{Values: map[string]Value{"lead": {Text: "old", At: now.Add(time.Hour)}}}
	dirty, err := setValue(&r, "lead", Value{Text: "new", At: now})
	require.NoError(t, err)
	assert.True(t, dirty)
	assert.Equal(t, Value{Text: "new", At: now.Add(time.Hour + time.Millisecond)}, r.Values["lead"])
}
