package token

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

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
		var mac [MACLen]byte
		c.sum(&mac, message[:v.length])
		assert.Equal(t, unhex(t, v.mac), mac[:], "message of %d bytes", v.length)
	}
}

var (
	goldenKey = bytes.Repeat([]byte{0x42}, MinKeyLen)
	goldenID  = [16]byte{0x01, 0x9a, 0xb5, 0xa6, 0x75, 0x00, 0x70, 0x11, 0xa2, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99}
)

// The wire format. Tokens that are out there must go on being read: a change
// here makes every visitor a new one.
func TestTheTokenIsGolden(t *testing.T) {
	k := New([][]byte{goldenKey})
	var s Scratch
	assert.Equal(t, "AZq1pnUAcBGiM0RVZneImZdAnv1B7GxC3BWLV1xamw8", k.Seal(&s, "cookie", goldenID))
	assert.Equal(t, "AZq1pnUAcBGiM0RVZneImWJa2No8uXsvnnmL9XGZFng", k.Seal(&s, "etag", goldenID))
}

func TestATokenIsWorthNothingForAnotherPurposeOrKey(t *testing.T) {
	k := New([][]byte{goldenKey})
	var s Scratch
	token := k.Seal(&s, "cookie", goldenID)
	id, old, ok := k.Open(&s, "cookie", token)
	assert.True(t, ok)
	assert.False(t, old)
	assert.Equal(t, goldenID, id)
	_, _, ok = k.Open(&s, "etag", token)
	assert.False(t, ok, "another purpose")
	_, _, ok = New([][]byte{bytes.Repeat([]byte{0x43}, 32)}).Open(&s, "cookie", token)
	assert.False(t, ok, "another key")
}

func TestKeysRotate(t *testing.T) {
	second := bytes.Repeat([]byte{0x43}, 40)
	var s Scratch
	token := New([][]byte{goldenKey}).Seal(&s, "cookie", goldenID)
	for _, step := range []struct {
		name    string
		keys    [][]byte
		ok, old bool
	}{
		{"the new key appended", [][]byte{goldenKey, second}, true, false},
		{"the new key in front", [][]byte{second, goldenKey}, true, true},
		{"the old key removed", [][]byte{second}, false, false},
	} {
		id, old, ok := New(step.keys).Open(&s, "cookie", token)
		assert.Equal(t, step.ok, ok, step.name)
		assert.Equal(t, step.old, old, step.name)
		if ok {
			assert.Equal(t, goldenID, id, step.name)
		}
	}
}

func TestDamagedTokensAreNone(t *testing.T) {
	k := New([][]byte{goldenKey})
	var s Scratch
	token := k.Seal(&s, "cookie", goldenID)
	for i := range token {
		for _, c := range []byte("A_~=\n\x00\xff") {
			if token[i] == c {
				continue
			}
			damaged := token[:i] + string(c) + token[i+1:]
			_, _, ok := k.Open(&s, "cookie", damaged)
			assert.False(t, ok, "%q", damaged)
		}
		_, _, ok := k.Open(&s, "cookie", token[:i])
		assert.False(t, ok, "cut to %d", i)
		_, _, ok = k.Open(&s, "cookie", token[:i]+token[i+1:])
		assert.False(t, ok, "without character %d", i)
		_, _, ok = k.Open(&s, "cookie", token[:i]+"\n"+token[i:])
		assert.False(t, ok, "with a line break at %d", i)
	}
	// 43 characters hold 258 bits, a token has 256: the spare ones must be 0.
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", token[42])
	for spare := 1; spare < 4; spare++ {
		c := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last|spare]
		_, _, ok := k.Open(&s, "cookie", token[:42]+string(c))
		assert.False(t, ok, "spare bits %d", spare)
	}
}

func FuzzToken(f *testing.F) {
	k := New([][]byte{goldenKey, bytes.Repeat([]byte{0x43}, 32)})
	var s Scratch
	f.Add("cookie", k.Seal(&s, "cookie", goldenID))
	f.Add("etag", k.Seal(&s, "cookie", goldenID))
	f.Add("", strings.Repeat("A", Len))
	f.Fuzz(func(t *testing.T, purpose, token string) {
		if len(purpose) > 20 {
			return
		}
		var s Scratch
		id, _, ok := k.Open(&s, purpose, token)
		if !ok {
			return
		}
		// What opens is what the first or the second key has sealed, to the letter.
		first := k.Seal(&s, purpose, id)
		second := New(k.secrets[1:]).Seal(&s, purpose, id)
		if token != first && token != second {
			t.Fatalf("opened %q, which no key has sealed", token)
		}
	})
}
