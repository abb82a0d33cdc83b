// Package token seals IDs into what clients keep: tokens, and the short-lived link and form
// tokens that are bound to a browser. Nothing that the keys have not sealed is opened.
package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
)

// A token is the ID and its AES-CMAC, 32 bytes in base64url without padding:
//
//	AZq1pnUAcBGiM0RVZneImZdAnv1B7GxC3BWLV1xamw8
const (
	idLen  = 16
	MACLen = aes.BlockSize
	Len    = 43
)

// tokenEncoding rejects spare bits that are not zero, so that a token has one
// spelling only.
var tokenEncoding = base64.RawURLEncoding.Strict()

// A Keyring seals IDs into tokens and opens them. Each purpose (the name of a
// strategy) has a subkey of its own: a token that was lifted from a tag is
// worth nothing as a cookie.
type Keyring struct {
	secrets [][]byte

	mu       sync.Mutex // for writers of purposes
	purposes atomic.Pointer[map[string][]*cmac]
}

// Scratch is where tokens are worked on. It lives with the request: what goes
// through the cipher.Block interface would be allocated otherwise.
type Scratch struct {
	raw  [idLen + MACLen]byte
	text [Len]byte
}

// mac is room for a MAC, where the text was or will be.
func (s *Scratch) mac() *[MACLen]byte { return (*[MACLen]byte)(s.text[:]) }

// New returns the keys of secrets: the first signs, all verify.
func New(secrets [][]byte) *Keyring {
	k := &Keyring{}
	for _, s := range secrets {
		k.secrets = append(k.secrets, append([]byte(nil), s...))
	}
	k.purposes.Store(&map[string][]*cmac{})
	return k
}

// subkeys returns the keys of a purpose, the one that signs first.
func (k *Keyring) subkeys(purpose string) []*cmac {
	if keys, ok := (*k.purposes.Load())[purpose]; ok {
		return keys
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := make([]*cmac, 0, len(k.secrets))
	for _, secret := range k.secrets {
		// A fault here would be one of the constants: New has checked the keys.
		key, err := hkdf.Key(sha256.New, secret, nil, "revisit v1 token "+purpose, aes.BlockSize)
		if err != nil {
			panic("revisit: HKDF: " + err.Error())
		}
		keys = append(keys, newCMAC(key))
	}
	known := maps.Clone(*k.purposes.Load())
	known[purpose] = keys
	k.purposes.Store(&known)
	return keys
}

// Seal returns the token of id for a purpose.
func (k *Keyring) Seal(s *Scratch, purpose string, id [16]byte) string {
	copy(s.raw[:], id[:])
	k.subkeys(purpose)[0].sum(s.mac(), s.raw[:len(id)])
	copy(s.raw[len(id):], s.mac()[:])
	tokenEncoding.Encode(s.text[:], s.raw[:])
	return string(s.text[:])
}

// MACs returns the MAC of a message for a purpose, by each key.
func (k *Keyring) MACs(purpose string, message []byte) (macs [][MACLen]byte) {
	for _, key := range k.subkeys(purpose) {
		var mac [MACLen]byte
		key.sum(&mac, message)
		macs = append(macs, mac)
	}
	return macs
}

// Open returns the ID in a token. ok is false for everything that Seal did not
// make for this purpose with one of the keys; old is true if it was made with
// a key that no longer signs.
func (k *Keyring) Open(s *Scratch, purpose, token string) (id [16]byte, old, ok bool) {
	if len(token) != Len {
		return [16]byte{}, false, false
	}
	copy(s.text[:], token)
	// Decode skips line breaks, so the length of the result decides too.
	n, err := tokenEncoding.Decode(s.raw[:], s.text[:])
	if err != nil || n != len(s.raw) {
		return [16]byte{}, false, false
	}
	for i, key := range k.subkeys(purpose) {
		key.sum(s.mac(), s.raw[:len(id)])
		if subtle.ConstantTimeCompare(s.mac()[:], s.raw[len(id):]) == 1 {
			copy(id[:], s.raw[:])
			return id, i > 0, true
		}
	}
	return [16]byte{}, false, false
}

// MinKeyLen is the shortest secret that CheckKeys accepts, in bytes.
const MinKeyLen = 32

// CheckKeys returns what is wrong with Config.Keys.
func CheckKeys(keys [][]byte) error {
	var errs []error
	for i, key := range keys {
		if len(key) < MinKeyLen {
			errs = append(errs, fmt.Errorf("revisit: Config.Keys[%d] has %d bytes, want %d or more", i, len(key), MinKeyLen))
		}
	}
	return errors.Join(errs...)
}

// cmac is AES-CMAC (NIST SP 800-38B, RFC 4493).
type cmac struct {
	block  cipher.Block
	k1, k2 [aes.BlockSize]byte
}

// newCMAC takes a key of 16, 24 or 32 bytes.
func newCMAC(key []byte) *cmac {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("revisit: " + err.Error())
	}
	c := &cmac{block: block}
	var l [aes.BlockSize]byte
	block.Encrypt(l[:], l[:])
	c.k1 = double(l)
	c.k2 = double(c.k1)
	return c
}

// double multiplies by x in GF(2^128), as RFC 4493, section 2.3 has it.
func double(in [aes.BlockSize]byte) (out [aes.BlockSize]byte) {
	var carry byte
	for i := len(in) - 1; i >= 0; i-- {
		out[i] = in[i]<<1 | carry
		carry = in[i] >> 7
	}
	out[len(out)-1] ^= carry * 0x87
	return out
}

// sum sets mac to the MAC of msg.
func (c *cmac) sum(mac *[MACLen]byte, msg []byte) {
	*mac = [MACLen]byte{}
	for len(msg) > aes.BlockSize {
		subtle.XORBytes(mac[:], mac[:], msg[:aes.BlockSize])
		c.block.Encrypt(mac[:], mac[:])
		msg = msg[aes.BlockSize:]
	}
	last := &c.k1
	if len(msg) < aes.BlockSize {
		last = &c.k2
		mac[len(msg)] ^= 0x80
	}
	subtle.XORBytes(mac[:], mac[:], last[:])
	subtle.XORBytes(mac[:], mac[:], msg)
	c.block.Encrypt(mac[:], mac[:])
}
